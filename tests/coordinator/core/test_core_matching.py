"""Revoke by what is called, purge, and pause: over restarts, and no further than was asked for."""

from tests.coordinator.support.bench import Bench, Puppet
from tests.coordinator.support.graphs import Sketch, chain, chord, one

from grpcflow_coordinator.core.effects import Answer, StopAttempt
from grpcflow_coordinator.core.events import MatchRevokeAsked, PauseAsked, PurgeAsked, Tick
from grpcflow_coordinator.core.lines import WINDOW
from grpcflow_coordinator.core.model import NodeState, Template

REVOKED = NodeState.REVOKED


def ask(bench: Bench, event: MatchRevokeAsked | PurgeAsked | PauseAsked) -> Answer:
    bench.step(event)
    [answer] = bench.take(Answer)
    assert answer.code == ""
    return answer


def many(count: int, template: Template) -> Sketch:
    sketch = Sketch(template)
    sketch.group(count)
    return sketch


def test_what_matches_is_revoked_wherever_it_is_and_nothing_else(bench: Bench) -> None:
    waits, other = chain(3, Template("app.send", "default")), chain(2, Template("app.read", "default"))
    late = one(Template("app.send", "default", countdown_ms=60_000))
    elsewhere = one(Template("app.send", "slow"))
    for sketch in (waits, other, late, elsewhere):
        bench.submit(sketch)
    worker = bench.worker(tasks=frozenset({"app.send"}), capacity=1)
    assert worker.given == [(waits.id, 0)]
    assert ask(bench, MatchRevokeAsked(None, "app.se*", "default", False, "SIGTERM")).count == 3
    assert [bench.state(waits.id, index) for index in range(3)] == [None, REVOKED, NodeState.FAILURE]
    assert bench.state(late.id, 0) is REVOKED
    assert bench.state(other.id, 0) is None
    assert bench.state(elsewhere.id, 0) is None
    assert not bench.take_stop().terminate
    bench.end(worker, waits.id, 0, "revoked")
    assert bench.state(waits.id, 0) is REVOKED


def test_with_terminate_what_runs_is_stopped(bench: Bench) -> None:
    sketch = one()
    bench.submit(sketch)
    bench.worker()
    assert ask(bench, MatchRevokeAsked(None, "", "default", True, "SIGKILL")).count == 1
    stop = bench.take_stop()
    assert (stop.terminate, stop.signal) == (True, "SIGKILL")


def test_a_long_match_goes_on_over_restarts(bench: Bench) -> None:
    bench.check = False  # of so many nodes after every step
    sketches = [many(300, Template("t", "default")) for _ in range(3)]
    for sketch in sketches:
        bench.submit(sketch)
    bench._conclude(bench.machine.step(MatchRevokeAsked(None, "t", "", False, "SIGTERM"), bench.records, bench.now))
    for _ in range(2):
        bench._conclude(bench.machine.step(Tick(), bench.records, bench.now))
        bench.store = bench.store.reopened()
        bench._boot()
    bench.tick()
    [answer] = bench.take(Answer)
    assert answer.count == 900
    assert {bench.state(sketch.id, index) for sketch in sketches for index in range(300)} == {REVOKED}


def test_a_purge_takes_what_stands_in_the_queue_and_nothing_else(bench: Bench) -> None:
    mails = [many(5, Template(f"mail{number}", "mail", priority=number)) for number in range(3)]
    behind = chain(2, Template("mail0", "mail"))
    late = one(Template("mail0", "mail", countdown_ms=60_000))
    other = one()
    for sketch in (*mails, behind, late, other):
        bench.submit(sketch)
    worker = bench.worker(queues=("mail",), tasks=frozenset({"mail2"}), capacity=2)
    assert len(worker.given) == 2
    assert ask(bench, PurgeAsked(None, "mail")).count == 5 + 5 + 3 + 1
    assert bench.state(late.id, 0) is None
    assert bench.state(other.id, 0) is None
    assert bench.state(behind.id, 1) is NodeState.FAILURE
    assert not bench.take(StopAttempt)
    bench.values_of(worker)
    assert [bench.state(mails[2].id, index) for index in range(5)].count(NodeState.SUCCESS) == 2
    assert ask(bench, PurgeAsked(None, "mail")).count == 0
    assert ask(bench, PurgeAsked(None, "nobody's")).count == 0


def test_a_long_purge_goes_on_over_restarts_and_spares_what_comes_later(bench: Bench) -> None:
    bench.check = False  # of so many nodes after every step
    early = [one(Template("t", "mail")) for _ in range(500)]
    for sketch in early:
        bench.submit(sketch)
    bench._conclude(bench.machine.step(PurgeAsked(None, "mail"), bench.records, bench.now))
    bench._conclude(bench.machine.step(Tick(), bench.records, bench.now))
    bench.store = bench.store.reopened()
    bench._boot()
    late = one(Template("t", "mail"))
    bench.submit(late)
    bench.tick()
    [answer] = bench.take(Answer)
    assert answer.count == 500
    worker = bench.worker(queues=("mail",))
    assert worker.given == [(late.id, 0)]


def test_a_purge_takes_retries_that_stand_in_the_queue_once(bench: Bench) -> None:
    sketch = many(3, Template("t", "default"))
    bench.submit(sketch)
    worker = bench.worker(capacity=1)
    bench.end(worker, sketch.id, 0, "requeued")
    assert ask(bench, PurgeAsked(None, "default")).count == 2
    bench.values_of(worker)
    states = [bench.state(sketch.id, index) for index in range(3)]
    assert sorted(states, key=str) == sorted([REVOKED, REVOKED, NodeState.SUCCESS], key=str)


def test_nothing_of_a_paused_queue_is_handed_out_until_it_is_resumed_over_a_restart(bench: Bench) -> None:
    first, other = bench.submit(one(Template("t", "mail"))), bench.submit(one())
    ask(bench, PauseAsked(None, "mail", True))
    worker: Puppet = bench.worker(queues=("mail", "default"))
    assert worker.given == [(other, 0)]
    bench.restart()
    bench.arrive(worker)
    second = bench.submit(one(Template("t", "mail")))
    assert worker.given == [(other, 0)]
    ask(bench, PauseAsked(None, "mail", False))
    assert worker.given == [(other, 0), (first, 0), (second, 0)]
    ask(bench, PauseAsked(None, "mail", False))
    bench.restart()
    assert not bench.machine.cluster.paused


def test_what_runs_of_a_paused_queue_goes_on(bench: Bench) -> None:
    sketch = chain(2, Template("t", "mail"))
    bench.submit(sketch)
    worker = bench.worker(queues=("mail",))
    ask(bench, PauseAsked(None, "mail", True))
    bench.finish(worker, sketch.id, 0)
    assert bench.state(sketch.id, 0) is NodeState.SUCCESS
    assert not worker.held


def test_what_was_purged_is_counted_no_more_also_after_a_restart(bench: Bench) -> None:
    bench.check = False
    for _ in range(3 * WINDOW):
        bench.submit(one())
    bench.submit(chord(40))
    bench.check = True
    worker = bench.worker(capacity=2, concurrency=2)
    bench.step(PurgeAsked(None, "default"))
    assert bench.take(Answer)
    [line] = bench.machine.cluster.lines.by_key.values()
    assert line.queued == 0
    assert not bench.machine.cluster.lines.gone
    bench.restart()
    assert sum(line.queued for line in bench.machine.cluster.lines.by_key.values()) == 2
    bench.arrive(worker)
    bench.values_of(worker)
    assert not bench.machine.cluster.lines.ready
