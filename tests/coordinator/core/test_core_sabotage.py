"""The invariants can fail: the core is broken on purpose, and the check goes red."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.coordinator.support.bench import Bench
from tests.coordinator.support.graphs import PLAIN, Sketch, chord, on_error, one, value

from grpcflow_coordinator.core import attempts, handing, limits, settling, timers
from grpcflow_coordinator.core.invariants import Broken
from grpcflow_coordinator.core.lines import Lines
from grpcflow_coordinator.core.ordering import Level
from grpcflow_coordinator.core.states import IllegalTransition


def nothing(*_: Any, **__: Any) -> None:
    """What the broken parts do."""


def forget_children(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settling, "_parent_settled", nothing)


def forget_to_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settling, "count_settled", nothing)


def forget_to_queue(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(settling, "release", nothing)


def count_parents_twice(patch: pytest.MonkeyPatch) -> None:
    whole = settling._one_less

    def twice(step: Any, graph: Any, index: int, waiting: Any) -> bool:
        waiting.count -= waiting.count > 2
        return whole(step, graph, index, waiting)

    patch.setattr(settling, "_one_less", twice)


def drop_entries_too_early(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Lines, "depart", lambda _self, loaded, entry: loaded.drop_entry(entry))


def hand_out_twice(patch: pytest.MonkeyPatch) -> None:
    whole = handing.make_attempts

    def twice(*given: Any) -> Any:
        whole(*given)
        return whole(*given)

    patch.setattr(handing, "make_attempts", twice)


def forget_who_left(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(limits, "leave", lambda step, attempt: None)


def forget_who_waits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(limits, "wake", lambda step: step.cluster.lines.loose.clear())


def list_no_task(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Level, "_list", nothing)


def lose_attempts(patch: pytest.MonkeyPatch) -> None:
    def close(step: Any, attempt: Any) -> None:
        del step.cluster.attempts[attempt.token]

    patch.setattr(attempts, "close", close)


def keep_what_was_handed_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(attempts, "_give_back", lambda step, attempt, **_: attempts.close(step, attempt))


def story(bench: Bench) -> None:
    """A little of everything."""
    sketch = chord(4)
    body = sketch.count - 1
    sketch.task(on_error(body))
    sketch.task(value(body))
    bench.submit(sketch)
    worker = bench.worker(capacity=10)
    bench.finish(worker, sketch.id, 2)
    bench.end(worker, sketch.id, 1, "returned")
    bench.end(worker, sketch.id, 0, "lost")
    bench.fail(worker, sketch.id, 3)
    bench.values_of(worker)
    bench.values_of(worker)
    alone = Sketch()
    alone.task()
    bench.submit(alone)
    bench.values_of(worker)


def test_the_story_holds_where_nothing_is_broken(bench: Bench) -> None:
    story(bench)
    assert len(bench.ended) == 2


@pytest.mark.parametrize(
    "sabotage",
    [
        forget_children,
        forget_to_count,
        forget_to_queue,
        count_parents_twice,
        drop_entries_too_early,
        hand_out_twice,
        list_no_task,
        lose_attempts,
    ],
)
def test_a_broken_core_is_noticed(monkeypatch: pytest.MonkeyPatch, sabotage: Callable[[Any], None]) -> None:
    sabotage(monkeypatch)
    with pytest.raises((Broken, settling.Defect, IllegalTransition)):
        story(Bench())


def test_work_that_is_kept_from_everyone_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    keep_what_was_handed_back(monkeypatch)
    with pytest.raises((Broken, settling.Defect)):
        story(Bench())


@pytest.mark.parametrize("sabotage", [forget_who_left, forget_who_waits])
def test_a_limit_that_miscounts_is_noticed(
    monkeypatch: pytest.MonkeyPatch, sabotage: Callable[[pytest.MonkeyPatch], None]
) -> None:
    sabotage(monkeypatch)
    bench = Bench()
    sketch = Sketch(PLAIN)
    sketch.group(3)
    sketch.runs[0][0].concurrency_key = "k"
    bench.submit(sketch)
    with pytest.raises(Broken):
        bench.values_of(bench.worker())


def test_work_that_time_forgot_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timers, "_ready", nothing)
    bench = Bench()
    bench.submit(one(replace(PLAIN, countdown_ms=1)))
    with pytest.raises(Broken):
        bench.pass_time(1.0)
