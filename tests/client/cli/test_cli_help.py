"""The command line as a whole: every command with its arguments and options, its help, and its start."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import Result

from grpcflow.cli import command_line, main
from grpcflow.cli.celery_commands import ELSEWHERE

Type = Callable[..., Result]

GOLDEN = Path(__file__).parent / "golden" / "commands.txt"


def described(command: click.Command, path: str) -> Iterator[str]:
    """Yields a command and those below it, a line each, with the names a user types."""
    parts = []
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.hidden:
            continue
        name = "/".join(parameter.opts)
        parts.append(name if isinstance(parameter, click.Option) else parameter.human_readable_name)
    yield " ".join([path, *parts])
    for name, below in sorted(commands_of(command).items()):
        yield from described(below, f"{path} {name}")


def commands_of(command: click.Command) -> dict[str, click.Command]:
    """Returns the commands of a group, imported; none where it is no group."""
    if not isinstance(command, click.Group):
        return {}
    context = click.Context(command)
    found = {name: command.get_command(context, name) for name in command.list_commands(context)}
    return {name: below for name, below in found.items() if below is not None}


def test_the_commands_are_those_of_the_golden_list() -> None:
    """To change it on purpose: write what this test prints into golden/commands.txt."""
    now = "\n".join(described(command_line, "grpcflow")) + "\n"
    print(now)
    assert now == GOLDEN.read_text(encoding="utf-8")


@pytest.mark.parametrize("words", [("ctl", "control", "--help"), ("-A", "proj", "control", "--help")])
def test_help_of_control_lists_each_command_on_one_line(typed: Type, words: tuple[str, ...]) -> None:
    result = typed(*words)
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    for name in ("add_consumer", "cancel_consumer", "revoke", "shutdown", "terminate"):
        assert sum(line[:1] == [name] and len(line) > 2 for line in lines) == 1


def test_every_command_and_option_has_help() -> None:
    def check(command: click.Command, path: str) -> None:
        assert command.help, path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{path} {parameter.name}"
        for name, below in commands_of(command).items():
            check(below, f"{path} {name}")

    check(command_line, "grpcflow")


def test_the_version_is_shown(typed: Type) -> None:
    assert typed("--version").stdout.startswith("grpcflow ")


def test_worker_hands_its_arguments_on_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def worker_main(argv: list[str]) -> int:
        given.append(argv)
        return 7

    modules = SimpleNamespace(import_module=lambda _name: SimpleNamespace(main=worker_main))
    monkeypatch.setattr("grpcflow.cli.worker.importlib", modules)
    assert main(["-A", "proj", "worker", "-Q", "default", "-n", "w2", "-c", "2", "--help"]) == 7
    assert main(["--coordinator", "h:1", "worker", "-A", "other"]) == 7
    assert given == [
        ["-A", "proj", "-Q", "default", "-n", "w2", "-c", "2", "--help"],
        ["--coordinator", "h:1", "-A", "other"],
    ]


@pytest.mark.parametrize(
    ("words", "code"), [(["--version"], 0), (["nonsense"], 2), (["result"], 2), (["call", "x", "--args", "{"], 2)]
)
def test_main_returns_the_exit_code(words: list[str], code: int) -> None:
    assert main(words) == code


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_a_command_that_only_celery_has_says_what_to_use(name: str, typed: Type) -> None:
    told = typed(name, "anything")
    assert told.exit_code == 2
    assert f"No such command '{name}': {ELSEWHERE[name]}." in " ".join(told.output.split())


def test_starting_imports_neither_grpc_nor_rich() -> None:
    code = (
        "import sys\n"
        "from grpcflow.cli import main\n"
        "assert main(['ctl', 'control', '--help']) == 0\n"
        "heavy = {'grpc', 'google.protobuf', 'rich', 'asyncio'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
