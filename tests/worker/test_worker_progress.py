"""Progress in a session: in order with the attempt's start and end, never lost by a broken stream, never a flood."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from tests.worker.worker_fakes import assignment, make_session, welcome

from grpcflow_protos import limits
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_worker.executor import Ended
from grpcflow_worker.session import Session
from grpcflow_worker.wire import ProtocolError

NOW = 5.0


@pytest.fixture
def session() -> Session:
    made = make_session()
    reconnect(made)
    made.received(assignment(1, 3, track_started=True), NOW)
    return made


def reconnect(session: Session) -> None:
    session.hello()
    session.received(welcome(resumed=True), NOW)


def tell(session: Session, token: int, number: int, size: int = 0) -> None:
    session.progressed(token, f"STEP{number}", b"x" * size, "")


def said(session: Session) -> list[tuple[int, str]]:
    """All that the session has to say now: token and state, or token and the kind of its end."""
    heard: list[tuple[int, str]] = []
    while (message := session.next_message()) is not None:
        assert message.ByteSize() <= limits.MESSAGE_LIMIT
        heard += [(token, "values") for token in message.values.tokens]
        heard += [(each.token, each.progressed.state or each.WhichOneof("outcome") or "") for each in message.reports]
    return heard


def acknowledge(session: Session, sequence: int, superseded: Sequence[int] = ()) -> list[int]:
    return session.received(pb.WorkResponse(acknowledged=sequence, superseded=superseded), NOW).forget


def test_progress_comes_between_start_and_end(session: Session) -> None:
    session.started([1])
    tell(session, 1, 1)
    assert said(session) == [(1, "started"), (1, "STEP1")]
    tell(session, 1, 2)
    session.values([1], [b"1"], NOW)
    assert said(session) == [(1, "STEP2"), (1, "value")]


def test_one_report_of_an_attempt_is_on_its_way_and_the_newest_waits(session: Session) -> None:
    tell(session, 1, 0)
    message = session.next_message()
    assert message is not None
    for number in range(1, 100_001):
        tell(session, 1, number)
    assert said(session) == []
    acknowledge(session, message.sequence)
    assert said(session) == [(1, "STEP100000")]


def test_a_broken_stream_loses_no_progress(session: Session) -> None:
    tell(session, 1, 1)
    tell(session, 2, 1)
    assert said(session) == [(1, "STEP1"), (2, "STEP1")]
    tell(session, 2, 2)
    reconnect(session)
    assert sorted(said(session)) == [(1, "STEP1"), (2, "STEP2")]


def test_progress_still_comes_before_an_end_that_is_sent_again(session: Session) -> None:
    tell(session, 1, 1)
    assert said(session) == [(1, "STEP1")]
    session.ended(Ended(1, "ignored"), NOW)
    assert said(session) == [(1, "ignored")]
    reconnect(session)
    assert said(session) == [(1, "STEP1"), (1, "ignored")]
    reconnect(session)
    assert said(session) == [(1, "STEP1"), (1, "ignored")]


def test_nothing_is_sent_again_once_it_is_known(session: Session) -> None:
    tell(session, 1, 1)
    message = session.next_message()
    assert message is not None
    acknowledge(session, message.sequence)
    session.values([1], [b"1"], NOW)
    reconnect(session)
    assert said(session) == [(1, "values")]


def test_progress_of_an_attempt_that_is_not_open_is_dropped(session: Session) -> None:
    session.values([1], [b"1"], NOW)
    tell(session, 1, 1)
    tell(session, 99, 1)
    assert said(session) == [(1, "values")]


def test_large_progress_and_large_ends_fit_the_transport(session: Session) -> None:
    size = limits.PAYLOAD_LIMIT
    for token in (1, 2):
        tell(session, token, 1, size)
    session.values([1], [b"1" * size], NOW)
    session.values([3], [b"1" * size], NOW)
    assert sorted(said(session)) == [(1, "STEP1"), (1, "value"), (2, "STEP1"), (3, "values")]


@pytest.mark.parametrize(("state", "size"), [("", 0), ("S" * 256, 0), ("STEP", limits.PAYLOAD_LIMIT + 1)])
def test_what_the_coordinator_would_refuse_is_not_sent(session: Session, state: str, size: int) -> None:
    with pytest.raises(ProtocolError):
        session.progressed(1, state, b"x" * size, "")
    assert said(session) == []


def test_the_report_of_a_replaced_task_is_dropped_quietly(session: Session) -> None:
    """Its attempt was closed when the replacement came in; the report that follows is superseded and no more."""
    session.ended(Ended(1, "ignored"), NOW)
    message = session.next_message()
    assert message is not None
    assert acknowledge(session, message.sequence, superseded=[1]) == []
    assert (session.open, session.unacknowledged) == (2, 0)
    reconnect(session)
    assert said(session) == []


@pytest.mark.parametrize("stop", [True, False])
def test_an_attempt_whose_report_is_on_its_way_needs_no_kill(session: Session, stop: bool) -> None:
    tell(session, 1, 1)
    session.ended(Ended(1, "ignored"), NOW)
    answer = pb.WorkResponse(stops=[pb.Stop(token=1, superseded=True)]) if stop else pb.WorkResponse(superseded=[1])
    assert session.received(answer, NOW).forget == []
    assert said(session) == []


def test_progress_that_came_too_late_does_not_say_that_the_task_must_die(session: Session) -> None:
    """It was overtaken by the replacement of its own task, which goes on for a moment."""
    tell(session, 1, 1)
    message = session.next_message()
    assert message is not None
    assert acknowledge(session, message.sequence, superseded=[1]) == []
    session.ended(Ended(1, "ignored"), NOW)
    assert said(session) == []
    assert session.unacknowledged == 0
