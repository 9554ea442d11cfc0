"""`grpcflow dev` without a cluster: what it starts, how processes speak through it, and how it ends."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import psutil
import pytest

from grpcflow.cli import dev as dev_module
from grpcflow.cli import main
from grpcflow.cli.companions import Companion, Voices, run_until_stopped

#: Says one thing, and then waits to be told to end; it cannot outlive a test by more than this.
LIVES = "import threading; print('serving on 127.0.0.1:5, ready'); threading.Event().wait(50)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {LIVES}"

Started = list[Companion]
Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    """Tells what was printed meanwhile, from any thread."""
    return lambda: capsys.readouterr().out


@pytest.fixture
def started() -> Iterator[Started]:
    """Processes that are ended whatever happens."""
    made: Started = []
    yield made
    for one in made:
        one.stop(at_once=True)


def start(started: Started, name: str, code: str) -> Companion:
    started.append(Companion(name, [sys.executable, "-u", "-c", code], Voices()))
    return started[-1]


def press(number: signal.Signals) -> None:
    """Sends a signal to this process from another thread, as soon as somebody has begun to heed it."""
    before, pause = signal.getsignal(number), threading.Event()

    def send() -> None:
        for _ in range(4_000):
            if signal.getsignal(number) is not before:
                os.kill(os.getpid(), number)
                return
            pause.wait(0.01)

    threading.Thread(target=send).start()


class Impatient(Voices):
    """Presses Ctrl-C again in the moment in which it hears what that does."""

    def say(self, name: str, line: str) -> None:
        super().say(name, line)
        if "once more" in line:
            signal.raise_signal(signal.SIGINT)


def test_lines_are_whole_and_under_the_name_of_who_says_them(said: Said, started: Started) -> None:
    one = start(started, "worker", "import sys; print('first'); print('second', file=sys.stderr)")
    one._reader.join(60)
    assert sorted(said().splitlines()) == ["worker      | first", "worker      | second"]


def test_what_a_line_says_of_the_start_is_waited_for(said: Said, started: Started) -> None:
    assert start(started, "coordinator", LIVES).started("serving on ", 20) == "127.0.0.1:5"
    assert start(started, "coordinator", "print('no')").started("serving on ", 20) is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_all_in_order(said: Said, started: Started, number: signal.Signals) -> None:
    """The processes are not in our group, so a key that is pressed reaches us alone."""
    both = [start(started, "worker", LIVES), start(started, "coordinator", LIVES)]
    assert all(one.started("serving on ", 20) for one in both)
    assert all(os.getpgid(one._process.pid) == one._process.pid for one in both)
    press(number)
    assert run_until_stopped(both, Voices()) == 0
    assert [one.code for one in both] == [-signal.SIGTERM, -signal.SIGTERM]
    assert "stopping; once more stops at once" in said()


def test_a_second_signal_kills_what_does_not_end(said: Said, started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = start(started, "worker", DEAF)
    assert deaf.started("serving on ", 20)
    at_once: list[bool] = []
    stop = deaf.stop

    def noted(**how: bool) -> None:
        at_once.append(how.get("at_once", False))
        stop(**how)

    monkeypatch.setattr(deaf, "stop", noted)
    press(signal.SIGINT)
    assert run_until_stopped([deaf], Impatient()) == 0
    assert deaf.code == -signal.SIGKILL
    assert at_once == [False, True]


def test_one_that_ends_by_itself_takes_the_other_with_it(said: Said, started: Started) -> None:
    stays = start(started, "coordinator", LIVES)
    goes = start(started, "worker", "import sys; sys.exit(78)")
    assert run_until_stopped([goes, stays], Voices()) == 78
    assert stays.code == -signal.SIGTERM
    assert not psutil.pid_exists(goes._process.pid)
    assert "the worker has ended by itself with 78; stopping the rest" in said()


def test_a_port_that_is_taken_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        monkeypatch.setattr(dev_module, "_USUAL", held.getsockname())
        assert dev_module._listen(None) == "127.0.0.1:0"
    assert dev_module._listen(None) == f"127.0.0.1:{dev_module._USUAL[1]}"
    assert dev_module._listen(7) == "127.0.0.1:7"


def test_it_needs_an_app_and_starts_its_own_coordinator(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dev"]) == 78
    assert "No app is named" in capsys.readouterr().err
    assert main(["--coordinator", "h:1", "dev", "-A", "proj"]) == 2
    assert "--coordinator does not apply" in capsys.readouterr().err


def test_a_coordinator_that_does_not_come_up_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[list[str]] = []

    def refused(_name: str, command: list[str], voices: Voices) -> Companion:
        commands.append(command)
        return Companion("coordinator", [sys.executable, "-c", "print('the folder is taken')"], voices)

    monkeypatch.setattr(dev_module, "Companion", refused)
    assert main(["dev", "-A", "proj", "--data", "kept", "--port", "7"]) == 69
    assert commands[0][1:] == ["-m", "grpcflow_coordinator", "--data", "kept", "--listen", "127.0.0.1:7"]
    shown = capsys.readouterr()
    assert "coordinator | the folder is taken" in shown.out
    assert "did not come up" in shown.err


def test_without_watchfiles_it_runs_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, said: Said) -> None:
    def missing(name: str) -> Any:
        return None if name == "watchfiles" else object()

    monkeypatch.setattr("importlib.util.find_spec", missing)
    assert not dev_module._can_reload(Voices())
    assert "pip install 'grpcflow[reload]'" in said()
