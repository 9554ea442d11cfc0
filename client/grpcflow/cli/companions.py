"""Processes that one terminal starts and stops together, and whose lines it prints under their names.

Each is the head of a process group of its own: Ctrl-C reaches this program alone, which then stops them in order, so
that the worker can still tell the coordinator how its tasks ended. It knows nothing of what the processes do.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Final

import click

__all__ = ["Companion", "Voices", "run_until_stopped"]

#: Seconds that a process has to end once it is asked to.
_GRACE: Final = 15.0

#: Seconds between two looks at whether all still run.
_LOOK: Final = 0.2

_COLOURS: Final = ("cyan", "green", "magenta", "yellow")

#: Width of the names at the head of each line.
_WIDTH: Final = 11


class Voices:
    """Prints lines of several processes on stdout, each whole and under its name, in colour on a terminal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._colours: dict[str, str] = {}
        self._plain = bool(os.environ.get("NO_COLOR")) or not sys.stdout.isatty()

    @property
    def plain(self) -> bool:
        """True where there are no colours."""
        return self._plain

    def say(self, name: str, line: str) -> None:
        """Print a line.

        Args:
            name: Who says it.
            line: What, without its end.
        """
        with self._lock:
            colour = self._colours.setdefault(name, _COLOURS[len(self._colours) % len(_COLOURS)])
            head = f"{name:<{_WIDTH}} | "
            click.echo((head if self._plain else click.style(head, fg=colour)) + line)


class Companion:
    """A process that runs from now on.

    Args:
        name: What its lines are shown under.
        command: What runs.
        voices: Prints its lines.
    """

    def __init__(self, name: str, command: Sequence[str], voices: Voices) -> None:
        self.name = name
        self._voices = voices
        self._ended = False
        surroundings = {**os.environ, "PYTHONUNBUFFERED": "1"} | ({"NO_COLOR": "1"} if voices.plain else {})
        self._process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=surroundings,
            text=True,
            errors="replace",
            process_group=0,
        )
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, name=f"grpcflow-dev-{name}", daemon=True)
        self._reader.start()

    def started(self, words: str, timeout: float) -> str | None:
        """Wait until a line holds certain words; return the word behind them, None where it ends or stays silent.

        Args:
            words: What the line says once it has started.
            timeout: Seconds to wait.
        """

        def found() -> str | None:
            lines = (line.partition(words)[2] for line in self._lines if words in line)
            return next((rest.split()[0].rstrip(",") for rest in lines if rest.split()), None)

        with self._news:
            self._news.wait_for(lambda: found() is not None or self._ended, timeout)
            return found()

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.poll()

    def stop(self, *, at_once: bool = False) -> None:
        """Ask it to end and wait until it has; after 15 seconds, or at once, it is killed."""
        if self.code is None:
            if not at_once:
                self._process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(_GRACE)
            if self.code is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(_GRACE)
        self._reader.join(1)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._news:
                    self._lines = [*self._lines[-99:], line.rstrip("\n")]
                    self._news.notify_all()
                self._voices.say(self.name, line.rstrip("\n"))
        with self._news:
            self._ended = True
            self._news.notify_all()


def run_until_stopped(companions: Sequence[Companion], voices: Voices) -> int:
    """Wait for Ctrl-C, SIGTERM, or the end of one of them; then stop all, in the order given.

    A second Ctrl-C kills what has not ended.

    Args:
        companions: What runs.
        voices: Says how it ends.

    Returns:
        0 after Ctrl-C or SIGTERM, else the exit code of what ended by itself, at least 1.
    """
    stop = threading.Event()
    ended: Companion | None = None
    with _signals(stop):
        while not stop.wait(_LOOK):
            ended = next((one for one in companions if one.code is not None), None)
            if ended is not None:
                break
        stop.clear()  # before it is said that once more does something
        if ended is not None:
            voices.say("grpcflow", f"the {ended.name} has ended by itself with {ended.code}; stopping the rest")
        else:
            voices.say("grpcflow", "stopping; once more stops at once")
        for one in companions:
            _stopped(one, stop)
    return 0 if ended is None else max(1, ended.code or 0)


def _stopped(one: Companion, again: threading.Event) -> None:
    """Stop a process; at once where Ctrl-C is pressed again."""
    stopper = threading.Thread(target=one.stop, name=f"grpcflow-dev-stop-{one.name}", daemon=True)
    stopper.start()
    while stopper.is_alive():
        if again.wait(_LOOK / 4):
            one.stop(at_once=True)
            break
    stopper.join(_GRACE)


@contextlib.contextmanager
def _signals(stop: threading.Event) -> Iterator[None]:
    """Have Ctrl-C, SIGTERM and a closed terminal set an event."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
