"""The arguments of the three commands: whatever is typed, a message and an exit code of the table, never a traceback.

Nothing is started: daemons end where they would begin, and there is no coordinator to be asked.
"""

from __future__ import annotations

import io
import os
import random
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from typing import Any, Final
from unittest import mock

import click
from click.testing import CliRunner
from tests.fuzz.judging import Finding, judged
from tests.fuzz.making import text

import grpcflow_coordinator.__main__ as coordinator
import grpcflow_worker.__main__ as worker
from grpcflow import errors
from grpcflow.cli import command_line
from grpcflow.cli.invocation import Invocation
from grpcflow.dashboard import serving as dashboard

#: Exit codes of each command; docs/commands.md has what they mean.
CODES: Final = {
    "grpcflow": {0, 1, 2, 66, 69, 75, 78, 130, 141},
    "grpcflow-worker": {0, 1, 64, 78},
    "grpcflow-coordinator": {0, 1, 2},
}

#: Commands that take over the terminal, start others, or write what a shell reads.
LEFT_OUT: Final = frozenset({"dev", "top", "worker", "completion"})

#: What fits some option.
_FITTING: Final = (
    *("127.0.0.1:50551", "localhost", "[::1]:0", "0.0.0.0:1", ":1", "a:b", "1", "0", "-1", "3", "2.5", "10/s", "1GiB"),
    *("q1,q2:3", "q:0", "w1@h", "%h-%n", "%z", "prefork", "threads", "solo", "asyncio", "auto", "8,2", "DEBUG", "info"),
    *(
        '{"a": 1}',
        "[1, 2]",
        "[",
        "2026-01-01",
        "2026-13-40T99:99",
        "1h",
        "5m",
        "*/5 * * * *",
        "k=v",
        "a.b",
        "x:y",
        "file",
    ),
    *("00000000-0000-7000-8000-000000000000", "SIGTERM", "9", "SUCCESS", "json", "tests", "file.toml", "no/such"),
)


class Nobody:
    """Stands in for the connection to a coordinator that is not there."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def ask(*_given: object, **_named: object) -> Any:
            raise errors.CoordinatorUnavailable("there is no coordinator: start one")

        return ask


@cache
def _leaves() -> tuple[tuple[tuple[str, ...], click.Command], ...]:
    """Returns all commands of `grpcflow` with the words that lead to them."""
    return tuple(_below((), command_line))


def _below(words: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and name not in LEFT_OUT:
                yield from _below((*words, name), inner)


def _word(rng: random.Random) -> str:
    """Returns one word, as a system hands it over; none that leads out of the folder."""
    return rng.choice(_FITTING) if rng.random() < 0.7 else text(rng).replace("/", "_").replace("\0", "")


def arguments(rng: random.Random, command: click.Command) -> list[str]:
    """Returns arguments for a command: options that it has, with values that may fit, and what else is typed."""
    words: list[str] = []
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5))):
        way = rng.random()
        options = [one for one in command.params if isinstance(one, click.Option)]
        if way < 0.65 and options:
            option = rng.choice(options)
            words.append(rng.choice([*option.opts, *option.secondary_opts]))
            if not option.is_flag and rng.random() < 0.95:
                words.append(_word(rng))
        else:
            words.append(_word(rng))
    return words


@contextmanager
def _harmless() -> Iterator[None]:
    """Have nothing started, and files made in a folder that goes away."""

    async def serve(*_given: object, **_named: object) -> int:
        return 0

    here, kept = os.getcwd(), dict(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        inside = os.path.join(folder, "a", "b", "c")
        os.makedirs(inside)
        os.chdir(inside)
        os.environ["HOME"] = inside
        with open("file.toml", "w") as file:
            file.write('listen = "127.0.0.1:0"\nunknown = 1\n')
        fakes = (
            mock.patch.object(coordinator, "serve", serve),
            mock.patch.object(coordinator, "set_up_log"),
            mock.patch.object(worker, "run", return_value=0),
            mock.patch.object(worker, "set_up_log"),
            mock.patch.object(dashboard, "serve"),
        )
        try:
            with ExitStack() as stack:
                for fake in fakes:
                    stack.enter_context(fake)
                yield
        finally:
            os.chdir(here)
            os.environ.clear()
            os.environ.update(kept)


def _run_grpcflow(words: list[str]) -> tuple[int, str]:
    said = Invocation(connect=lambda _: Nobody())  # type: ignore[arg-type, return-value]
    result = CliRunner().invoke(command_line, words, obj=said, prog_name="grpcflow")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def _run_worker(words: list[str]) -> tuple[int, str]:
    here, output = os.getcwd(), io.StringIO()
    try:
        with redirect_stdout(output), redirect_stderr(output):
            return worker.main(words), output.getvalue()
    finally:
        os.chdir(here)


def _run_coordinator(words: list[str]) -> tuple[int, str]:
    result = CliRunner().invoke(coordinator.command, words, prog_name="grpcflow-coordinator")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def run(seed: int, first: int, count: int) -> None:
    """Type so many commands.

    Raises:
        Finding: one of them ended as none may.
    """
    rng = random.Random(f"{seed} commands {first}")
    with _harmless():
        for _ in range(count):
            name = rng.choice(("grpcflow", "grpcflow", "grpcflow-worker", "grpcflow-coordinator"))
            if name == "grpcflow":
                path, command = rng.choice(_leaves())
                words = [*path, *arguments(rng, command)]
            else:
                command = worker.command if name == "grpcflow-worker" else coordinator.command
                words = arguments(rng, command)
            _check(name, words)


def _check(name: str, words: list[str]) -> None:
    """Type one command."""
    runs = {"grpcflow": _run_grpcflow, "grpcflow-worker": _run_worker, "grpcflow-coordinator": _run_coordinator}
    with judged(f"{name} {words!r}"):
        code, output = runs[name](words)
        if code not in CODES[name]:
            raise Finding(f"it ended with {code}")
        if "Traceback" in output:
            raise Finding(f"it showed a traceback: {output}")
        if code and not output.strip():
            raise Finding(f"it ended with {code} and without a word")
