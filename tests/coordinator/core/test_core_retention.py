"""What is kept of the graphs that ended, how long and how many; and the list of what failed for good."""

from dataclasses import replace

from tests.coordinator.support.bench import Bench
from tests.coordinator.support.graphs import PLAIN, Sketch, chord, one

from grpcflow_coordinator.core.effects import Accepted, Answer
from grpcflow_coordinator.core.events import FailedPurgeAsked, RetentionAsked, RetryAsked
from grpcflow_coordinator.core.model import Keep, NodeState, Retention, Template, text_id

HOUR = 3_600_000
DAY = 24 * HOUR


def keep(bench: Bench, scope: str, name: str, retention: Retention | None) -> None:
    bench.step(RetentionAsked(None, scope, name, retention))  # type: ignore[arg-type]
    assert bench.take(Answer)


def ended(bench: Bench, count: int, template: Template = PLAIN, *, fails: bool = False) -> list[bytes]:
    """Run graphs of one call each to their ends, one after the other."""
    worker = bench.worker(f"w{len(bench.ended)}@h", queues=("default", "other"), tasks=frozenset({"t", "u"}))
    graphs = []
    for _ in range(count):
        graphs.append(bench.submit(one(template)))
        bench.wall_ms += 1
        if fails:
            bench.fail(worker, graphs[-1], 0)
        else:
            bench.finish(worker, graphs[-1], 0)
    bench.speak(worker, goodbye=True)
    return graphs


def kept(bench: Bench, graphs: list[bytes]) -> list[bool]:
    return [bench.records.graph(graph) is not None for graph in graphs]


def test_results_are_kept_for_the_coordinators_time_where_nothing_is_said(bench: Bench) -> None:
    graphs = ended(bench, 1)
    bench.pass_time(DAY / 1000 - 1)
    assert kept(bench, graphs) == [True]
    bench.pass_time(2)
    assert kept(bench, graphs) == [False]


def test_a_call_says_itself_how_long_it_is_kept_and_a_failure_may_be_kept_longer(bench: Bench) -> None:
    template = replace(PLAIN, result_expires_ms=HOUR, failure_expires_ms=3 * HOUR)
    graphs = ended(bench, 1, template) + ended(bench, 1, template, fails=True)
    bench.pass_time(3601)
    assert kept(bench, graphs) == [False, True]
    bench.pass_time(7200)
    assert kept(bench, graphs) == [False, False]


def test_what_is_set_for_a_queue_goes_before_the_calls_and_for_a_task_before_the_queues(bench: Bench) -> None:
    keep(bench, "queue", "default", Retention(results=Keep(2 * HOUR)))
    keep(bench, "task", "u", Retention(results=Keep(4 * HOUR)))
    mine = replace(PLAIN, result_expires_ms=HOUR)
    graphs = (
        ended(bench, 1, mine) + ended(bench, 1, replace(mine, task="u")) + ended(bench, 1, replace(mine, queue="other"))
    )
    for hours, wanted in ((1, [True, True, False]), (1, [False, True, False]), (2, [False, False, False])):
        bench.pass_time(hours * 3600 + 1)
        assert kept(bench, graphs) == wanted


def test_what_is_set_holds_over_a_restart_and_until_it_is_cleared(bench: Bench) -> None:
    keep(bench, "queue", "default", Retention(results=Keep(HOUR)))
    bench.restart()
    graphs = ended(bench, 1)
    keep(bench, "queue", "default", None)
    graphs += ended(bench, 1)
    bench.pass_time(3601)
    assert kept(bench, graphs) == [False, True]


def test_of_a_task_with_a_count_the_newest_are_kept(bench: Bench) -> None:
    keep(bench, "task", "t", Retention(results=Keep(count=3)))
    graphs = ended(bench, 5)
    assert kept(bench, graphs) == [False, False, True, True, True]
    bench.restart()
    graphs += ended(bench, 1)
    assert kept(bench, graphs) == [False, False, False, True, True, True]


def test_failures_have_a_count_of_their_own(bench: Bench) -> None:
    keep(bench, "queue", "default", Retention(results=Keep(count=1), failures=Keep(count=2)))
    failed = ended(bench, 3, fails=True)
    fine = ended(bench, 2)
    assert kept(bench, failed) == [False, True, True]
    assert kept(bench, fine) == [False, True]


def test_a_count_that_is_lowered_is_soon_met(bench: Bench) -> None:
    keep(bench, "task", "t", Retention(results=Keep(count=30)))
    graphs = ended(bench, 30)
    keep(bench, "task", "t", Retention(results=Keep(count=2)))
    graphs += ended(bench, 4)
    assert kept(bench, graphs) == [False] * 32 + [True] * 2


def test_a_graph_that_was_retried_counts_from_its_last_end(bench: Bench) -> None:
    keep(bench, "task", "t", Retention(results=Keep(count=2), failures=Keep(count=2)))
    [first, *_] = ended(bench, 2, fails=True)
    bench.wall_ms += 10
    bench.settled.clear()
    bench.step(RetryAsked(None, first))
    assert bench.take(Answer)
    worker = bench.worker("again@h")
    bench.fail(worker, first, 0)
    bench.speak(worker, goodbye=True)
    assert kept(bench, [first]) == [True]


def test_arguments_can_go_before_the_rest_and_then_nothing_of_it_can_be_retried(bench: Bench) -> None:
    keep(bench, "task", "t", Retention(arguments=Keep(HOUR)))
    sketch = chord(700)
    graph = bench.submit(sketch, runs_each=1)
    small = bench.submit(one())
    worker = bench.worker(capacity=1000)
    bench.fail(worker, small, 0)
    while worker.held:
        bench.values_of(worker)
    assert bench.state(graph, 701) is NodeState.SUCCESS
    bench.speak(worker, goodbye=True)
    bench.pass_time(3601)
    for stripped in (graph, small):
        run = bench.records.run_of(stripped, 0)
        assert run is not None
        assert bench.records.payloads(stripped, run) == []
        bench.step(RetryAsked(None, stripped))
        [answer] = bench.take(Answer)
        assert answer.code == "ARGUMENTS_GONE"
    assert bench.state(small, 0) is NodeState.FAILURE


def test_a_graph_belongs_to_the_task_of_the_value_of_the_whole(bench: Bench) -> None:
    keep(bench, "task", "u", Retention(results=Keep(HOUR)))
    sketch = Sketch(PLAIN, replace(PLAIN, task="u"))
    first = sketch.group(3, template=1)
    sketch.join((first, 3))
    chunks = sketch.chunks(None)
    graph = sketch.id
    bench.send_chunks([replace(chunks[0], outcome=3)])
    assert bench.take(Accepted)
    worker = bench.worker(tasks=frozenset({"t", "u"}))
    bench.values_of(worker)
    bench.speak(worker, goodbye=True)
    bench.pass_time(3601)
    assert bench.records.graph(graph) is None


# What failed for good


def test_what_failed_itself_is_on_the_list_and_what_failed_because_of_it_is_not(bench: Bench) -> None:
    sketch = chord(3)
    graph = bench.submit(sketch)
    worker = bench.worker()
    bench.fail(worker, graph, 1)
    bench.values_of(worker)
    assert bench.records.newest_failed(b"", 10) == [graph + b"\0\0\0\1"]


def test_what_was_lost_too_often_or_rejected_is_on_the_list(bench: Bench) -> None:
    lost, rejected = bench.submit(one()), bench.submit(one())
    worker = bench.worker()
    bench.end(worker, rejected, 0, "rejected")
    for _ in range(bench.limits.max_deliveries):
        bench.end(worker, lost, 0, "lost")
    assert bench.records.newest_failed(b"", 10) == [rejected + bytes(4), lost + bytes(4)]
    outcome, progress = bench.records.outcome(lost, 0), bench.records.progress(lost, 0)
    assert outcome is not None
    assert progress is not None
    assert (outcome.worker, progress.losses) == (worker.name, bench.limits.max_deliveries)


def test_what_is_retried_or_purged_leaves_the_list_and_what_is_pruned_too(bench: Bench) -> None:
    graphs = ended(bench, 3, fails=True)
    bench.step(RetryAsked(None, graphs[0]))
    bench.step(FailedPurgeAsked(None, (text_id(graphs[1], 0), text_id(graphs[1], 0), "nobody")))
    answers = bench.take(Answer)
    assert answers[-1].count == 1
    assert bench.records.newest_failed(b"", 10) == [graphs[2] + bytes(4)]
    assert bench.state(graphs[1], 0) is NodeState.FAILURE
    bench.pass_time(DAY / 1000 + 1)
    assert bench.records.newest_failed(b"", 10) == []
