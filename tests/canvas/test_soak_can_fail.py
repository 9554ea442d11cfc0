"""The random canvases find what they are for: each bug that is planted in the core here is found."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.support import soak
from tests.support.shrinking import failure_of

from grpcflow_coordinator import values
from grpcflow_coordinator.core import attaching, attempts, settling
from grpcflow_coordinator.core.model import NodeState, Outcome
from grpcflow_coordinator.core.states import Trigger
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.storage import keys
from grpcflow_protos.v1 import value_pb2

#: Enough canvases that each bug is found, with a seed that stays: what is tried here is the judge.
SEED = 10
CANVASES = 400

Plant = Callable[[pytest.MonkeyPatch], None]


def silent_failures_fire_errbacks(patch: pytest.MonkeyPatch) -> None:
    real = settling._failed_child

    def loud(*args: Any) -> Any:
        run, child, outcome, _ = real(*args)
        return run, child, outcome, True

    patch.setattr(settling, "_failed_child", loud)


def lists_are_reversed(patch: pytest.MonkeyPatch) -> None:
    real = values.read_value

    def reversed_value(*args: Any) -> value_pb2.Value:
        value = real(*args)
        if value.WhichOneof("kind") == "list":
            turned = list(value.list.values)[::-1]
            del value.list.values[:]
            value.list.values.extend(turned)
        return value

    patch.setattr(values, "read_value", reversed_value)


def bodies_lose_the_chord_error(patch: pytest.MonkeyPatch) -> None:
    real = settling._failed_child

    def plain(*args: Any) -> Any:
        run, child, outcome, loud = real(*args)
        if outcome.failure is not None and outcome.failure.reason == "CHORD":
            outcome.failure = outcome.failure.cause
        return run, child, outcome, loud

    patch.setattr(settling, "_failed_child", plain)


def ignored_members_are_passed_over(patch: pytest.MonkeyPatch) -> None:
    real = settling._failed_child

    def quiet(step: Any, graph: Any, run: Any, child: int, parent: int, outcome: Any, fires: bool) -> Any:
        return real(step, graph, run, child, parent, outcome, fires and outcome.state is not NodeState.IGNORED)

    patch.setattr(settling, "_failed_child", quiet)


def nobody_waits_for_added_members(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settling, "one_more", lambda *_args: None)


def replacements_lose_their_errors(patch: pytest.MonkeyPatch) -> None:
    real = attaching.relocated

    def shorter(*args: Any) -> Any:
        failure = real(*args)
        return None if failure is None else replace(failure, cause=None, reason="")

    patch.setattr(attaching, "relocated", shorter)


def links_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    real = convert._run

    def first_child_only(*args: Any) -> Any:
        run, payloads = real(*args)
        run.children = run.children[:1]
        return run, payloads

    patch.setattr(convert, "_run", first_child_only)


def retries_are_failures(patch: pytest.MonkeyPatch) -> None:
    def failed(step: Any, attempt: Any, report: Any) -> None:
        outcome = Outcome(NodeState.FAILURE, step.now.wall_ms, failure=report.failure)
        attempts.finish(step, attempt, Trigger.RAISED, outcome)

    patch.setattr(attempts, "_retry", failed)


def records_stay(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(keys, "OF_A_GRAPH", tuple(kind for kind in keys.OF_A_GRAPH if kind != keys.PROGRESS))


def counts_are_not_written(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settling, "flush", lambda _step: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "plant",
    [
        silent_failures_fire_errbacks,
        lists_are_reversed,
        bodies_lose_the_chord_error,
        ignored_members_are_passed_over,
        nobody_waits_for_added_members,
        replacements_lose_their_errors,
        links_are_forgotten,
        retries_are_failures,
        records_stay,
    ],
)
def test_a_planted_bug_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_found(plant, monkeypatch, kills=False)


@pytest.mark.slow
def test_a_bug_that_only_a_crash_shows_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_found(counts_are_not_written, monkeypatch, kills=True)


def assert_found(plant: Plant, monkeypatch: pytest.MonkeyPatch, *, kills: bool) -> None:
    with monkeypatch.context() as patch:
        plant(patch)
        found = soak.soak(SEED, CANVASES, kills=kills, processes=1)
    assert found is not None
    # It is the planted bug that was found, and no other: without it the same canvas is as it should be.
    assert failure_of(soak.trial_of(SEED, found, kills=kills)) is None


@pytest.mark.slow
def test_a_difference_is_printed_small_and_ends_the_script_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies_lose_the_chord_error(monkeypatch)
    assert soak.main(["--count", str(CANVASES), "--seed", str(SEED), "--processes", "1"]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith(f"seed: {SEED}\n")
    assert "cut down to" in printed
    assert "scripts/canvas_soak --seed" in printed
    # What is left is about a chord with a member that fails, and little else.
    assert printed.count("'subtask_type'") < 12
