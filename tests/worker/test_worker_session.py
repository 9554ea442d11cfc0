"""The session machine: what it says, when it forgets, what survives a broken stream."""

import pytest
from tests.worker.worker_fakes import GRAPH, SECRET, assignment, make_session, welcome

from grpcflow_protos import limits
from grpcflow_protos.v1 import value_pb2
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_protos.wire_parts import LARGE, opened
from grpcflow_worker.executor import Ended
from grpcflow_worker.session import Phase, Session
from grpcflow_worker.wire import ProtocolError, read_response

NOW = 100.0


@pytest.fixture
def session() -> Session:
    """A session that was welcomed."""
    made = make_session()
    made.hello()
    made.received(welcome(), NOW)
    return made


def say(session: Session) -> pb.WorkRequest:
    message = session.next_message()
    assert message is not None
    return message


def acknowledge(session: Session, sequence: int, **fields: object) -> None:
    session.received(pb.WorkResponse(acknowledged=sequence, **fields), NOW)  # type: ignore[arg-type]


def reconnect(session: Session, **fields: object) -> pb.WorkerHello:
    session.disconnected()
    hello = session.hello().hello
    session.received(welcome(resumed=True, **fields), NOW)
    return hello


def held(hello: pb.WorkerHello) -> list[int]:
    return [each.token for each in hello.held]


def test_the_hello_says_who_it_is() -> None:
    first = make_session().hello()
    assert first.sequence == 1
    hello = first.hello
    assert (hello.name, hello.session, list(hello.queues), list(hello.tasks)) == ("w1", SECRET, ["default"], ["t.add"])
    assert (hello.revision, hello.capacity, hello.concurrency, hello.draining) == (limits.REVISION, 2, 2, False)
    assert not hello.held


def test_nothing_is_said_before_the_welcome() -> None:
    session = make_session()
    session.beat()
    assert session.next_message() is None
    session.hello()
    assert session.next_message() is None


def test_the_welcome_sets_the_times(session: Session) -> None:
    session.disconnected()
    session.hello()
    session.received(welcome(heartbeat_ms=700, silence_ms=2100, payload_limit=99), NOW)
    assert (session.heartbeat, session.silence, session.payload_limit) == (0.7, 2.1, 99)


def test_a_value_is_reported_and_forgotten_when_acknowledged(session: Session) -> None:
    effects = session.received(assignment(7, 3), NOW)
    assert [(run.token, len(run.payloads), run.call.task) for run in effects.runs] == [(7, 3, "t.add")]
    session.values([8, 7], [b"1", b"2"], NOW)
    message = say(session)
    assert (message.sequence, list(message.values.tokens), list(message.values.values)) == (2, [8, 7], [b"1", b"2"])
    assert (session.open, session.unacknowledged, session.settled) == (1, 2, False)
    acknowledge(session, 2)
    assert session.unacknowledged == 0


def test_everything_since_the_last_write_is_one_message(session: Session) -> None:
    session.received(assignment(1, 3), NOW)
    session.values([1], [b"1"], NOW)
    session.values([2], [b"2"], NOW)
    session.ended(Ended(3, "ignored"), NOW)
    message = say(session)
    assert list(message.values.tokens) == [1, 2]
    assert [report.WhichOneof("outcome") for report in message.reports] == ["ignored"]
    assert session.next_message() is None


@pytest.mark.parametrize(
    ("end", "outcome"),
    [
        (Ended(1, "value", b"x", "application/msgpack"), "value"),
        (Ended(1, "failure", failure=value_pb2.Failure(type_name="E").SerializeToString()), "failure"),
        (Ended(1, "failure", failure=b"\xff\xff"), "failure"),
        (Ended(1, "retry", b"[[],{}]", countdown_ms=5), "retry"),
        (Ended(1, "ignored"), "ignored"),
        (Ended(1, "rejected", requeue=True), "rejected"),
        (Ended(1, "lost", message="signal 9"), "lost"),
        (Ended(1, "returned"), "returned"),
        (Ended(1, "revoked"), "revoked"),
    ],
)
def test_each_way_to_end_has_its_report(session: Session, end: Ended, outcome: str) -> None:
    session.received(assignment(1), NOW)
    session.ended(end, NOW)
    (report,) = say(session).reports
    assert (report.token, report.WhichOneof("outcome")) == (1, outcome)


def test_an_acknowledgement_covers_all_before_it(session: Session) -> None:
    session.received(assignment(1, 3), NOW)
    for token in (1, 2, 3):
        session.values([token], [b"1"], NOW)
        assert say(session).sequence == token + 1
    acknowledge(session, 3)
    assert session.unacknowledged == 1
    assert held(reconnect(session)) == [3]


def test_what_was_not_acknowledged_is_said_again_in_order(session: Session) -> None:
    session.received(assignment(1, 4), NOW)
    session.values([1, 2], [b"1", b"2"], NOW)
    say(session)
    session.ended(Ended(3, "ignored"), NOW)
    say(session)
    hello = reconnect(session)
    assert sorted(held(hello)) == [1, 2, 3, 4]
    assert {each.node for each in hello.held} == {GRAPH + index.to_bytes(4, "big") for index in range(1, 5)}
    message = say(session)
    assert message.sequence == 2
    assert list(message.values.tokens) == [1, 2]
    assert [report.token for report in message.reports] == [3]
    acknowledge(session, 2)
    assert (session.unacknowledged, session.open) == (0, 1)


def test_what_ended_while_the_stream_was_broken_is_kept(session: Session) -> None:
    session.received(assignment(1), NOW)
    session.disconnected()
    session.values([1], [b"1"], NOW)
    assert session.next_message() is None
    assert held(session.hello().hello) == [1]
    session.received(welcome(resumed=True), NOW)
    assert list(say(session).values.tokens) == [1]


def test_what_the_welcome_calls_superseded_is_stopped_and_never_reported(session: Session) -> None:
    session.received(assignment(1, 3), NOW)
    session.values([1], [b"1"], NOW)
    session.disconnected()
    session.hello()
    effects = session.received(welcome(resumed=True, superseded=[1, 2]), NOW)
    assert effects.forget == [2]
    session.values([2], [b"late"], NOW)
    assert session.next_message() is None
    assert (session.open, session.unacknowledged) == (1, 0)


def test_a_superseded_stop_forgets_and_another_one_does_not(session: Session) -> None:
    session.received(assignment(1, 2), NOW)
    stops = [pb.Stop(token=1, superseded=True), pb.Stop(token=2, terminate=True, signal="SIGTERM")]
    effects = session.received(pb.WorkResponse(stops=stops), NOW)
    assert effects.forget == [1]
    assert [stop.token for stop in effects.stops] == [2]
    session.ended(Ended(2, "revoked"), NOW)
    assert [report.WhichOneof("outcome") for report in say(session).reports] == ["revoked"]


def test_a_stop_for_what_is_not_held_changes_nothing(session: Session) -> None:
    effects = session.received(pb.WorkResponse(stops=[pb.Stop(token=9), pb.Stop(token=8, superseded=True)]), NOW)
    assert not effects.stops
    assert not effects.forget


def test_a_report_that_was_not_taken_is_not_said_again(session: Session) -> None:
    session.received(assignment(1), NOW)
    session.values([1], [b"1"], NOW)
    acknowledge(session, say(session).sequence, superseded=[1])
    assert held(reconnect(session)) == []


def test_a_start_that_was_not_taken_stops_the_attempt(session: Session) -> None:
    session.received(assignment(1, track_started=True), NOW)
    session.started([1])
    message = say(session)
    assert message.reports[0].HasField("started")
    effects = session.received(pb.WorkResponse(acknowledged=message.sequence, superseded=[1]), NOW)
    assert effects.forget == [1]


def test_a_start_is_said_again_only_while_the_attempt_runs(session: Session) -> None:
    session.received(assignment(1, 2, track_started=True), NOW)
    session.started([1, 2])
    say(session)
    session.values([2], [b"1"], NOW)
    reconnect(session)
    message = say(session)
    assert [report.token for report in message.reports] == [1]
    assert list(message.values.tokens) == [2]


def test_a_drain_is_told_once_and_ends_with_goodbye(session: Session) -> None:
    session.received(assignment(1, 2), NOW)
    session.drain()
    session.drain()
    first = say(session)
    assert first.drain
    session.ended(Ended(2, "returned"), NOW)
    acknowledge(session, say(session).sequence)
    assert session.next_message() is None
    session.values([1], [b"1"], NOW)
    second = say(session)
    assert not second.drain
    assert not second.goodbye
    assert session.next_message() is None
    acknowledge(session, second.sequence)
    assert say(session).goodbye
    assert session.phase is Phase.OVER
    assert session.next_message() is None


def test_work_that_crosses_a_drain_goes_back_untouched(session: Session) -> None:
    session.drain()
    say(session)
    effects = session.received(assignment(5, 2), NOW)
    assert not effects.runs
    message = say(session)
    assert [(report.token, report.WhichOneof("outcome")) for report in message.reports] == [
        (5, "returned"),
        (6, "returned"),
    ]
    acknowledge(session, message.sequence)
    assert say(session).goodbye


def test_goodbye_waits_until_the_drain_was_read(session: Session) -> None:
    """Work may be on its way until the coordinator has read of the drain."""
    session.drain()
    message = say(session)
    assert session.next_message() is None
    acknowledge(session, message.sequence)
    assert say(session).goodbye


def test_goodbye_does_not_wait_for_ever(session: Session) -> None:
    session.drain()
    say(session)
    session.beat()
    assert not say(session).goodbye
    session.beat()
    assert say(session).goodbye


def test_a_draining_session_says_so_when_it_comes_back(session: Session) -> None:
    session.received(assignment(1), NOW)
    session.drain()
    session.disconnected()
    assert session.hello().hello.draining
    session.received(welcome(resumed=True), NOW)
    assert session.next_message() is None
    session.values([1], [b"1"], NOW)
    message = say(session)
    assert not message.drain
    acknowledge(session, message.sequence)
    assert say(session).goodbye


def test_replies_go_out_before_the_goodbye_and_die_with_their_stream(session: Session) -> None:
    session.reply(pb.ControlReply(id=4, reply=b"{}"))
    session.drain()
    message = say(session)
    assert [reply.id for reply in message.replies] == [4]
    assert not message.sequence, "nobody is to acknowledge it"
    assert say(session).drain
    session.reply(pb.ControlReply(id=5))
    session.disconnected()
    session.reply(pb.ControlReply(id=6))
    session.hello()
    session.received(welcome(), NOW)
    assert say(session).goodbye


def test_new_queues_are_told_whole(session: Session) -> None:
    session.set_queues(["a", "b", "a"])
    message = say(session)
    assert message.subscription_changed
    assert list(message.queues) == ["a", "b"]
    session.set_queues([])
    message = say(session)
    assert message.subscription_changed
    assert not message.queues
    assert list(reconnect(session).queues) == []


def test_a_beat_is_one_message(session: Session) -> None:
    session.beat()
    assert say(session) == pb.WorkRequest(), "it has no number: nobody need acknowledge it"
    assert session.next_message() is None


def test_messages_are_cut_by_bytes(session: Session) -> None:
    size = limits.BATCH_BYTES // 2 - 100
    session.received(assignment(1, 4), NOW)
    session.values([1, 2, 3], [b"x" * size] * 3, NOW)
    session.values([4], [b"y" * limits.PAYLOAD_LIMIT], NOW)
    assert [list(say(session).values.tokens) for _ in range(3)] == [[1, 2], [3], [4]]
    assert session.next_message() is None


@pytest.mark.parametrize(("extra", "outcome"), [(-1, None), (0, None), (1, "failure")])
def test_a_value_over_the_limit_becomes_a_failure(session: Session, extra: int, outcome: str | None) -> None:
    session.received(assignment(1), NOW)
    session.values([1], [b"x" * (session.payload_limit + extra)], NOW)
    message = say(session)
    assert message.ByteSize() < limits.MESSAGE_LIMIT
    if outcome is None:
        assert list(message.values.tokens) == [1]
    else:
        assert message.reports[0].failure.reason == "TOO_LARGE"


def test_a_report_over_the_limit_becomes_a_failure(session: Session) -> None:
    session.received(assignment(1), NOW)
    huge = value_pb2.Failure(message="x" * (session.payload_limit + 5000))
    session.ended(Ended(1, "failure", failure=huge.SerializeToString()), NOW)
    assert say(session).reports[0].failure.reason == "TOO_LARGE"


def test_a_second_end_of_the_same_attempt_is_dropped(session: Session) -> None:
    session.received(assignment(1), NOW)
    session.values([1], [b"1"], NOW)
    session.ended(Ended(1, "lost"), NOW)
    message = say(session)
    assert list(message.values.tokens) == [1]
    assert not message.reports


def test_abandoned_attempts_are_lost(session: Session) -> None:
    session.received(assignment(1, 2), NOW)
    assert session.abandon("stopped") == 2
    assert [report.lost.message for report in say(session).reports] == ["stopped", "stopped"]


@pytest.mark.parametrize(
    "message",
    [
        welcome(),
        pb.WorkResponse(runs=[pb.AssignedRun(graph=GRAPH, template=1)]),
        pb.WorkResponse(runs=[pb.AssignedRun(graph=GRAPH)]),
        pb.WorkResponse(
            templates=assignment(1).templates, runs=[pb.AssignedRun(graph=b"short", token=1, payloads=[b""])]
        ),
    ],
)
def test_a_message_against_the_protocol_is_refused_whole(session: Session, message: pb.WorkResponse) -> None:
    with pytest.raises(ProtocolError):
        session.received(message, NOW)
    assert session.open == 0


def test_the_first_message_must_be_a_welcome() -> None:
    session = make_session()
    session.hello()
    with pytest.raises(ProtocolError, match="welcome"):
        session.received(pb.WorkResponse(), NOW)


def test_capacity_travels_with_reports(session: Session) -> None:
    session.received(assignment(1), NOW)
    session.values([1], [b"1"], NOW)
    session.capacity.want(10)
    assert say(session).capacity_plus_one == 11
    assert session.next_message() is None


def with_payloads(token: int, *payloads: bytes) -> pb.WorkResponse:
    message = assignment(token)
    message.runs[0].payloads[:] = payloads
    return message


def test_large_payloads_of_a_run_are_not_copied_into_a_message(session: Session) -> None:
    large = [b"l" * LARGE, b"m" * LARGE]
    received = read_response(with_payloads(7, *large).SerializeToString())
    message, payloads = opened(received)
    assert payloads == large
    assert message == with_payloads(7)
    (run,) = session.received(received, 0).runs
    assert (run.token, run.payloads) == (7, large)
    assert session.open == 2


def test_other_messages_are_read_whole(session: Session) -> None:
    for whole in (with_payloads(7, b"small"), with_payloads(8, b"small", b"l" * LARGE)):
        received = read_response(whole.SerializeToString())
        assert received == whole
        (run,) = session.received(received, 0).runs
        assert run.payloads == whole.runs[0].payloads
