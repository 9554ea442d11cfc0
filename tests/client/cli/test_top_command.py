"""`grpcflow top` as a command: where it refuses to draw, its threads against a cluster, and the real thing once."""

import importlib.util
import os
import pty
import queue
import select
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from grpcflow import Grpcflow, errors
from grpcflow.cli import main
from grpcflow.cli.top import command as command_module
from grpcflow.cli.top.model import View
from grpcflow.cli.top.watch import Watch
from grpcflow.testing import Cluster

app = Grpcflow("top")
gate = threading.Event()


@app.task(name="top.wait")
def wait(_text: str) -> None:
    gate.wait(20)


@app.task(name="top.fail")
def fail() -> None:
    raise ValueError("bad\x1b[2J")


@app.task(name="top.good")
def good() -> None:
    pass


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(app, queues=["default"]) as made:
        yield made
        gate.set()


# --- where it refuses --------------------------------------------------------------------------------------


class Terminal:
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The command takes its three streams for a terminal."""
    streams = {"stdin": Terminal(), "stdout": Terminal(), "stderr": Terminal()}
    monkeypatch.setattr(command_module, "sys", type("sys", (), streams))
    monkeypatch.setenv("TERM", "xterm")
    return monkeypatch


def terminal_streams() -> Any:
    return vars(command_module)["sys"]


@pytest.mark.parametrize("stream", ["stdout", "stdin", "stderr"])
def test_without_a_terminal_it_refuses_and_names_what_programs_use(
    stream: str, terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.setattr(getattr(terminal_streams(), stream), "isatty", lambda: False, raising=False)
    assert main(["top"]) == 2
    said = capsys.readouterr()
    assert "needs a terminal" in said.err
    assert "grpcflow inspect --json" in said.err
    assert said.out == ""


def test_a_terminal_that_can_only_print_is_refused(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terminal.setenv("TERM", "dumb")
    assert main(["top"]) == 2
    assert "TERM is dumb" in capsys.readouterr().err


def test_without_textual_it_says_what_to_install(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    terminal.setattr("importlib.util.find_spec", lambda name: None if name == "textual" else find(name))
    assert main(["top"]) == 78
    assert "pip install 'grpcflow[top]'" in capsys.readouterr().err


def test_what_is_wrong_with_the_options_is_said_before_anything_is_drawn(
    terminal: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["top", "--interval", "0"]) == 2
    assert main(["-A", "no_such_module_anywhere", "top"]) == 78
    assert "no_such_module_anywhere" in capsys.readouterr().err


# --- its threads, against a cluster ------------------------------------------------------------------------


class Views:
    """Takes views, and waits for one of which something holds."""

    def __init__(self) -> None:
        self.came: queue.Queue[View] = queue.Queue()
        self.crashed: list[BaseException] = []

    def until(self, holds: Callable[[View], object]) -> View:
        deadline = time.monotonic() + 40
        while True:
            view = self.came.get(timeout=max(0.01, deadline - time.monotonic()))
            assert self.crashed == []
            if holds(view):
                return view


@pytest.fixture
def watched(cluster: Cluster) -> Iterator[tuple[Watch, Views]]:
    watch, views = Watch(app, cluster.address, 0.05), Views()
    watch.start(views.came.put, views.crashed.append)
    yield watch, views
    watch.stop()
    assert views.crashed == []


@pytest.mark.slow
def test_what_happens_in_a_cluster_is_seen_and_keys_change_it(watched: tuple[Watch, Views]) -> None:
    watch, views = watched
    running = wait.delay("x")
    view = views.until(lambda view: view.running.lines and view.workers.lines and view.summary.running)
    (task,) = view.running.lines
    assert (task.id, task.call, task.queue) == (running.id, 'top.wait("x")', "default")
    assert (view.workers.lines[0].state, view.summary.workers) == ("live", {"live": 1})

    failed = fail.delay()
    view = views.until(lambda view: view.failures.lines)
    assert (view.failures.lines[0].id, view.failures.lines[0].error) == (failed.id, "ValueError: bad [2J")
    view = views.until(lambda view: any(view.failed.history) and any(view.submitted.history))
    assert sum(view.finished.history) >= sum(view.failed.history)

    assert watch.pause_queue("mail", True) == "Queue mail is paused; what runs goes on."
    good.apply_async(queue="mail")
    view = views.until(lambda view: [line for line in view.queues.lines if line.paused and line.waiting == 1])
    assert view.queues.lines[0].queue == "mail"
    watch.choose("nothing has this")
    views.until(lambda view: view.asked and not view.queues.lines and not view.failures.lines)
    watch.choose("")
    assert watch.pause_queue("mail", False) == "Queue mail is resumed."

    assert watch.picture(running.id).summary.id == running.id
    assert watch.retry(failed.id) == "Runs again: 1 task."
    assert watch.revoke(running.id, False) == f"Revoked {running.id}."


def test_a_coordinator_that_is_not_there_is_told_and_found_once_it_is() -> None:
    own = Grpcflow("late", set_as_current=False)

    class Late:
        """An app whose coordinator is there after a while."""

        there = threading.Event()

        @property
        def connection(self) -> Any:
            if not self.there.is_set():
                raise errors.CoordinatorUnavailable("nobody listens")
            return own.connection

    late, views = Late(), Views()
    watch = Watch(late, "h:1", 0.02)
    watch.start(views.came.put, views.crashed.append)
    try:
        assert not views.until(lambda view: view.fault == "nobody listens").asked
        with Cluster(own):
            late.there.set()
            view = views.until(lambda view: view.asked and not view.fault)
            assert len(view.workers.lines) == 1
            watch.stop()
    finally:
        watch.stop()


def test_a_fault_of_ours_is_handed_on() -> None:
    class Broken:
        @property
        def connection(self) -> Any:
            raise ZeroDivisionError("a bug")

    views, seen = Views(), threading.Event()
    watch = Watch(Broken(), "h:1", 0.02)

    def crashed(error: BaseException) -> None:
        views.crashed.append(error)
        seen.set()

    watch.start(views.came.put, crashed)
    assert seen.wait(40)
    watch.stop()
    assert {type(error) for error in views.crashed} == {ZeroDivisionError}


# --- the real thing ----------------------------------------------------------------------------------------


def read_until(master: int, wanted: bytes, seconds: float = 30.0) -> bytes:
    """Reads what is drawn until some of it is there; bounded."""
    drawn, deadline = b"", time.monotonic() + seconds
    while wanted not in drawn:
        ready, _, _ = select.select([master], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"waited in vain for {wanted!r} in {drawn[-2000:]!r}"
        drawn += os.read(master, 65_536)
    return drawn


@pytest.mark.slow
@pytest.mark.parametrize(("end", "code"), [("q", 0), (signal.SIGTERM, 143)])
def test_in_a_terminal_it_starts_draws_quits_and_leaves_the_terminal_as_it_was(
    cluster: Cluster, end: str | signal.Signals, code: int
) -> None:
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    before = termios.tcgetattr(slave)
    words = ["-c", "import sys; from grpcflow.cli import main; sys.exit(main(['top', '--interval', '0.1']))"]
    surroundings = {**os.environ, "TERM": "xterm-256color", "GRPCFLOW_COORDINATOR": cluster.address}
    process = subprocess.Popen(
        [sys.executable, *words], stdin=slave, stdout=slave, stderr=slave, env=surroundings, start_new_session=True
    )
    try:
        read_until(master, b"threads x2")
        if isinstance(end, str):
            os.write(master, end.encode())
        else:
            process.send_signal(end)
        read_until(master, b"\x1b[?1049l")
        assert process.wait(60) == code
        assert termios.tcgetattr(slave) == before
    finally:
        process.kill()
        process.wait(60)
        os.close(master)
        os.close(slave)
