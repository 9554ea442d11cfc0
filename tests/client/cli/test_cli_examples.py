"""Each command's help: one example that can be typed as it stands, and no more than a screen."""

import shlex
from collections.abc import Iterator

import click
import pytest
from tests.client.cli.test_cli_help import commands_of

from grpcflow.cli import command_line, main
from grpcflow.cli.examples import EXAMPLES

#: Lines of the longest help; `schedule add` has 18 options.
MOST_LINES = 62


def every(command: click.Command = command_line, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yields each command once, by its path without `ctl`."""
    for name, below in commands_of(command).items():
        whole = f"{path} {name}".strip().removeprefix("ctl ")
        yield whole, below
        yield from every(below, whole)


COMMANDS = dict(every())


@pytest.mark.parametrize("path", sorted(COMMANDS))
def test_every_command_shows_one_example_on_a_short_page(path: str) -> None:
    command = COMMANDS[path]
    if command.epilog is None:
        pytest.fail(f"{path} has no example: write one into cli/examples.py")
    page = command.get_help(click.Context(command, info_name=f"grpcflow {path}", help_option_names=["-h", "--help"]))
    assert page.count("Example:") == 1
    assert page.count("\n") < MOST_LINES, page


@pytest.mark.parametrize("path", sorted(EXAMPLES))
def test_the_example_can_be_typed_as_it_stands(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it would do is shown elsewhere; here nothing of it may be refused, and it ends at the command it is for."""
    text = EXAMPLES[path]
    words = shlex.split(text.removeprefix('eval "$(').removesuffix(')"'))
    assert words.pop(0) == "grpcflow"
    reached: list[str] = []

    def note(command: click.Command, ctx: click.Context) -> None:
        del ctx
        reached.append(command.name or "")

    monkeypatch.setattr(click.Command, "invoke", note)
    assert main(words) == 0
    assert set(path.split()) <= {*reached, *words}, reached


def test_a_command_that_is_mistyped_gets_the_nearest_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspct"]) == 2
    assert "No such command 'inspct'. Did you mean 'inspect'?" in capsys.readouterr().err
    assert main(["ctl", "zzzz"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "Error: No such command 'zzzz'."


def test_help_lists_every_command_in_a_section(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for head in ("Run:", "Look:", "Act:", "Set up:"):
        assert head in shown
    lines = [line.split() for line in shown.partition("Run:")[2].splitlines()]
    for name, command in commands_of(command_line).items():
        assert [words for words in lines if words[:1] == [name]], name
        assert command.name == name
    assert all(len(line) <= 80 for line in shown.splitlines())


SHORT = {"--json": "-j", "--yes": "-y", "--timeout": "-t", "--app": "-A", "--queue": "-Q", "--destination": "-d"}


def test_options_have_one_name_and_one_meaning() -> None:
    """What is short in one command is short for the same in all of them."""
    meaning: dict[str, set[str]] = {}
    for command in COMMANDS.values():
        for option in command.params:
            if isinstance(option, click.Option):
                for at, short in enumerate(option.opts):
                    if not short.startswith("--"):
                        longs = [name for name in (*option.opts[at:], *option.opts[:at]) if name.startswith("--")]
                        meaning.setdefault(short, set()).add(longs[0])
    # One queue, and for a worker several; and what `tail -f` and Celery's `purge -f` have taught.
    known = {"-Q": {"--queue", "--queues"}, "-f": {"--follow", "--force"}}
    assert {short: names for short, names in meaning.items() if len(names) > 1 and names != known.get(short)} == {}
    for path, command in COMMANDS.items():
        names = {name for parameter in command.params for name in parameter.opts}
        for long, short in SHORT.items():
            assert long not in names or short in names, f"{path}: {long} without {short}"


#: Print nothing for programs: they run until they are stopped, hold others, draw, or print what a shell reads.
WITHOUT_JSON = {"worker", "dev", "completion", "top", "dashboard"}


def test_all_that_prints_data_can_print_json() -> None:
    without = set()
    for path, command in COMMANDS.items():
        names = {name for one in command.params for name in one.opts}
        if not isinstance(command, click.Group) and "--json" not in names:
            without.add(path)
    assert without == WITHOUT_JSON
