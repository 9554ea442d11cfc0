"""Attached graphs: a task that is replaced, and members that are added to a running group."""

import itertools
from dataclasses import replace

from tests.coordinator.support.bench import BOOM, Bench, Puppet
from tests.coordinator.support.graphs import Sketch, chain, chord, on_error, one, value

from grpcflow_coordinator.core.effects import Accepted, Answer, CloseStream, Refused
from grpcflow_coordinator.core.events import ForgetAsked, Progressed, StampRevokeAsked, StateUpdateAsked
from grpcflow_coordinator.core.model import Attachment, AttachmentKind, FailureMode, NodeState, Template, node_id

REPLACE, MEMBER = AttachmentKind.REPLACE, AttachmentKind.MEMBER


def attach(bench: Bench, worker: Puppet, sketch: Sketch, graph: bytes, index: int, kind: AttachmentKind) -> None:
    """Submit a sketch whose last node ends a running node, or is one more member of its group."""
    attachment = Attachment(kind, node_id(graph, index), worker.token(graph, index), sketch.count - 1)
    first, *rest = sketch.chunks(None)
    bench.send_chunks([replace(first, attachment=attachment), *rest])
    assert [send.graph for send in bench.take(Accepted)] == [sketch.id]


def started(bench: Bench, sketch: Sketch) -> Puppet:
    bench.submit(sketch)
    return bench.worker()


def test_a_replaced_node_ends_as_its_replacement_and_what_waits_for_it_goes_on(bench: Bench) -> None:
    outer, inner = chain(2), chain(2)
    worker = started(bench, outer)
    attach(bench, worker, inner, outer.id, 0, REPLACE)
    bench.finish(worker, inner.id, 0)
    assert bench.state(outer.id, 0) is None
    bench.finish(worker, inner.id, 1, b"42")
    assert bench.state(outer.id, 0) is NodeState.SUCCESS
    outcome = bench.records.outcome(outer.id, 0)
    assert outcome is not None
    assert outcome.source == node_id(inner.id, 1)
    bench.finish(worker, outer.id, 1)
    assert set(bench.ended) == {outer.id, inner.id}


def test_the_report_of_a_replaced_attempt_comes_too_late(bench: Bench) -> None:
    outer, inner = one(), one()
    worker = started(bench, outer)
    token = worker.token(outer.id, 0)
    attach(bench, worker, inner, outer.id, 0, REPLACE)
    acknowledged = bench.values_of(worker, token)
    assert acknowledged is not None
    assert acknowledged.superseded == (token,)
    assert bench.state(outer.id, 0) is None


def test_a_replacement_that_fails_fails_the_node_and_its_errback_fires_once(bench: Bench) -> None:
    outer = Sketch()
    first = outer.task()
    outer.task(value(first))
    errback = outer.task(on_error(first))
    inner = chain(2)
    worker = started(bench, outer)
    attach(bench, worker, inner, outer.id, 0, REPLACE)
    bench.fail(worker, inner.id, 0)
    assert bench.state(outer.id, 0) is NodeState.FAILURE
    assert bench.failure(outer.id, 1).type_name == BOOM.type_name
    bench.finish(worker, outer.id, errback)
    assert set(bench.ended) == {outer.id, inner.id}


def test_replacements_of_replacements_over_a_restart(bench: Bench) -> None:
    graphs = [one() for _ in range(4)]
    worker = started(bench, graphs[0])
    for outer, inner in itertools.pairwise(graphs):
        attach(bench, worker, inner, outer.id, 0, REPLACE)
    bench.restart()
    worker = bench.arrive(worker, held=None)
    bench.finish(worker, graphs[-1].id, 0)
    assert all(bench.state(sketch.id, 0) is NodeState.SUCCESS for sketch in graphs)
    outcome = bench.records.outcome(graphs[0].id, 0)
    assert outcome is not None
    assert outcome.source == node_id(graphs[-1].id, 0)


def test_a_graph_for_an_attempt_that_is_gone_is_refused_and_sent_again_it_is_the_same(bench: Bench) -> None:
    outer, inner, late = one(), one(), one()
    worker = started(bench, outer)
    token = worker.token(outer.id, 0)
    attach(bench, worker, inner, outer.id, 0, REPLACE)
    attachment = Attachment(REPLACE, node_id(outer.id, 0), token, 0)
    [piece] = inner.chunks(None)
    bench.step(replace(piece, attachment=attachment))  # the answer was lost: accepted again
    assert [send.graph for send in bench.take(Accepted)] == [inner.id]
    [piece] = late.chunks(None)
    bench.step(replace(piece, attachment=attachment))
    assert [send.code for send in bench.take(Refused)] == ["STALE_ATTEMPT"]
    assert bench.records.graph(late.id) is None


def test_revoking_a_replaced_node_revokes_what_runs_in_its_place(bench: Bench) -> None:
    outer, inner = chain(2), chain(3)
    worker = started(bench, outer)
    attach(bench, worker, inner, outer.id, 0, REPLACE)
    assert bench.revoke(outer.id, 0) == 1
    assert bench.state(inner.id, 2) is NodeState.REVOKED
    assert bench.state(outer.id, 0) is NodeState.REVOKED
    bench.finish(worker, inner.id, 0)
    bench.finish(worker, inner.id, 1)


def test_an_added_member_is_waited_for_and_one_that_fails_fails_the_chord(bench: Bench) -> None:
    for fails in (False, True):
        outer, inner = chord(2), one()
        worker = started(bench, outer)
        attach(bench, worker, inner, outer.id, 1, MEMBER)
        bench.finish(worker, outer.id, 0)
        bench.finish(worker, outer.id, 1)
        assert bench.state(outer.id, 2) is None
        if fails:
            bench.fail(worker, inner.id, 0)
            assert bench.failure(outer.id, 3).type_name == "ChordError"
        else:
            bench.finish(worker, inner.id, 0)
            assert bench.state(outer.id, 2) is NodeState.SUCCESS
            bench.finish(worker, outer.id, 3)
        bench.gone(worker)


def test_a_task_that_is_lost_after_it_added_adds_again_when_it_runs_again(bench: Bench) -> None:
    outer, once, again = chord(2), one(), one()
    worker = started(bench, outer)
    attach(bench, worker, once, outer.id, 0, MEMBER)
    bench.gone(worker)
    worker = bench.worker("second@host")
    attach(bench, worker, again, outer.id, 0, MEMBER)
    for graph, index in ((outer.id, 0), (outer.id, 1), (once.id, 0)):
        bench.finish(worker, graph, index)
    assert bench.state(outer.id, 2) is None
    bench.finish(worker, again.id, 0)
    assert bench.state(outer.id, 2) is NodeState.SUCCESS


def test_a_member_added_by_a_replacement_of_a_member(bench: Bench) -> None:
    outer, inner, added = chord(2), one(), one()
    worker = started(bench, outer)
    attach(bench, worker, inner, outer.id, 1, REPLACE)
    attach(bench, worker, added, inner.id, 0, MEMBER)
    bench.finish(worker, outer.id, 0)
    bench.finish(worker, inner.id, 0)
    assert bench.state(outer.id, 2) is None
    bench.restart()
    worker = bench.arrive(worker, held=None)
    bench.finish(worker, added.id, 0)
    assert bench.state(outer.id, 2) is NodeState.SUCCESS
    bench.finish(worker, outer.id, 3)


def test_a_task_outside_of_a_group_adds_no_member(bench: Bench) -> None:
    outer, inner = one(), one()
    worker = started(bench, outer)
    [piece] = inner.chunks(None)
    attachment = Attachment(MEMBER, node_id(outer.id, 0), worker.token(outer.id, 0), 0)
    bench.step(replace(piece, attachment=attachment))
    assert [send.code for send in bench.take(Refused)] == ["NO_GROUP"]


def test_a_replacement_is_kept_for_as_long_as_the_graph_that_reads_it(bench: Bench) -> None:
    outer, inner = chain(2), one()
    worker = started(bench, outer)
    attach(bench, worker, inner, outer.id, 0, REPLACE)
    bench.finish(worker, inner.id, 0)
    bench.gone(worker)
    bench.pass_time(100_000)
    bench.take(CloseStream)
    assert bench.records.graph(inner.id) is not None
    worker = bench.worker("second@host")
    bench.finish(worker, outer.id, 1)
    bench.pass_time(100_000)
    bench.pass_time(100_000)
    bench.take(CloseStream)
    assert bench.records.graph(outer.id) is None
    assert bench.records.graph(inner.id) is None


def test_stamps_revoke_wherever_they_are_and_over_a_restart(bench: Bench) -> None:
    stamped = Template("t", "default", stamps=(("customer", ("7", "8")),))
    first, second, other = chain(2, stamped), one(stamped), one()
    for sketch in (first, second, other):
        bench.submit(sketch)
    bench.step(StampRevokeAsked(None, (("customer", "8"),), False, "SIGTERM"))
    bench.restart()
    bench.tick()
    assert bench.state(first.id, 0) is NodeState.REVOKED
    assert bench.state(second.id, 0) is NodeState.REVOKED
    assert bench.state(other.id, 0) is None
    [done] = bench.take(Answer)
    assert done.count == 2  # the second step of the chain went with the first


def test_a_state_of_its_own_holds_until_the_attempt_ends(bench: Bench) -> None:
    sketch = one()
    worker = started(bench, sketch)
    bench.report(worker, Progressed(worker.token(sketch.id, 0), "HALFWAY", b"[1]", ""))
    progress = bench.records.progress(sketch.id, 0)
    assert progress is not None
    assert (progress.custom_state, progress.meta) == ("HALFWAY", b"[1]")
    bench.break_stream(worker)
    bench.pass_time(60)
    progress = bench.records.progress(sketch.id, 0)
    assert progress is not None
    assert not progress.custom_state


def test_a_state_from_outside_and_the_answers_to_it(bench: Bench) -> None:
    sketch = one(own_id="mine")
    bench.submit(sketch)
    bench.step(StateUpdateAsked(None, "mine", "ABORTED", b"", ""))
    bench.step(StateUpdateAsked(None, "nobody", "ABORTED", b"", ""))
    worker = bench.worker()
    bench.finish(worker, sketch.id, 0)
    bench.step(StateUpdateAsked(None, "mine", "ABORTED", b"", ""))
    assert [answer.code for answer in bench.take(Answer)] == ["", "UNKNOWN_NODE", "SETTLED"]


def test_what_is_forgotten_is_gone(bench: Bench) -> None:
    sketch = one(own_id="mine")
    worker = started(bench, sketch)
    bench.finish(worker, sketch.id, 0)
    bench.step(ForgetAsked(None, ("mine", "nobody")))
    bench.tick()
    [answer] = bench.take(Answer)
    assert (answer.count, answer.unknown) == (1, ("nobody",))
    assert bench.records.graph(sketch.id) is None


def test_a_failure_behind_a_chord_keeps_its_cause_across_graphs(bench: Bench) -> None:
    outer, inner = Sketch(), chord(2)
    outer.task()
    outer.task(value(0, FailureMode.PASS))
    worker = started(bench, outer)
    attach(bench, worker, inner, outer.id, 0, REPLACE)
    bench.fail(worker, inner.id, 1, replace(BOOM, raw=b"traceback"))
    failure = bench.failure(outer.id, 1)
    assert failure.type_name == "ChordError"
    assert failure.cause is not None
    assert failure.cause.kept_in == inner.id
    bench.finish(worker, inner.id, 0)


def test_a_replacement_that_comes_before_its_worker_is_back_waits_for_it(bench: Bench) -> None:
    outer, inner = one(), one()
    worker = started(bench, outer)
    token = worker.token(outer.id, 0)
    bench.restart()
    [piece] = inner.chunks(None)
    bench.step(replace(piece, attachment=Attachment(REPLACE, node_id(outer.id, 0), token, 0)))
    assert not bench.take(Accepted)
    bench.arrive(worker)
    assert [send.graph for send in bench.take(Accepted)] == [inner.id]
    bench.finish(worker, inner.id, 0)
    assert bench.state(outer.id, 0) is NodeState.SUCCESS


def test_a_replacement_whose_worker_does_not_come_back_is_refused(bench: Bench) -> None:
    outer, inner = one(), one()
    worker = started(bench, outer)
    token = worker.token(outer.id, 0)
    bench.restart()
    [piece] = inner.chunks(None)
    bench.step(replace(piece, attachment=Attachment(REPLACE, node_id(outer.id, 0), token, 0)))
    bench.pass_time(60)
    assert [send.code for send in bench.take(Refused)] == ["STALE_ATTEMPT"]
    assert bench.records.graph(inner.id) is None
