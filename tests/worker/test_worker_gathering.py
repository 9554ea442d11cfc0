"""Ends of attempts travel together where that costs nobody time: one message at a time while the places have work."""

import pytest
from tests.worker.worker_fakes import assignment, make_session, welcome

from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_worker.session import Session

NOW = 100.0


@pytest.fixture
def session() -> Session:
    """A session of two places that holds the attempts 10 to 19, and whose first end is on its way."""
    made = make_session(concurrency=2)
    made.hello()
    made.received(welcome(), NOW)
    made.received(assignment(10, 10), NOW)
    made.values([10], [b"1"], NOW)
    assert ends_of(made) == [10]
    return made


def ends_of(session: Session) -> list[int] | None:
    """Returns the tokens of the ends that it says now; None where it says nothing."""
    message = session.next_message()
    return None if message is None else list(message.values.tokens)


def test_ends_wait_for_the_answer_to_the_message_before_and_then_go_together(session: Session) -> None:
    for token in (11, 12, 13):
        session.values([token], [b"1"], NOW)
        assert ends_of(session) is None
    session.received(pb.WorkResponse(acknowledged=2), NOW)
    assert ends_of(session) == [11, 12, 13]
    assert ends_of(session) is None


def test_an_end_waits_for_nothing_where_a_place_may_want_for_work(session: Session) -> None:
    session.values([11, 12, 13, 14, 15, 16], [b"1"] * 6, NOW)
    assert session.open == 3
    assert ends_of(session) is None
    session.values([17], [b"1"], NOW)
    assert ends_of(session) == [11, 12, 13, 14, 15, 16, 17]
    session.values([18], [b"1"], NOW)
    assert ends_of(session) == [18]


def test_a_drain_a_heartbeat_an_answer_and_new_queues_do_not_wait_and_take_the_ends_along(session: Session) -> None:
    pressing = (session.beat, lambda: session.set_queues(["other"]), lambda: session.resize(3), session.drain)
    for token, press in enumerate(pressing, start=11):
        session.values([token], [b"1"], NOW)
        assert ends_of(session) is None
        press()
        assert ends_of(session) == [token]


def test_an_answer_to_a_command_does_not_wait(session: Session) -> None:
    session.reply(pb.ControlReply(id=1, reply=b"{}"))
    message = session.next_message()
    assert message is not None
    assert [reply.id for reply in message.replies] == [1]


def test_on_a_new_stream_nothing_waits_for_answers_of_the_old_one(session: Session) -> None:
    session.values([11], [b"1"], NOW)
    session.disconnected()
    session.hello()
    session.received(welcome(resumed=True), NOW)
    assert ends_of(session) == [10, 11]
