"""A daemon that is the first process of its container: signals reach it, orphans are reaped, its end is everybody's.

Where no namespace of processes may be made, the parent that stands aside is made the reaper of all orphans below it
instead, which the system treats alike.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.cluster.harness import wait_for

#: Seconds that a process may take to do what it is told.
BOUND = 40.0

_PR_SET_CHILD_SUBREAPER = 36

#: Loaded before anything forks: in a child that takes locks which another thread may have held.
_LIBC = ctypes.CDLL(None)

#: What runs below the parent: it says that it is there, and then does what it is told on its standard input.
_PROGRAM = """
import os, signal, sys, time
from grpcflow_protos.first_process import look_after
look_after()
signal.signal(signal.SIGTERM, lambda *_: (print("term", flush=True), sys.exit(7)))
signal.signal(signal.SIGHUP, lambda *_: print("hup", flush=True))
print(os.getpid(), flush=True)
for line in sys.stdin:
    if line == "orphan\\n":
        if os.fork() == 0:
            grandchild = os.fork()
            if grandchild == 0:
                signal.pause()
            print(grandchild, flush=True)
            os._exit(0)
        os.wait()
    elif line == "die\\n":
        os.kill(os.getpid(), signal.SIGKILL)
    elif line == "end\\n":
        sys.exit(3)
"""


def _reap_orphans() -> None:
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Aside:
    """A program whose parent has stood aside."""

    def __init__(self) -> None:
        self.parent = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            preexec_fn=_reap_orphans,  # noqa: PLW1509 - no thread of this process holds what it needs
        )
        self.child = int(self.heard())

    def heard(self) -> str:
        """Returns the next line."""
        assert self.parent.stdout is not None
        return self.parent.stdout.readline().strip()

    def say(self, word: str) -> None:
        """Tells the program to do something."""
        assert self.parent.stdin is not None
        self.parent.stdin.write(f"{word}\n")
        self.parent.stdin.flush()

    def ended(self) -> int:
        """Waits for the end; returns the exit code of the parent."""
        return self.parent.wait(BOUND)


@pytest.fixture
def aside() -> Iterator[Aside]:
    """The program, ended afterwards."""
    made = Aside()
    yield made
    for pipe in (made.parent.stdin, made.parent.stdout):
        assert pipe is not None
        pipe.close()
    if made.parent.poll() is None:
        os.kill(made.child, signal.SIGKILL)
        made.parent.wait(BOUND)


def test_the_daemon_is_a_child_and_its_exit_code_is_that_of_the_first_process(aside: Aside) -> None:
    assert aside.child != aside.parent.pid
    assert psutil.Process(aside.child).ppid() == aside.parent.pid
    aside.say("end")
    assert aside.ended() == 3


def test_signals_are_passed_on_and_the_last_one_ends_both(aside: Aside) -> None:
    aside.parent.send_signal(signal.SIGHUP)
    assert aside.heard() == "hup"
    aside.parent.send_signal(signal.SIGTERM)
    assert aside.heard() == "term"
    assert aside.ended() == 7


def test_a_daemon_that_is_killed_ends_the_first_process_as_shells_tell_it(aside: Aside) -> None:
    aside.say("die")
    assert aside.ended() == 128 + signal.SIGKILL


def test_a_daemon_whose_first_process_is_killed_ends_with_it(aside: Aside) -> None:
    aside.parent.kill()
    assert aside.ended() == -signal.SIGKILL
    wait_for("the daemon to end", lambda: _is_gone(aside.child))


def _is_gone(number: int) -> bool:
    try:
        return psutil.Process(number).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_an_orphan_is_reaped_when_it_ends_while_the_daemon_goes_on(aside: Aside) -> None:
    aside.say("orphan")
    orphan = psutil.Process(int(aside.heard()))
    wait_for("the orphan to be adopted", lambda: orphan.ppid() == aside.parent.pid)
    os.kill(orphan.pid, signal.SIGKILL)
    wait_for("the orphan to be reaped", lambda: not psutil.pid_exists(orphan.pid))
    aside.say("end")
    assert aside.ended() == 3


def namespaces() -> bool:
    """Tells whether this machine lets us make a namespace of processes."""
    try:
        tried = subprocess.run(
            ["unshare", "--pid", "--fork", "--mount-proc", "true"], timeout=BOUND, capture_output=True
        )
    except OSError:
        return False
    return tried.returncode == 0


@pytest.mark.skipif(not namespaces(), reason="needs the right to make a namespace of processes")
def test_a_coordinator_that_is_process_1_serves_and_ends_with_sigterm(tmp_path: Path) -> None:
    # unshare is in the way of signals, so they are sent to what it started.
    command = [sys.executable, "-m", "grpcflow_coordinator", "--memory", "--listen", "127.0.0.1:0"]
    log = tmp_path / "log"
    options = ["--log-file", str(log), "--log-format", "json"]
    started = subprocess.Popen(["unshare", "--pid", "--fork", "--mount-proc", *command, *options])
    try:
        wait_for("it to serve", lambda: log.exists() and "serving on" in log.read_text(), BOUND)
        [first] = psutil.Process(started.pid).children()
        [daemon] = first.children()
        assert daemon.ppid() == first.pid
        first.send_signal(signal.SIGTERM)
        assert started.wait(BOUND) == 0
        assert '"message":"stopped"' in log.read_text()
    finally:
        if started.poll() is None:
            for one in psutil.Process(started.pid).children(recursive=True):
                one.kill()
            started.wait(BOUND)
