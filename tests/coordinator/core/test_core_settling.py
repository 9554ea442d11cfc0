"""Settling: joins, chains, chords, errbacks, and how a failure spreads."""

from tests.coordinator.support.bench import Bench
from tests.coordinator.support.graphs import Sketch, after, chain, chord, on_error, value

from grpcflow_coordinator.core.model import Failure, FailureMode, NodeState

S = NodeState


def states(bench: Bench, sketch: Sketch) -> list[NodeState | None]:
    return [bench.state(sketch.id, index) for index in range(sketch.count)]


def test_a_chain_runs_step_by_step(bench: Bench) -> None:
    sketch = chain(4)
    bench.submit(sketch)
    worker = bench.worker()
    for index in range(4):
        assert worker.indexes() == [index]
        bench.finish(worker, sketch.id, index)
    assert bench.ended == [sketch.id]


def test_a_chord_waits_for_its_last_member_over_restarts(bench: Bench) -> None:
    sketch = chord(5)
    bench.submit(sketch)
    worker = bench.worker()
    for index in (4, 0, 2):
        bench.finish(worker, sketch.id, index)
        bench.restart()
        bench.arrive(worker)
    bench.values_of(worker)
    assert worker.indexes() == [6]
    assert bench.state(sketch.id, 5) is S.SUCCESS
    bench.finish(worker, sketch.id, 6)
    assert bench.ended == [sketch.id]


def test_empty_joins_succeed_at_once_in_small_and_in_staged_graphs(bench: Bench) -> None:
    for runs_each in (100, 1):
        sketch = Sketch()
        join = sketch.join()
        sketch.task(value(join, FailureMode.CHORD))
        bench.submit(sketch, runs_each=runs_each)
        assert bench.state(sketch.id, join) is S.SUCCESS
        worker = bench.worker(f"w{runs_each}@host")
        bench.finish(worker, sketch.id, 1)
        assert bench.ended[-1] == sketch.id
        bench.speak(worker, goodbye=True)


def test_joins_of_joins(bench: Bench) -> None:
    sketch = Sketch()
    sketch.group(2)
    inner = sketch.join((0, 2))
    empty = sketch.join()
    outer = sketch.join((inner, 1), (empty, 1))
    sketch.task(value(outer, FailureMode.CHORD))
    bench.submit(sketch)
    worker = bench.worker()
    bench.values_of(worker)
    assert states(bench, sketch)[:5] == [S.SUCCESS] * 5
    bench.values_of(worker)
    assert bench.ended == [sketch.id]


def test_a_failing_step_fails_all_behind_it_with_the_same_failure(bench: Bench) -> None:
    sketch = chain(50)
    bench.submit(sketch)
    bench.fail(bench.worker(), sketch.id, 0)
    assert states(bench, sketch) == [S.FAILURE] * 50
    assert bench.failure(sketch.id, 49).type_name == "ValueError"
    assert bench.failure(sketch.id, 49).origin
    assert bench.failure(sketch.id, 49).origin == bench.failure(sketch.id, 1).origin
    assert bench.ended == [sketch.id]


def test_a_failing_member_gives_the_body_a_chord_error_and_the_others_still_run(bench: Bench) -> None:
    sketch = chord(3)
    bench.submit(sketch)
    worker = bench.worker()
    bench.fail(worker, sketch.id, 1)
    failure = bench.failure(sketch.id, 4)
    assert (failure.type_name, failure.reason) == ("ChordError", "CHORD")
    assert failure.cause is not None
    assert failure.cause.type_name == "ValueError"
    bench.fail(worker, sketch.id, 0)
    bench.finish(worker, sketch.id, 2)
    assert states(bench, sketch) == [S.FAILURE, S.FAILURE, S.SUCCESS, S.FAILURE, S.FAILURE]
    assert bench.ended == [sketch.id]


def test_two_paths_of_one_failure_meet_in_a_node_that_settles_once(bench: Bench) -> None:
    sketch = Sketch()
    top = sketch.task()
    left, _ = sketch.task(value(top)), sketch.task(value(top))
    join = sketch.join((left, 2))
    sketch.task(value(join, FailureMode.CHORD))
    bench.submit(sketch)
    bench.fail(bench.worker(), sketch.id, top)
    assert states(bench, sketch) == [S.FAILURE] * 5
    assert bench.ended == [sketch.id]


def test_a_diamond_waits_for_both_sides(bench: Bench) -> None:
    sketch = Sketch()
    top = sketch.task()
    left, right = sketch.task(value(top)), sketch.task(after(top))
    sketch.task(value(left), after(right))
    bench.submit(sketch)
    worker = bench.worker()
    bench.finish(worker, sketch.id, top)
    bench.finish(worker, sketch.id, right)
    bench.restart()
    bench.arrive(worker)
    assert worker.indexes() == [left]
    bench.finish(worker, sketch.id, left)
    assert worker.indexes() == [3]


def test_an_errback_runs_once_for_the_first_failure(bench: Bench) -> None:
    sketch = Sketch()
    sketch.group(3)
    sketch.task(on_error(0), on_error(1), on_error(2))
    bench.submit(sketch)
    worker = bench.worker()
    bench.fail(worker, sketch.id, 1)
    progress = bench.records.progress(sketch.id, 3)
    assert progress is not None
    assert progress.fired_by == 2
    bench.fail(worker, sketch.id, 0)
    assert worker.given.count((sketch.id, 3)) == 1
    bench.finish(worker, sketch.id, 3)
    bench.fail(worker, sketch.id, 2)
    assert worker.given.count((sketch.id, 3)) == 1
    assert bench.ended == [sketch.id]


def test_an_errback_of_every_step_of_a_chain_runs_for_the_first_one(bench: Bench) -> None:
    sketch = Sketch()
    first = sketch.task()
    second = sketch.task(value(first))
    third = sketch.task(value(second))
    sketch.task(on_error(first), on_error(second), on_error(third))
    bench.submit(sketch)
    worker = bench.worker()
    bench.fail(worker, sketch.id, first)
    assert worker.indexes() == [3]
    bench.restart()
    bench.arrive(worker)
    bench.finish(worker, sketch.id, 3)
    assert bench.ended == [sketch.id]


def test_an_errback_that_nobody_needs_is_ignored(bench: Bench) -> None:
    sketch = Sketch()
    sketch.group(2)
    sketch.task(on_error(0), on_error(1))
    bench.submit(sketch)
    worker = bench.worker()
    bench.finish(worker, sketch.id, 0)
    bench.restart()
    bench.arrive(worker)
    bench.finish(worker, sketch.id, 1)
    assert bench.state(sketch.id, 2) is S.IGNORED
    assert bench.ended == [sketch.id]


def test_errbacks_behind_a_failure_that_passes_through_are_silent(bench: Bench) -> None:
    sketch = Sketch()
    second = sketch.task(value(sketch.task()))
    sketch.task(on_error(second))
    bench.submit(sketch)
    worker = bench.worker()
    bench.fail(worker, sketch.id, 0)
    assert bench.state(sketch.id, 2) is S.IGNORED
    assert not worker.held


def test_the_errback_of_a_failing_chord_s_body_runs(bench: Bench) -> None:
    sketch = chord(2)
    sketch.task(on_error(3))
    bench.submit(sketch)
    worker = bench.worker()
    bench.fail(worker, sketch.id, 0)
    assert worker.indexes() == [1, 4]


def test_a_group_as_a_body_gets_the_failure_itself(bench: Bench) -> None:
    sketch = Sketch()
    sketch.group(2)
    join = sketch.join((0, 2))
    body = sketch.task(value(join, FailureMode.BODY))
    sketch.task(on_error(body))
    bench.submit(sketch)
    worker = bench.worker()
    bench.fail(worker, sketch.id, 0)
    assert bench.failure(sketch.id, body).type_name == "ValueError"
    assert worker.indexes() == [1, 4]


def test_what_hangs_on_an_ignored_one_is_ignored_and_a_chord_fails(bench: Bench) -> None:
    sketch = Sketch()
    top = sketch.task()
    sketch.task(value(top))
    join = sketch.join((top, 1))
    sketch.task(value(join, FailureMode.CHORD))
    bench.submit(sketch)
    bench.end(bench.worker(), sketch.id, top, "ignored")
    assert states(bench, sketch) == [S.IGNORED, S.IGNORED, S.FAILURE, S.FAILURE]


def test_a_long_chain_fails_without_a_stack(bench: Bench) -> None:
    bench.check = False
    sketch = chain(2_000)
    bench.submit(sketch)
    bench.fail(bench.worker(), sketch.id, 0)
    assert bench.ended == [sketch.id]


def test_a_large_chord_in_pieces_counts_right_over_a_restart(bench: Bench) -> None:
    bench.check = False
    sketch = Sketch()
    for _ in range(6):
        sketch.group(200)
    join = sketch.join((0, 1200))
    sketch.task(value(join, FailureMode.CHORD))
    bench.submit(sketch, runs_each=2)
    worker = bench.worker(capacity=700)
    bench.values_of(worker)
    bench.restart()
    bench.arrive(worker)
    while worker.held:
        bench.values_of(worker)
    assert bench.ended == [sketch.id]
    assert len(worker.given) == 1201


def test_a_failure_is_kept_once_however_many_nodes_it_is_handed_on_to(bench: Bench) -> None:
    graph = bench.submit(chain(50))
    bench.fail(bench.worker(), graph, 0, Failure("ValueError", "boom", raw=b"x" * 10_000))
    kept = [bench.records.outcome(graph, index) for index in range(50)]
    failures = [outcome.failure for outcome in kept if outcome is not None and outcome.failure is not None]
    assert [len(failure.raw) for failure in failures] == [10_000] + [0] * 49
    assert {failure.kept_by for failure in failures[1:]} == {1}
