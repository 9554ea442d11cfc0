"""`grpcflow graph`: what is shown, listed, cancelled, retried and explained, each end with its exit code."""

import importlib
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from rich.console import Console
from rich.live import Live
from tests.client.shown_graphs import BEGAN, ShownGraph, ShownGraphs, add, report, succeeded, total

from grpcflow import chain, chord, errors
from grpcflow.cli import command_line
from grpcflow.cli.graph_screen import drawn
from grpcflow.cli.invocation import Invocation
from grpcflow.graph import GraphView
from grpcflow_protos.v1 import graph_service_pb2 as pb

Typed = Callable[..., Result]


@pytest.fixture
def served() -> ShownGraphs:
    """A chord of five that succeeded, and a chain of which the second step failed."""

    def failing(index: int) -> Mapping[str, Any]:
        if index == 0:
            return succeeded(0)
        failed = {"state": "FAILURE", "settled_at_ms": BEGAN + 900, "error": "ValueError: no funds"}
        return {**failed, "worker": "w2"} if index == 1 else {**failed, "origin": "step-2"}

    return ShownGraphs(
        ShownGraph(chord([add.s(i) for i in range(5)], total.s())),
        ShownGraph(chain(add.s(1), add.s(2), report.s()), failing, number=7),
    )


@pytest.fixture
def asked(served: ShownGraphs) -> Typed:
    """Runs a command as typed, against these graphs."""

    def run(*words: str) -> Result:
        said = Invocation(connect=lambda _addresses: served)  # type: ignore[arg-type, return-value]
        return CliRunner().invoke(command_line, list(words), obj=said, catch_exceptions=False)

    return run


def test_an_id_alone_shows_the_tree(asked: Typed, served: ShownGraphs) -> None:
    result = asked("graph", served.graphs[0].id)
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        f"{served.graphs[0].id}  SUCCESS  ━━━━━━━━━━━━━━━━━━━━  7 of 7  7 SUCCESS",
        "├─ group of 5       SUCCESS  w1  250 ms",
        "│  └─ shop.add x 5  ━━━━━━━━━━━━━━━━━━━━  5 SUCCESS",
        "└─ shop.total       SUCCESS  w1  250 ms",
    ]


def test_a_failure_is_shown_with_its_error_and_is_not_the_command_s_failure(asked: Typed, served: ShownGraphs) -> None:
    result = asked("graph", "show", served.graphs[1].id, "--ids")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[2].split() == [
        "├─",
        "shop.add",
        "FAILURE",
        "w2",
        "ValueError:",
        "no",
        "funds",
        f"{served.graphs[1].id[:-1]}1",
    ]
    assert "because of step-2" in lines[3]


@pytest.mark.parametrize(
    "words",
    [
        ("--ids", "{id}"),
        ("{id}", "--ids"),
        ("--coordinator", "h:1", "{id}"),
        ("--coordinator=h:1", "{id}", "--limit", "3"),
    ],
)
def test_options_may_stand_before_and_behind_the_id(asked: Typed, served: ShownGraphs, words: tuple[str, ...]) -> None:
    result = asked("graph", *(word.format(id=served.graphs[0].id) for word in words))
    assert result.exit_code == 0
    assert "shop.total" in result.stdout


def test_without_an_id_the_commands_are_told(asked: Typed) -> None:
    for words, code in ((("graph",), 2), (("graph", "--help"), 0), (("graph", "-h"), 0)):
        result = asked(*words)
        assert result.exit_code == code
        assert "retry" in result.stdout + result.stderr


def test_json_dot_and_svg_are_whole_documents(asked: Typed, served: ShownGraphs, tmp_path: Path) -> None:
    id = served.graphs[0].id
    found = json.loads(asked("graph", id, "--json").stdout)
    assert (found["id"], found["tally"]["succeeded"], found["runs"][0]["nodes"]) == (id, 7, [])
    assert len(json.loads(asked("graph", id, "--json", "--every").stdout)["runs"][0]["nodes"]) == 5
    assert asked("graph", id, "--dot").stdout.startswith("digraph grpcflow {")
    ElementTree.fromstring(asked("graph", id, "--svg", "-").stdout)
    file = tmp_path / "graph.svg"
    result = asked("graph", id, "--svg", str(file))
    assert (result.exit_code, result.stdout) == (0, "")
    ElementTree.fromstring(file.read_text(encoding="utf-8"))


def test_two_ways_to_show_it_at_once_are_refused(asked: Typed, served: ShownGraphs) -> None:
    result = asked("graph", served.graphs[0].id, "--dot", "--watch")
    assert result.exit_code == 2
    assert "give one" in result.stderr


class Moving(ShownGraphs):
    """Graphs that go on with each look: the function is told which look it is."""

    def __init__(self, graph: ShownGraph, on_look: Callable[[int], None]) -> None:
        super().__init__(graph)
        self.on_look = on_look
        self.looks = 0

    def graph_summary(self, id: str) -> pb.GraphSummary:
        self.looks += 1
        self.on_look(self.looks)
        return super().graph_summary(id)


def watched(on_look: Callable[[int, Moving], None], canvas: Any = None) -> tuple[Result, Moving]:
    """Watches a graph that runs at first."""
    graph = ShownGraph(canvas or chain(add.s(1), total.s()), lambda _index: {"state": "STARTED", "worker": "w1"})
    moving = Moving(graph, lambda look: on_look(look, moving))
    said = Invocation(connect=lambda _addresses: moving)  # type: ignore[arg-type, return-value]
    words = ["graph", graph.id, "--watch", "--interval", "0.05"]
    return CliRunner().invoke(command_line, words, obj=said, catch_exceptions=False), moving


def test_watching_goes_on_until_the_graph_has_ended() -> None:
    def end(look: int, served: Moving) -> None:
        if look == 4:
            served.graphs[0].told = succeeded

    result, served = watched(end)
    assert (result.exit_code, served.looks) == (0, 4)
    assert result.stdout.count("2 of 2") == 1


def test_watching_a_graph_that_fails_is_exit_code_1() -> None:
    def end(look: int, served: Moving) -> None:
        if look == 2:
            served.graphs[0].told = lambda _index: {"state": "FAILURE", "error": "ValueError: no"}

    assert watched(end)[0].exit_code == 1


def test_a_graph_that_expires_while_it_is_watched_is_told_so() -> None:
    def expire(look: int, served: Moving) -> None:
        if look == 3:
            served.graphs.clear()

    result, _ = watched(expire)
    assert result.exit_code == 66
    assert "has expired while it was watched" in result.stderr


def test_a_coordinator_that_is_away_for_a_while_does_not_end_the_watch() -> None:
    def away(look: int, served: Moving) -> None:
        served.error = (
            errors.CoordinatorUnavailable("the coordinator at h:1 cannot be reached") if look in {2, 3} else None
        )
        if look == 5:
            served.graphs[0].told = succeeded

    result, served = watched(away)
    assert (result.exit_code, served.looks) == (0, 5)


def test_a_coordinator_that_stays_away_ends_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("grpcflow.cli.graph"), "_PATIENCE", 0.1)

    def away(look: int, served: Moving) -> None:
        served.error = errors.CoordinatorUnavailable("it cannot be reached") if look > 1 else None

    result, _ = watched(away)
    assert result.exit_code == 69


def test_an_id_that_nobody_knows_is_exit_code_66_everywhere(asked: Typed) -> None:
    for words in (
        ("x",),
        ("show", "x"),
        ("cancel", "x"),
        ("retry", "x"),
        ("explain", "x"),
        ("x", "--json"),
        ("x", "-w"),
    ):
        result = asked("graph", *words)
        assert (result.exit_code, result.stdout) == (66, ""), words
        assert "'x'" in result.stderr


def test_no_coordinator_is_exit_code_69(asked: Typed, served: ShownGraphs) -> None:
    served.error = errors.CoordinatorUnavailable("the coordinator at h:1 cannot be reached")
    for words in (("x",), ("list",), ("cancel", "x"), ("retry", "x"), ("explain", "x"), ("list", "--json")):
        result = asked("graph", *words)
        assert result.exit_code == 69, words
        assert "cannot be reached" in result.stderr


def test_the_list_is_a_table_with_the_newest_first(asked: Typed, served: ShownGraphs) -> None:
    lines = asked("graph", "list").stdout.splitlines()
    assert lines[0].split() == ["ID", "STATE", "DONE", "AGE", "TOOK", "TASK"]
    assert [line.split()[:5] for line in lines[1:]] == [
        [served.graphs[1].id, "FAILURE", "3", "of", "3,"],
        [served.graphs[0].id, "SUCCESS", "7", "of", "7"],
    ]
    assert "2 failed" in lines[1]
    assert lines[2].endswith("shop.add and 1 more")


def test_a_list_may_be_cut_and_may_be_empty(asked: Typed, served: ShownGraphs) -> None:
    assert asked("graph", "list", "--limit", "1").stdout.splitlines()[-1].startswith("The newest 1; --limit or --all")
    listed = json.loads(asked("graph", "list", "--json", "--all").stdout)
    assert [one["id"] for one in listed] == [served.graphs[1].id, served.graphs[0].id]
    served.graphs.clear()
    assert asked("graph", "list").stdout == "No graphs.\n"
    assert json.loads(asked("graph", "list", "--json").stdout) == []


def test_filters_of_the_list_travel(asked: Typed, served: ShownGraphs) -> None:
    asked("graph", "list", "--state", "failure", "--task", "shop.*", "--since", "2030-01-01T00:00+00:00", "--attached")
    request = served.asked[0][1]
    assert (list(request.states), request.task, request.since_ms, request.limit) == ([6], "shop.*", 1893456000000, 20)
    assert request.attached
    asked("graph", "list", "--since", "2h", "--until", "90s", "--limit", "700")
    request = served.asked[-1][1]
    assert request.until_ms - request.since_ms == pytest.approx(7_110_000, abs=5_000)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--state", "DONE"), "there is no state 'DONE'"),
        (("--since", "yesterday"), "'yesterday' is neither an age such as 90s"),
        (("--all", "--limit", "3"), "give one"),
        (("--limit", "0"), "0 is not in the range"),
    ],
)
def test_wrong_filters_are_wrong_usage(asked: Typed, words: tuple[str, ...], told: str) -> None:
    result = asked("graph", "list", *words)
    assert result.exit_code == 2
    assert told in result.stderr


def test_cancelling_tells_what_was_done_and_twice_is_no_failure(asked: Typed, served: ShownGraphs) -> None:
    id = served.graphs[0].id
    served.answers["cancel"] = {"cancelled": 4, "running": 1}
    assert (
        asked("graph", "cancel", id, "--terminate", "-s", "kill").stdout
        == "Cancelled: 5 tasks, 1 of them on workers.\n"
    )
    assert served.asked[-1] == ("cancel", id, True, "SIGKILL")
    served.answers["cancel"] = {"had_ended": True}
    again = asked("graph", "cancel", id)
    assert (again.exit_code, again.stdout) == (0, "The graph had ended already; nothing was done.\n")
    assert json.loads(asked("graph", "cancel", id, "--json").stdout) == {
        "cancelled": 0,
        "running": 0,
        "had_ended": True,
    }
    assert asked("graph", "cancel", id, "--signal", "nonsense").exit_code == 2


def test_retrying_tells_how_many_and_what_nobody_knows(asked: Typed, served: ShownGraphs) -> None:
    id = served.graphs[1].id
    served.answers["retry"] = {"retried": 2, "unknown_tasks": ["shop.gone"]}
    result = asked("graph", "retry", id)
    assert result.exit_code == 0
    assert "Runs again: 2 tasks. No connected worker knows shop.gone" in result.stdout
    assert json.loads(asked("graph", "retry", id, "-j").stdout) == {"retried": 2, "unknown_tasks": ["shop.gone"]}
    assert asked("graph", "retry", id, "--wait", "--json").exit_code == 2


def test_a_retry_with_wait_ends_with_the_state_of_the_graph(asked: Typed, served: ShownGraphs) -> None:
    assert asked("graph", "retry", served.graphs[0].id, "--wait").exit_code == 0
    assert asked("graph", "retry", served.graphs[1].id, "--wait").exit_code == 1


def test_a_retry_of_what_still_runs_is_exit_code_75(asked: Typed, served: ShownGraphs) -> None:
    served.error = errors.StillRunning("the graph has not ended: wait for its end, or cancel it, and retry it then")
    result = asked("graph", "retry", served.graphs[0].id)
    assert (result.exit_code, result.stdout) == (75, "")
    assert "wait for its end, or cancel it" in result.stderr


def test_explaining_is_a_sentence_in_both_places(asked: Typed, served: ShownGraphs) -> None:
    served.answers["explain"] = {"code": "NO_WORKER", "sentence": "Waits in queue 'q'.", "state": 1}
    id = served.graphs[0].id
    for words in (("explain", id), ("graph", "explain", id)):
        assert asked(*words).stdout == "Waits in queue 'q'.\n"
    assert json.loads(asked("explain", id, "--json").stdout)["code"] == "NO_WORKER"


def test_on_a_narrow_screen_a_watched_tree_is_cut_and_a_shown_one_is_whole(served: ShownGraphs) -> None:
    picture = GraphView(served, served.graphs[1].id).picture()
    written = io.StringIO()
    screen = Console(file=written, width=46)
    with Live(console=screen, auto_refresh=False) as live:
        live.update(drawn(picture, cut=True), refresh=True)
    watched_lines = written.getvalue().splitlines()
    assert [line.rstrip()[-1] for line in watched_lines] == ["…", "s", "…", "2"]
    screen.print(drawn(picture))
    assert "no funds" in " ".join(written.getvalue().split())
