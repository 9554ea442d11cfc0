"""Sessions: names, returns, silence, grace, tokens that are not one's own."""

from tests.coordinator.support.bench import BOOM, Bench, Pipe, Puppet
from tests.coordinator.support.graphs import Sketch, graph_id, one

from grpcflow_coordinator.core.cluster import Limits
from grpcflow_coordinator.core.effects import CloseStream, Probe
from grpcflow_coordinator.core.events import Ended, Raised, StreamBroke
from grpcflow_coordinator.core.model import NodeState


def group(bench: Bench, count: int) -> bytes:
    sketch = Sketch()
    sketch.group(count)
    return bench.submit(sketch)


def test_a_worker_that_comes_back_keeps_what_it_names_and_the_rest_is_handed_out_at_once(bench: Bench) -> None:
    graph = group(bench, 4)
    worker = bench.worker(capacity=4)
    other = bench.worker("other@host")
    bench.break_stream(worker)
    assert not other.given
    bench.arrive(worker, held=[worker.token(graph, 1), worker.token(graph, 2)])
    assert worker.welcome is not None
    assert worker.welcome.resumed
    assert sorted(worker.indexes() + other.indexes()) == [0, 1, 2, 3]
    assert {1, 2} <= set(worker.indexes())
    assert worker.given.count((graph, 1)) == 1


def test_grace_over_means_lost(bench: Bench) -> None:
    group(bench, 2)
    worker = bench.worker()
    bench.break_stream(worker)
    other = bench.worker("other@host")
    bench.pass_time(bench.limits.grace - 0.001)
    assert not other.given
    bench.pass_time(0.001)
    assert other.indexes() == [0, 1]
    bench.arrive(worker)
    assert worker.welcome is not None
    assert not worker.welcome.resumed
    assert len(worker.welcome.superseded) == 2


def test_silence_breaks_a_stream_and_any_word_keeps_it(bench: Bench) -> None:
    worker = bench.worker()
    for _ in range(3):
        bench.pass_time(14.0)
        bench.speak(worker)
    bench.pass_time(15.0)
    assert bench.take_close(worker) == "SILENT"


def test_a_sign_of_life_takes_no_step_and_keeps_a_stream(bench: Bench) -> None:
    worker = bench.worker()
    for _ in range(3):
        bench.pass_time(14.0)
        assert bench.machine.hear(worker.stream, bench.now)
    bench.pass_time(15.0)
    assert bench.take_close(worker) == "SILENT"
    assert not bench.machine.hear(worker.stream, bench.now), "its stream is no longer its own"


def test_a_sign_of_life_takes_a_step_where_somebody_waits_for_it(bench: Bench) -> None:
    holder = bench.worker()
    newcomer = bench.arrive(Puppet())
    bench.take(Probe)
    assert not bench.machine.hear(holder.stream, bench.now)
    bench.speak(holder)
    assert bench.take_close(newcomer) == "NAME_TAKEN"
    assert bench.machine.hear(holder.stream, bench.now)


def test_one_that_came_back_and_is_silent_again_is_not_given_the_grace_of_before() -> None:
    bench = Bench(Limits(silence=1.0, grace=30.0))
    worker = bench.worker()
    bench.pass_time(1.0)
    assert bench.take_close(worker) == "SILENT"
    bench.arrive(worker)
    bench.pass_time(1.0)
    assert bench.take_close(worker) == "SILENT"


def test_a_newer_stream_of_the_same_session_replaces_the_old_one_at_once(bench: Bench) -> None:
    graph = group(bench, 2)
    worker = bench.worker()
    old = worker.stream
    bench.arrive(worker)
    [closed] = bench.take(CloseStream)
    assert (closed.stream, closed.code) == (old, "REPLACED")
    bench.step(StreamBroke(old))
    bench.finish(worker, graph, 0)
    bench.finish(worker, graph, 1)


def test_a_newcomer_with_the_name_of_a_broken_one_ends_its_grace(bench: Bench) -> None:
    group(bench, 2)
    bench.break_stream(bench.worker())
    successor = bench.worker()
    assert successor.indexes() == [0, 1]


def test_a_live_holder_keeps_its_name_when_it_answers(bench: Bench) -> None:
    holder = bench.worker()
    newcomer = bench.arrive(Puppet())
    assert newcomer.welcome is None
    [probe] = bench.take(Probe)
    assert probe.stream is holder.stream
    bench.speak(holder)
    assert bench.take_close(newcomer) == "NAME_TAKEN"


def test_a_silent_holder_loses_its_name_and_its_attempts(bench: Bench) -> None:
    group(bench, 2)
    holder = bench.worker()
    newcomer = bench.arrive(Puppet())
    bench.take(Probe)
    bench.pass_time(bench.limits.probe)
    assert bench.take_close(holder) == "SILENT"
    assert newcomer.welcome is not None
    assert newcomer.indexes() == [0, 1]


def test_a_holder_that_opens_another_stream_has_answered(bench: Bench) -> None:
    holder = bench.worker()
    newcomer = bench.arrive(Puppet())
    bench.take(Probe)
    bench.break_stream_silently(holder)
    bench.arrive(holder)
    codes = {closed.stream.worker: closed.code for closed in bench.take(CloseStream) if isinstance(closed.stream, Pipe)}
    assert codes == {holder: "REPLACED", newcomer: "NAME_TAKEN"}
    bench.pass_time(bench.limits.probe)
    assert holder.stream is not None


def test_a_newcomer_that_tries_again_while_it_waits_goes_on_waiting(bench: Bench) -> None:
    holder = bench.worker()
    newcomer = bench.arrive(Puppet())
    bench.take(Probe)
    bench.arrive(newcomer)
    [closed] = bench.take(CloseStream)
    assert closed.code == "REPLACED"
    third = bench.arrive(Puppet())
    assert bench.take_close(third) == "NAME_TAKEN"
    bench.break_stream(holder)
    assert newcomer.welcome is not None


def test_a_newcomer_that_leaves_while_it_waits_is_forgotten(bench: Bench) -> None:
    holder = bench.worker()
    newcomer = bench.arrive(Puppet())
    bench.take(Probe)
    bench.break_stream(newcomer)
    bench.pass_time(bench.limits.probe)
    assert holder.stream is not None
    assert not bench.sent


def test_a_draining_worker_gives_its_name_up_and_finishes_what_it_has(bench: Bench) -> None:
    graph = group(bench, 2)
    old = bench.worker(capacity=1)
    bench.speak(old, drain=True)
    successor = bench.worker()
    assert successor.indexes() == [1]
    bench.finish(old, graph, 0)
    bench.speak(old, goodbye=True)
    bench.finish(successor, graph, 1)
    assert bench.ended == [graph]
    third = bench.arrive(Puppet())
    bench.take(Probe)  # the name is the successor's
    bench.speak(successor)
    assert bench.take_close(third) == "NAME_TAKEN"


def test_the_name_stays_the_successor_s_over_a_restart(bench: Bench) -> None:
    old = bench.worker(capacity=1)
    bench.speak(old, drain=True)
    successor = bench.worker()
    bench.restart()
    bench.arrive(successor)
    bench.arrive(old, draining=True)
    bench.arrive(Puppet())
    [probe] = bench.take(Probe)
    assert probe.stream is successor.stream


def test_after_a_restart_a_newcomer_ends_nobody_s_grace_since_who_has_its_name_may_be_leaving(bench: Bench) -> None:
    graph = group(bench, 1)
    old = bench.worker(capacity=1)
    bench.restart()
    successor = bench.worker()
    bench.arrive(old, draining=True)
    bench.finish(old, graph, 0)
    assert bench.ended == [graph]
    assert not successor.given
    bench.arrive(Puppet())
    [probe] = bench.take(Probe)
    assert probe.stream is successor.stream


def test_a_draining_worker_gets_nothing_new(bench: Bench) -> None:
    worker = bench.worker()
    bench.speak(worker, drain=True)
    group(bench, 2)
    assert not worker.given


def test_goodbye_gives_back_uncounted_what_is_left(bench: Bench) -> None:
    graph = group(bench, 2)
    worker = bench.worker()
    bench.speak(worker, goodbye=True)
    other = bench.worker("other@host")
    assert other.indexes() == [0, 1]
    assert bench.records.progress(graph, 0) is None
    assert [facts.name for facts in bench.records.sessions()] == ["other@host"]


def test_a_report_for_another_s_attempt_costs_the_session(bench: Bench) -> None:
    graph = group(bench, 1)
    owner = bench.worker()
    thief = bench.worker("thief@host")
    bench.report(thief, Raised(owner.token(graph, 0), BOOM))
    assert bench.take_close(thief) == "NOT_YOURS"
    bench.finish(owner, graph, 0)
    assert bench.state(graph, 0) is NodeState.SUCCESS


def test_values_for_another_s_attempt_cost_it_too(bench: Bench) -> None:
    graph = group(bench, 1)
    owner = bench.worker()
    thief = bench.worker("thief@host")
    bench.speak(thief, tokens=[owner.token(graph, 0)], values=[b"0"])
    assert bench.take_close(thief) == "NOT_YOURS"
    bench.finish(owner, graph, 0)


def test_a_token_nobody_has_is_superseded(bench: Bench) -> None:
    worker = bench.worker()
    acknowledged = bench.speak(worker, tokens=[12345], values=[b"0"])
    assert acknowledged is not None
    assert acknowledged.superseded == (12345,)


def test_a_stale_report_changes_nothing(bench: Bench) -> None:
    graph = group(bench, 1)
    first = bench.worker("one@host")
    token = first.token(graph, 0)
    bench.gone(first)
    second = bench.worker("two@host")
    bench.arrive(first)
    acknowledged = bench.speak(first, tokens=[token], values=[b'"old"'])
    assert acknowledged is not None
    assert acknowledged.superseded == (token,)
    bench.finish(second, graph, 0, b'"new"')
    assert bench.values[graph, 0] == b'"new"'


def test_a_report_whose_acknowledgement_was_lost_is_acknowledged_again(bench: Bench) -> None:
    graph = group(bench, 1)
    worker = bench.worker()
    token = worker.token(graph, 0)
    bench.delivers = False
    bench.values_of(worker, token)
    bench.restart()
    worker.held = {token: (graph, 0)}
    bench.arrive(worker)
    assert worker.welcome is not None
    assert worker.welcome.superseded == ()
    acknowledged = bench.values_of(worker, token)
    assert acknowledged is not None
    assert acknowledged.superseded == ()


def test_running_work_goes_on_through_a_restart_and_new_work_leaves_at_once(bench: Bench) -> None:
    graph = group(bench, 3)
    worker = bench.worker(capacity=3)
    bench.restart()
    assert bench.machine.cluster.epoch == 2
    fresh = bench.worker("fresh@host")
    late = bench.submit(one())
    assert fresh.given == [(late, 0)]  # what is below the mark may be running
    bench.arrive(worker)
    assert not worker.given.count((graph, 0)) > 1
    bench.values_of(worker)
    assert bench.state(graph, 2) is NodeState.SUCCESS


def test_after_a_restart_the_attempts_of_those_that_do_not_return_are_handed_out_when_their_grace_is_over(
    bench: Bench,
) -> None:
    graph = group(bench, 3)
    bench.worker()
    bench.restart()
    other = bench.worker("other@host")
    bench.pass_time(bench.limits.grace)
    assert other.given == [(graph, 0), (graph, 1), (graph, 2)]


def test_a_worker_may_not_claim_what_it_was_never_given(bench: Bench) -> None:
    sketch = Sketch()
    sketch.task()
    graph = bench.submit(sketch)
    worker = bench.worker(tasks=frozenset())
    bench.restart()
    forged = {1: (graph, 0), 2: (graph, 99), 3: (graph_id(), 0), (9 << 40) + 1: (graph, 0)}
    worker.held = forged
    bench.arrive(worker)
    assert worker.welcome is not None
    assert set(worker.welcome.superseded) == set(forged)


def test_a_session_keeps_its_name(bench: Bench) -> None:
    worker = bench.worker()
    imposter = Puppet("else@host", session=worker.session)
    bench.arrive(imposter)
    assert bench.take_close(imposter) == "MALFORMED"
    assert worker.stream is not None
    bench.speak(worker)


def test_returned_after_a_restart_is_handed_out_again(bench: Bench) -> None:
    graph = group(bench, 2)
    worker = bench.worker(capacity=2)
    bench.restart()
    bench.arrive(worker)
    for token in list(worker.held):
        bench.report(worker, Ended(token, "returned"))
    assert worker.indexes() == [0, 1]
    bench.values_of(worker)
    assert bench.ended == [graph]
