"""Exit codes, which are one rule for all commands; readers that go; colours."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result
from tests.client.cli.fake_coordinator import FakeConnection, FakeSettled
from tests.support.tree import ROOT

from grpcflow import errors
from grpcflow.cli import invocation, main
from grpcflow.cli.waiting import Waiting

Type = Callable[..., Result]

ID = "01890000-0000-7000-8000-000000000001"
PAGE = ROOT / "docs" / "commands.md"
CODES = {value for name, value in vars(invocation).items() if name.startswith("EXIT_")}


def test_the_page_has_every_code_in_one_table() -> None:
    table = PAGE.read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == CODES | {0, 2}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.CoordinatorUnavailable("nobody there"), 69),
        (errors.UnknownDestination("no worker 'x'", known=("w1",)), 69),
        (errors.NotFound("no task"), 66),
        (errors.TimeoutError("too late"), 75),
        (errors.ImproperlyConfigured("a wrong setting"), 78),
        (errors.InvalidRequest("cannot be"), 1),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("words", [("ctl", "inspect", "ping"), ("ctl", "control", "shutdown", "-d", "w1"), ("status",)])
def test_an_error_means_the_same_in_every_command(
    cluster: FakeConnection, typed: Type, words: tuple[str, ...], error: Any, code: int
) -> None:
    cluster.error = error
    result = typed(*words)
    assert result.exit_code == code
    assert "Traceback" not in result.output
    if code != 130:
        assert result.stderr.startswith("Error: ")
        assert result.stdout == ""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["status"], 0),
        (["nonsense"], 2),
        (["status", "--nonsense"], 2),
        (["status", "--coordinator", "localhost"], 2),
        (["--coordinator", "", "status"], 2),
        (["result"], 2),
        (["result", "known"], 0),
        (["result", "failed"], 1),
        (["result", "waiting"], 75),
        (["result", "unknown"], 66),
        (["control", "purge", "emails"], 130),
        (["-A", "no.such.app", "schedule", "sync"], 78),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_each_code_is_seen(cluster: FakeConnection, typed: Type, words: list[str], code: int) -> None:
    cluster.results = {"known": FakeSettled("SUCCESS"), "waiting": FakeSettled("PENDING")}
    cluster.results["failed"] = FakeSettled("REVOKED")
    assert typed(*words).exit_code == code


def test_what_is_no_text_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ctl", "inspect", "ping", "-d", "w\udcff"]) == 2
    assert capsys.readouterr().err == "Error: b'w\\xff' is not UTF-8.\n"


def test_no_is_an_answer_and_nothing_is_done(cluster: FakeConnection, typed: Type) -> None:
    for words in (
        ("purge", "emails"),
        ("revoke_matching", "--task", "*"),
        ("revoke_by_stamped_headers", "customer=17"),
        ("shutdown",),
        ("shutdown", "--pattern", "w*"),
        ("shutdown", "--json"),
    ):
        result = typed("control", *words)
        assert (result.exit_code, result.stdout) == (130, "")
        assert "--yes does it without a question" in result.stderr
    assert cluster.asked == []


def test_a_shutdown_of_all_asks_and_one_of_those_who_are_named_does_not(cluster: FakeConnection, typed: Type) -> None:
    for words in (("--yes",), ("-y", "-Q", "default"), ("-d", "w1")):
        assert typed("control", "shutdown", *words).exit_code == 0
    assert [(asked[1], asked[3]) for asked in cluster.asked] == [
        ("shutdown", ()),
        ("shutdown", ()),
        ("shutdown", ("w1",)),
    ]


# --- readers that go -----------------------------------------------------------------------------------------

FLOOD = """
import sys
import click
from grpcflow.cli import command_line, main
from grpcflow.cli.overview import wide_console
from grpcflow.cli.printing import echo_json

@command_line.command("drawn")
def drawn() -> None:
    for _ in range(5):
        wide_console().print("line" * 100_000)

@command_line.command("json")
def json() -> None:
    echo_json(["line"] * 100_000)

sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("word", ["--help", "--version", "drawn", "json"])
def test_a_reader_that_goes_leaves_no_traceback(word: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-c", FLOOD, word], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=150
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (invocation.EXIT_NO_READER, "")


# --- colours and signs of life -------------------------------------------------------------------------------


def coloured(monkeypatch: pytest.MonkeyPatch, **variables: str) -> bool:
    """Returns whether a terminal would be given colours."""
    from rich.console import Console
    from rich.text import Text

    for name in ("NO_COLOR", "FORCE_COLOR"):
        if name not in variables:
            monkeypatch.delenv(name, raising=False)
    console = Console(force_terminal=True, color_system="standard")
    with console.capture() as shown:
        console.print(Text("live", style="green"))
    return "\x1b[32m" in shown.get()


def test_no_color_holds_anywhere_on_the_line(monkeypatch: pytest.MonkeyPatch, typed: Type) -> None:
    assert coloured(monkeypatch)
    for words in (("--no-color", "status"), ("ctl", "inspect", "ping", "--no-color")):
        monkeypatch.delenv("NO_COLOR", raising=False)
        assert typed(*words).exit_code == 0
        assert not coloured(monkeypatch, NO_COLOR=os.environ["NO_COLOR"])


def test_nothing_is_coloured_where_the_output_is_no_terminal(typed: Type) -> None:
    for words in (("ctl", "inspect"), ("ctl", "status"), ("--help",)):
        assert "\x1b" not in typed(*words).output


def test_a_long_wait_shows_life_on_a_terminal_and_leaves_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Waiting("Purging", terminal=True, quiet=0) as waiting:
        waiting._timer.join(60)
    assert "Purging" in capsys.readouterr().err
    with Waiting("Purging", terminal=False, quiet=0):
        pass
    with Waiting("Purging", terminal=True, quiet=60):
        pass
    assert capsys.readouterr().err == ""


def test_an_interrupt_before_any_command_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("grpcflow.cli.command_line.main", interrupted)
    assert main([]) == 130
