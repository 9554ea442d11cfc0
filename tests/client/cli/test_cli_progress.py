"""`grpcflow call --progress`: a bar on a terminal, lines elsewhere, and the result as with `--wait`."""

import io
import json
import sys
from typing import Any

import pytest
from tests.client.cli.conftest import Type
from tests.client.cli.fake_coordinator import FakeConnection, FakeSettled

from grpcflow.app import Grpcflow
from grpcflow.cli.progress import ProgressDisplay, steps_of
from grpcflow.settled import Settled


@pytest.fixture(autouse=True)
def in_memory(monkeypatch: pytest.MonkeyPatch, cluster: FakeConnection) -> None:
    """Every app talks to the cluster in memory."""
    monkeypatch.setattr(Grpcflow, "connection", property(lambda _self: cluster))


def told(state: str, meta: Any = None) -> Settled:
    """Returns the news of a task's own state."""
    return Settled("STARTED", custom_state=state, meta=(json.dumps(meta).encode(), ""))


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Return True."""
        return True


def test_each_state_is_a_line_where_stderr_is_no_terminal(typed: Type, cluster: FakeConnection) -> None:
    cluster.news = [
        Settled("STARTED"),
        told("PROGRESS", {"current": 1, "total": 4}),
        told("PROGRESS", {"current": 2, "total": 4, "message": "half  way\nthere"}),
        Settled("RETRY"),
        told("LOADING", "rows"),
        told("LOADING", "rows"),
    ]
    cluster.settle_submitted = FakeSettled("SUCCESS", data=b"[1, 2]")
    result = typed("call", "t", "--progress")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == [1, 2]
    assert result.stderr.splitlines()[1:] == [
        "STARTED",
        "PROGRESS 1/4",
        "PROGRESS 2/4 half way there",
        "RETRY",
        "LOADING rows",
    ]


def test_progress_ends_with_the_exit_code_of_the_task(typed: Type, cluster: FakeConnection) -> None:
    cluster.settle_submitted = FakeSettled("REVOKED")
    assert typed("call", "t", "--progress").exit_code == 1


def test_progress_that_takes_too_long_is_exit_code_75(typed: Type, cluster: FakeConnection) -> None:
    cluster.news = [told("PROGRESS", {"current": 1, "total": 4})]
    cluster.pending_submitted = True
    result = typed("call", "t", "--progress", "--timeout", "0.1")
    assert result.exit_code == 75
    assert "PROGRESS 1/4" in result.stderr


def test_a_terminal_gets_a_bar_that_ends_full(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with ProgressDisplay("proj.load") as display:
        display.show("PROGRESS", {"current": 3, "total": 4})
        display.show("WAITING", {"current": 3, "total": 4, "message": "for [a] lock"})
        display.finish(succeeded=True)
    drawn = screen.getvalue()
    assert "proj.load" in drawn
    assert "100%" in drawn
    assert "\x1b[" in drawn, "it is drawn over"


def test_a_bar_of_a_failed_task_stays_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with ProgressDisplay("proj.load") as display:
        display.show("PROGRESS", {"current": 1, "total": 4})
        display.finish(succeeded=False)
    assert "100%" not in screen.getvalue()
    assert "25%" in screen.getvalue()


@pytest.mark.parametrize(
    ("value", "steps"),
    [
        ({"current": 1, "total": 4}, (1, 4)),
        ({"current": 9, "total": 4}, (4, 4)),
        ({"current": -1, "total": 4.5}, (0, 4.5)),
        ({"current": 1, "total": 0}, None),
        ({"current": True, "total": 4}, None),
        ({"current": "1", "total": 4}, None),
        ({"current": 1}, None),
        ([1, 4], None),
        (None, None),
    ],
)
def test_steps_are_two_numbers_and_nothing_else(value: Any, steps: tuple[float, float] | None) -> None:
    assert steps_of(value) == steps


def test_a_long_text_is_cut_to_what_a_line_can_hold(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay("t", terminal=False) as display:
        display.show("LOADING", {"rows": "x" * 500})
        display.show("LOADING", {"b": [1, 2], "a": None})
    first, second = capsys.readouterr().err.splitlines()
    assert len(first) < 80
    assert second == "LOADING b=[1, 2], a=None"
