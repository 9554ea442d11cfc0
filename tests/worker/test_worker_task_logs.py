"""What attempts log on its way out of the worker: in order, before their ends, bounded, again after a broken stream."""

import random

import pytest
from tests.worker.worker_fakes import assignment, make_session, welcome

from grpcflow_protos import limits
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_worker.log_lines import GATHERED_BYTES, Gathered, LogLine, size_of
from grpcflow_worker.session import Session
from grpcflow_worker.task_logs import WAITING_BYTES

NOW = 100.0
LIMIT = 4_096


def line(text: str) -> LogLine:
    return (7, "INFO", "shop", text)


@pytest.fixture
def session() -> Session:
    """A session that holds the attempts 1 to 4 of a coordinator that keeps logs."""
    made = make_session()
    made.hello()
    made.received(welcome(log_limit=LIMIT), NOW)
    made.received(assignment(1, 4), NOW)
    return made


def texts(message: pb.WorkRequest | None) -> list[tuple[int, int, list[str]]]:
    """Token, number of the first and the texts of each piece of a message."""
    assert message is not None
    return [(piece.token, piece.first, [one.text for one in piece.lines]) for piece in message.logs]


def test_lines_leave_in_order_with_their_numbers(session: Session) -> None:
    session.logged([(1, 0, [line("a"), line("b")]), (2, 0, [line("c")])])
    assert texts(session.next_message()) == [(1, 0, ["a", "b"]), (2, 0, ["c"])]
    session.logged([(1, 3, [line("d")])])
    session.received(pb.WorkResponse(acknowledged=2), NOW)
    assert texts(session.next_message()) == [(1, 5, ["d"])]


def test_dropped_lines_part_the_pieces_around_them(session: Session) -> None:
    session.logged([(1, 0, [line("a")])])
    session.logged([(1, 2, [line("b")])])
    assert texts(session.next_message()) == [(1, 0, ["a"]), (1, 3, ["b"])]


def test_an_end_leaves_with_or_behind_what_its_attempt_logged(session: Session) -> None:
    session.logged([(1, 0, [line("a")])])
    session.values([1], [b"1"], NOW)
    message = session.next_message()
    assert texts(message) == [(1, 0, ["a"])]
    assert message is not None
    assert list(message.values.tokens) == [1]


def test_an_end_waits_while_a_message_has_no_room_for_the_logs(session: Session) -> None:
    session.received(assignment(100, 400), NOW)
    tokens = range(100, 500)
    for token in tokens:
        session.logged([(token, 0, [line("x" * 3_900)])])
    session.values(tokens, [b"1"] * 400, NOW)
    first, logged, ended = True, set[int](), set[int]()
    while (message := session.next_message()) is not None:
        logged |= {piece.token for piece in message.logs}
        ended |= set(message.values.tokens)
        assert ended <= logged
        assert message.ByteSize() < limits.MESSAGE_LIMIT
        assert not (first and ended)
        first = False
        session.received(pb.WorkResponse(acknowledged=message.sequence), NOW)
    assert ended == set(tokens)


def test_what_was_not_acknowledged_is_sent_again_in_the_same_pieces(session: Session) -> None:
    session.logged([(1, 0, [line("a")])])
    before = session.next_message()
    session.logged([(1, 0, [line("b")])])
    session.disconnected()
    session.hello()
    session.received(welcome(resumed=True, log_limit=LIMIT), NOW)
    assert texts(session.next_message()) == [*texts(before), (1, 1, ["b"])]
    session.received(pb.WorkResponse(acknowledged=2), NOW)
    session.disconnected()
    session.hello()
    session.received(welcome(resumed=True, log_limit=LIMIT), NOW)
    assert session.next_message() is None


@pytest.mark.parametrize("old", [True, False])
def test_a_coordinator_that_keeps_none_is_sent_none(old: bool) -> None:
    session = make_session()
    session.hello()
    session.received(welcome(log_limit=0 if old else LIMIT), NOW)
    session.received(assignment(1, 1), NOW)
    session.logged([(1, 0, [line("a")])])
    if not old:  # it is replaced by an older one
        session.disconnected()
        session.hello()
        session.received(welcome(resumed=True), NOW)
    session.values([1], [b"1"], NOW)
    message = session.next_message()
    assert message is not None
    assert not message.logs


def test_what_is_no_longer_ours_is_dropped(session: Session) -> None:
    session.logged([(1, 0, [line("a")]), (9, 0, [line("b")])])
    session.received(pb.WorkResponse(stops=[pb.Stop(token=1, superseded=True)]), NOW)
    session.logged([(1, 0, [line("c")])])
    assert session.next_message() is None


def test_a_task_that_logs_without_end_loses_its_oldest_lines_and_takes_no_more_memory(session: Session) -> None:
    for number in range(5_000):
        session.logged([(1, 0, [line(f"{number:<100}")])])
    found = texts(session.next_message())
    numbers = [int(text) for _, first, some in found for text in some]
    assert numbers == list(range(5_000 - len(numbers), 5_000))
    assert found[0][1] == numbers[0]
    assert LIMIT // 2 < len(numbers) * 136 <= LIMIT


def test_all_attempts_together_have_a_bound(session: Session) -> None:
    session.received(pb.WorkResponse(), NOW)
    session._logs.limit = 1 << 40
    session.received(assignment(1_000, 100), NOW)
    for number in range(1_000):
        session.logged([(1_000 + number % 100, 0, [line("x" * 10_000)])])
    assert session._logs.size <= WAITING_BYTES
    assert session._logs.size > WAITING_BYTES // 2


def test_a_process_gathers_up_to_a_bound() -> None:
    gathered = Gathered()
    for number in range(1_000):
        gathered.add(1, line(f"{number:<1000}"))
    gathered.add(2, line("other"))
    assert gathered.size <= GATHERED_BYTES
    [(token, dropped, lines), (_, lost, _)] = gathered.take()
    assert (token, dropped + len(lines)) == (1, 1_000)
    assert int(lines[-1][3]) == 999
    assert lost in (0, 1)
    assert not gathered
    assert gathered.size == 0


def test_sizes_are_those_of_the_bytes() -> None:
    assert size_of(line("ü" * 10)) - size_of(line("u" * 10)) == 10


class Chatter:
    """A session whose attempts log and end, on streams that break, and what the coordinator got of it."""

    def __init__(self, session: Session, rng: random.Random) -> None:
        self.session, self.rng = session, rng
        self.said: dict[int, list[str]] = {token: [] for token in range(1, 5)}
        self.got: dict[int, dict[int, str]] = {token: {} for token in self.said}
        self.ended: set[int] = set()

    def speak(self) -> None:
        token = self.rng.choice(sorted(self.said))
        if token not in self.ended and len(self.said[token]) < 25:
            self.said[token].append(f"{len(self.said[token])} of {token}")
            self.session.logged([(token, 0, [line(self.said[token][-1])])])

    def end(self) -> None:
        token = self.rng.choice(sorted(self.said))
        if token not in self.ended and self.rng.random() < 0.05:
            self.ended.add(token)
            self.session.values([token], [b"1"], NOW)

    def take(self) -> None:
        message = self.session.next_message()
        if message is None:
            return
        arrives, is_acknowledged = self.rng.random() < 0.7, self.rng.random() < 0.7
        if arrives:
            self._arrived(message)
        if arrives and is_acknowledged:
            self.session.received(pb.WorkResponse(acknowledged=message.sequence), NOW)
        else:
            self.session.disconnected()
            self.session.hello()
            self.session.received(welcome(resumed=True, log_limit=LIMIT), NOW)

    def _arrived(self, message: pb.WorkRequest) -> None:
        for piece in message.logs:
            for number, one in enumerate(piece.lines, piece.first):
                assert self.got[piece.token].setdefault(number, one.text) == one.text
        for token in message.values.tokens:
            assert list(self.got[token].values()) == self.said[token]


def test_at_random_every_line_arrives_once_and_before_its_end(session: Session, rng: random.Random) -> None:
    chatter = Chatter(session, rng)
    for _ in range(500):
        rng.choice([chatter.speak, chatter.speak, chatter.take, chatter.end])()
    for _ in range(50):
        chatter.take()
    assert {token: list(lines.values()) for token, lines in chatter.got.items()} == chatter.said
