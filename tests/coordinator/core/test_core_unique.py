"""Unique calls: of those with one key one runs, and the others settle as it does."""

from dataclasses import replace

import pytest
from tests.coordinator.support.bench import Bench, Puppet
from tests.coordinator.support.graphs import PLAIN, Sketch, value

from grpcflow_coordinator.core import unique
from grpcflow_coordinator.core.effects import Answer
from grpcflow_coordinator.core.events import CancelAsked, RetryAsked, WorkerSpoke
from grpcflow_coordinator.core.model import NodeState, Template

LASTING = replace(PLAIN, unique_for_ms=60_000, unique_stays=True)
SHORT = replace(PLAIN, unique_for_ms=60_000)


def submit(bench: Bench, key: str = "k", template: Template = SHORT) -> bytes:
    sketch = Sketch(template)
    sketch.keyed(unique=key)
    return bench.submit(sketch)


def states(bench: Bench, *graphs: bytes) -> list[NodeState | None]:
    return [bench.state(graph, 0) for graph in graphs]


def nothing_is_left(bench: Bench) -> bool:
    return not bench.records.held("k") and not bench.records.followed()


def test_a_second_call_with_the_key_does_not_run_and_has_the_value_of_the_first(bench: Bench) -> None:
    first, second, other = submit(bench), submit(bench), submit(bench, "other")
    worker = bench.worker()
    assert worker.given == [(first, 0), (other, 0)]
    bench.finish(worker, first, 0, b"42")
    outcome = bench.records.outcome(second, 0)
    assert outcome is not None
    assert (outcome.state, outcome.data) == (NodeState.SUCCESS, b"42")
    assert nothing_is_left(bench)


def test_it_follows_a_failure_too_with_all_that_is_kept_of_it(bench: Bench) -> None:
    first, second = submit(bench), submit(bench)
    worker = bench.worker()
    bench.fail(worker, first, 0)
    failure = bench.failure(second, 0)
    assert (failure.type_name, failure.message) == ("ValueError", "boom")
    assert bench.records.newest_failed(b"", 10) == [first + bytes(4)]


def test_the_key_is_free_when_its_call_has_settled(bench: Bench) -> None:
    worker = bench.worker()
    first = submit(bench)
    bench.finish(worker, first, 0)
    second = submit(bench)
    assert worker.given == [(first, 0), (second, 0)]


def test_a_key_that_stays_is_held_for_its_time_and_answers_at_once(bench: Bench) -> None:
    worker = bench.worker()
    first = submit(bench, template=LASTING)
    bench.finish(worker, first, 0, b"1")
    second = submit(bench, template=LASTING)
    assert states(bench, second) == [NodeState.SUCCESS]
    bench.speak(worker, goodbye=True)
    bench.pass_time(61)
    third = submit(bench, template=LASTING)
    assert states(bench, third) == [None]
    assert len(bench.worker().given) == 1


def test_where_the_first_is_revoked_the_next_one_runs_and_the_others_follow_that(bench: Bench) -> None:
    first, second, third = submit(bench), submit(bench), submit(bench)
    assert bench.revoke(first, 0) == 1
    worker = bench.worker()
    assert worker.given == [(second, 0)]
    bench.values_of(worker)
    assert states(bench, first, second, third) == [NodeState.REVOKED, NodeState.SUCCESS, NodeState.SUCCESS]
    assert nothing_is_left(bench)


def test_one_that_follows_can_be_revoked_cancelled_or_expire_and_the_first_runs_on(bench: Bench) -> None:
    first, second, third = submit(bench), submit(bench), submit(bench)
    fourth = submit(bench, template=replace(SHORT, expires_in_ms=1000))
    worker = bench.worker()
    bench.revoke(second, 0)
    bench.step(CancelAsked(None, third, False, ""))
    assert bench.take(Answer)
    bench.pass_time(2)
    bench.finish(worker, first, 0)
    assert states(bench, second, third, fourth) == [NodeState.REVOKED] * 3
    assert not bench.machine.cluster.lines.gone
    assert nothing_is_left(bench)


def test_the_time_of_a_key_ends_while_its_call_runs_and_the_next_one_starts(bench: Bench) -> None:
    worker = bench.worker()
    submit(bench)
    second = submit(bench)
    for _ in range(7):
        bench.pass_time(10)
        bench.speak(worker)
    assert [graph for graph, _ in worker.given][1:] == [second]


def test_it_holds_over_restarts(bench: Bench) -> None:
    first, second = submit(bench), submit(bench)
    bench.restart()
    third = submit(bench)
    worker = bench.worker()
    assert worker.given == [(first, 0)]
    bench.restart()
    bench.arrive(worker)
    bench.values_of(worker)
    assert states(bench, first, second, third) == [NodeState.SUCCESS] * 3


def test_a_retry_and_a_lost_worker_keep_the_key(bench: Bench) -> None:
    first, second = submit(bench), submit(bench)
    lost = bench.worker("lost@h")
    bench.gone(lost)
    worker = bench.worker()
    bench.end(worker, first, 0, "requeued")
    assert worker.given == [(first, 0)] * 2
    bench.values_of(worker)
    assert states(bench, second) == [NodeState.SUCCESS]


def test_steps_of_one_graph_can_share_a_key(bench: Bench) -> None:
    sketch = Sketch(SHORT)
    first = sketch.keyed(unique="k")
    second = sketch.task(value(first))
    sketch.runs[-1][0].unique_key = "k"
    graph = bench.submit(sketch)
    worker = bench.worker()
    bench.finish(worker, graph, first)
    bench.finish(worker, graph, second)
    assert nothing_is_left(bench)


def test_a_follower_in_a_chain_hands_the_value_on(bench: Bench) -> None:
    holder = submit(bench)
    sketch = Sketch(SHORT)
    first = sketch.keyed(unique="k")
    second = sketch.task(value(first))
    graph = bench.submit(sketch)
    worker = bench.worker()
    bench.finish(worker, holder, 0, b"7")
    assert bench.values[graph, first] == b"7"
    assert worker.indexes() == [second]


def test_of_a_retried_graph_the_key_is_taken_anew(bench: Bench) -> None:
    worker = bench.worker()
    first = submit(bench)
    bench.fail(worker, first, 0)
    bench.settled.clear()
    bench.step(RetryAsked(None, first))
    assert bench.take(Answer)
    second = submit(bench)
    bench.finish(worker, first, 0, b"3")
    assert bench.values[second, 0] == b"3"


def test_thousands_of_followers_settle_in_short_steps_also_over_a_restart(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unique, "_BATCH", 10)
    first, *others = [submit(bench) for _ in range(60)]
    worker = bench.worker()
    bench._conclude(bench.machine.step(_value(worker), bench.records, bench.now))
    assert 0 < states(bench, *others).count(NodeState.SUCCESS) < len(others)
    bench.restart()
    assert states(bench, first, *others) == [NodeState.SUCCESS] * 60
    assert nothing_is_left(bench)
    bench.sent.clear()


def _value(worker: Puppet) -> WorkerSpoke:
    return WorkerSpoke(worker.stream, 2, tokens=list(worker.held), values=[b"1"])


def test_nothing_of_a_key_is_left_when_its_graph_is_pruned(bench: Bench) -> None:
    worker = bench.worker()
    lasting = submit(bench, template=replace(LASTING, unique_for_ms=0))
    bench.finish(worker, lasting, 0)
    bench.speak(worker, goodbye=True)
    bench.pass_time(86_401)
    assert bench.records.graph(lasting) is None
    assert nothing_is_left(bench)
