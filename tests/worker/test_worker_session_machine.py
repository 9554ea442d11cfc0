"""Random histories of a session against a coordinator that remembers: nothing is lost, nothing is told twice as new."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.worker.worker_fakes import assignment, make_session, welcome

from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_worker.executor import Ended
from grpcflow_worker.session import Phase


class SessionMachine(RuleBasedStateMachine):
    """A session, its executor as a set of tokens, and a coordinator that settles each attempt once."""

    def __init__(self) -> None:
        super().__init__()
        self.session = make_session()
        self.now = 0.0
        self.next_token = 1
        #: Held by the executor.
        self.executing: set[int] = set()
        #: Out to the worker, as the coordinator sees it.
        self.out: set[int] = set()
        #: Taken away by the coordinator.
        self.superseded: set[int] = set()
        #: token -> how the coordinator heard that it ended, and how it did end.
        self.heard: dict[int, str] = {}
        self.ended: dict[int, str] = {}
        #: token -> how often it told of progress, and the newest of it that the coordinator heard.
        self.said: dict[int, int] = {}
        self.noted: dict[int, int] = {}
        #: Messages on the way to the coordinator, and the last number it took from this stream.
        self.wire: list[pb.WorkRequest] = []
        self.taken = 0
        self.drain_read = False
        self.said_goodbye = False

    def connected(self) -> bool:
        return self.session.phase is Phase.ONLINE

    @precondition(lambda self: self.session.phase is Phase.OFFLINE)
    @rule(lost=st.integers(0, 3))
    def connect(self, lost: int) -> None:
        hello = self.session.hello().hello
        named = {each.token for each in hello.held}
        # What is still out must be named, or it would be handed out again while it runs here.
        assert self.out - self.superseded <= named | set(self.heard)
        gone = sorted(named - self.out | set(sorted(named & self.out)[:lost]))
        self.superseded |= set(gone)
        self.out -= set(gone)
        self.wire, self.taken = [], 1
        self.drain_read = self.drain_read or hello.draining
        effects = self.session.received(welcome(resumed=True, superseded=gone), self.now)
        self._drop(effects.forget)

    def _drop(self, tokens: list[int]) -> None:
        assert set(tokens) <= self.executing
        self.executing -= set(tokens)

    @precondition(lambda self: self.connected() and not self.drain_read)
    @rule(count=st.integers(1, 4))
    def assign(self, count: int) -> None:
        tokens = set(range(self.next_token, self.next_token + count))
        message = assignment(self.next_token, count)
        self.next_token += count
        self.out |= tokens
        effects = self.session.received(message, self.now)
        assert bool(effects.runs) != self.session.draining
        if effects.runs:
            self.executing |= tokens
        else:
            self.ended.update(dict.fromkeys(tokens, "returned"))

    @precondition(lambda self: self.executing)
    @rule(data=st.data(), kind=st.sampled_from(["values", "returned", "lost", "ignored"]))
    def end(self, data: st.DataObject, kind: str) -> None:
        token = data.draw(st.sampled_from(sorted(self.executing)))
        self.executing.discard(token)
        self.ended[token] = kind
        if kind == "values":
            self.session.values([token], [b"1"], self.now)
        else:
            self.session.ended(Ended(token, kind), self.now)  # type: ignore[arg-type]

    @precondition(lambda self: self.executing)
    @rule(data=st.data())
    def progress(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(sorted(self.executing)))
        self.said[token] = self.said.get(token, 0) + 1
        self.session.progressed(token, f"{self.said[token]}", b"", "")

    @precondition(lambda self: self.connected())
    @rule()
    def write(self) -> None:
        message = self.session.next_message()
        if message is not None:
            assert message.sequence == (self.wire[-1].sequence if self.wire else self.taken) + 1
            self.wire.append(message)

    @precondition(lambda self: self.wire)
    @rule(acknowledged=st.booleans())
    def read(self, acknowledged: bool) -> None:
        message = self.wire.pop(0)
        self.taken = message.sequence
        ends = [(token, "values") for token in message.values.tokens]
        ends += [(report.token, report.WhichOneof("outcome") or "") for report in message.reports]
        for report in message.reports:
            if report.HasField("progressed"):
                assert report.token not in self.heard or self.noted[report.token] == int(report.progressed.state)
                self.noted[report.token] = int(report.progressed.state)
        ends = [(token, "values" if how == "value" else how) for token, how in ends if how != "progressed"]
        for token, how in ends:
            assert token not in self.superseded or token in self.heard or token not in self.out
            if token in self.out:
                # Of one that was taken away, the end may be said again without it: nobody asks for either.
                assert self.noted.get(token, 0) == self.said.get(token, 0), "its progress comes before its end"
                self.out.discard(token)
                self.heard[token] = how
            else:
                # Said again after a break: it must be the same end.
                assert self.heard.get(token, how) == how
        self.drain_read |= message.drain
        if message.goodbye:
            self.said_goodbye = True
        elif acknowledged and self.connected():
            self.session.received(pb.WorkResponse(acknowledged=self.taken), self.now)

    @precondition(lambda self: self.connected() and self.out)
    @rule(data=st.data())
    def take_away(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(sorted(self.out)))
        self.out.discard(token)
        self.superseded.add(token)
        effects = self.session.received(pb.WorkResponse(stops=[pb.Stop(token=token, superseded=True)]), self.now)
        self._drop(effects.forget)

    @precondition(lambda self: self.session.phase is Phase.ONLINE)
    @rule()
    def lose_the_stream(self) -> None:
        self.session.disconnected()
        self.wire = []

    # Not at once: a session that drains before it worked is soon over, and its history short.
    @precondition(lambda self: self.next_token > 10)
    @rule()
    def drain(self) -> None:
        self.session.drain()

    @invariant()
    def nothing_is_lost(self) -> None:
        """What ended and was not heard is still kept; what runs is still open."""
        assert self.session.open == len(self.executing)
        unheard = {token for token in self.ended if token in self.out}
        assert len(unheard) <= self.session.unacknowledged
        for token, how in self.heard.items():
            assert self.ended[token] == how

    @invariant()
    def goodbye_leaves_nothing_behind(self) -> None:
        if self.session.phase is Phase.OVER:
            assert not self.executing
            assert not self.out

    def teardown(self) -> None:
        """With a stream that holds, the coordinator hears of every end."""
        if self.session.phase is Phase.OFFLINE:
            self.connect(0)
        for _ in range(1000):
            if self.connected():
                self.session.received(pb.WorkResponse(acknowledged=self.taken), self.now)
            self.write()
            if not self.wire:
                break
            self.read(True)
        assert self.out == self.executing
        assert self.session.unacknowledged == 0
        assert (self.session.phase is Phase.OVER) == (self.session.draining and not self.executing)


TestSessionMachine = SessionMachine.TestCase
TestSessionMachine.settings = settings(max_examples=80, stateful_step_count=60, deadline=None, print_blob=True)
