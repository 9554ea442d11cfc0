"""The engine: one commit for a batch, sends after it, and what happens when the disk says no."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.coordinator.support.graphs import Sketch, chord, one

from grpcflow_coordinator import engine as engine_module
from grpcflow_coordinator.core.effects import Accepted, Acknowledge, Assign, Effects, Welcome
from grpcflow_coordinator.core.events import Event, WorkerArrived, WorkerSpoke
from grpcflow_coordinator.core.machine import Machine
from grpcflow_coordinator.core.model import NodeState, Now, node_id
from grpcflow_coordinator.core.presence import SessionFacts
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.storage.contract import Batch, StoreFailed, StoreFull
from grpcflow_coordinator.storage.memory import MemoryStore

FACTS = SessionFacts(b"s" * 16, "w@host", ("default",), frozenset({"t"}))


class Crash(BaseException):
    """The process died here."""


class Outbox:
    """Remembers what was delivered."""

    def __init__(self) -> None:
        self.sends: list[object] = []
        self.settled: list[tuple[bytes, int]] = []

    def deliver(self, effects: Effects) -> None:
        self.sends += effects.sends
        self.settled += [(graph, index) for graph, index, _ in effects.values]
        self.settled += [(graph, index) for graph, index, _, _ in effects.settled]

    def of(self, kind: type) -> list[object]:
        return [send for send in self.sends if isinstance(send, kind)]


class Rig:
    """An engine whose batches are run by hand."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.now = Now(1_000_000, 1000.0)
        self.outbox = Outbox()
        self.fatal: list[BaseException] = []
        self.engine = Engine(self.store, Machine(), self.outbox, now=lambda: self.now, on_fatal=self.fatal.append)
        self.engine.start()

    def run(self, *events: Event) -> None:
        for event in events:
            self.engine.post(event)
        while self.engine.run_batch() or self.engine._inbox:
            pass


def submit(sketch: Sketch, client: object = "client") -> Event:
    [chunk] = sketch.chunks(client)
    return chunk


def test_a_batch_is_one_commit() -> None:
    commits: list[str] = []
    rig = Rig()
    rig.store.failpoint = lambda when, _batch: commits.append(when)
    rig.run(*(submit(one()) for _ in range(20)))
    assert commits == ["before", "after"]
    assert len(rig.outbox.of(Accepted)) == 20


def test_a_batch_of_nothing_commits_nothing() -> None:
    commits: list[str] = []
    rig = Rig()
    rig.store.failpoint = lambda when, _batch: commits.append(when)
    rig.run()
    assert not commits


def test_nothing_is_sent_before_its_commit() -> None:
    rig = Rig()
    stream = object()
    rig.run(WorkerArrived(stream, FACTS, 10, (), draining=False))
    before = len(rig.outbox.sends)

    def look(_when: str, _batch: Batch) -> None:
        assert len(rig.outbox.sends) == before

    rig.store.failpoint = look
    rig.run(submit(one()))
    assert [type(send) for send in rig.outbox.sends[before:]] == [Accepted, Assign]


def test_a_batch_takes_a_bounded_number_of_events() -> None:
    rig = Rig()
    for _ in range(engine_module.BATCH_EVENTS + 5):
        rig.engine.post(submit(one()))
    rig.engine.run_batch()
    assert len(rig.outbox.of(Accepted)) == engine_module.BATCH_EVENTS


class Drama:
    """A chord run by one worker, with a crash at one commit; whoever survives does what the protocol says."""

    def __init__(self, crash_at: int, when: str) -> None:
        self.left = crash_at
        self.when = when
        self.crashed = False
        self.sketch = chord(3)
        self.runs: list[int] = []
        self.held: dict[int, int] = {}
        self.unacknowledged: dict[int, int] = {}
        self.accepted = False
        self.settled: set[int] = set()
        self.rig: Rig | None = None
        self.store = MemoryStore(failpoint=self._failpoint)
        self.stream: object = None

    def _failpoint(self, when: str, _batch: Batch) -> None:
        if when == self.when and not self.crashed:
            self.left -= 1
            if self.left < 0:
                self.crashed = True
                raise Crash

    def play(self) -> None:
        for _ in range(50):
            try:
                if self._act():
                    return
            except Crash:
                self.store, self.rig, self.stream = self.store.reopened(), None, None
        raise AssertionError("the chord never ended")

    def _act(self) -> bool:
        if self.rig is None:
            self.rig = Rig(self.store)
        rig = self.rig
        if self.stream is None:
            self._arrive(rig)
        elif not self.accepted:
            rig.run(submit(self.sketch))
        elif self.held or self.unacknowledged:
            self._report(rig)
        else:
            graph = rig.engine.committed.graph(self.sketch.id)
            return graph is not None and rig.engine.committed.has_ended(graph)
        self._look(rig)
        return False

    def _arrive(self, rig: Rig) -> None:
        self.stream = object()
        tokens = {**self.held, **self.unacknowledged}
        named = tuple((node_id(self.sketch.id, index), token) for token, index in tokens.items())
        rig.run(WorkerArrived(self.stream, FACTS, 10, named, draining=False))
        [welcome] = rig.outbox.of(Welcome)
        assert isinstance(welcome, Welcome)
        assert not welcome.superseded

    def _report(self, rig: Rig) -> None:
        self.unacknowledged |= self.held
        self.held = {}
        tokens = tuple(self.unacknowledged)
        rig.run(WorkerSpoke(self.stream, 2, tokens=tokens, values=[b"1"] * len(tokens)))
        [answer] = rig.outbox.of(Acknowledge)
        assert isinstance(answer, Acknowledge)
        assert not answer.superseded
        self.unacknowledged = {}

    def _look(self, rig: Rig) -> None:
        """Take what was delivered."""
        self.accepted = self.accepted or bool(rig.outbox.of(Accepted))
        for send in rig.outbox.of(Assign):
            assert isinstance(send, Assign)
            for ahead in range(send.count):
                self.held[send.token + ahead] = send.first + ahead
                self.runs.append(send.first + ahead)
        rig.outbox.sends.clear()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("crash_at", range(7))
def test_a_crash_at_any_commit_loses_nothing_and_repeats_nothing(crash_at: int, when: str) -> None:
    drama = Drama(crash_at, when)
    drama.play()
    assert sorted(drama.runs) == [0, 1, 2, 4]  # each task was received once
    assert drama.rig is not None
    records = drama.rig.engine.committed
    outcomes = [records.outcome(drama.sketch.id, index) for index in range(drama.sketch.count)]
    assert [outcome.state for outcome in outcomes if outcome] == [NodeState.SUCCESS] * drama.sketch.count


class Loop:
    """An event loop that runs nothing by itself."""

    def __init__(self) -> None:
        self.soon: list[Callable[[], None]] = []
        self.later: list[Callable[[], None]] = []

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.soon.append(callback)

    def call_later(self, _delay: float, callback: Callable[[], None]) -> Handle:
        self.later.append(callback)
        return Handle()

    def turn(self) -> None:
        soon, self.soon = self.soon, []
        for callback in soon:
            callback()


class Handle:
    """The handle of a timer."""

    def cancel(self) -> None:
        """Nothing to cancel."""


def attached(rig: Rig) -> Loop:
    loop = Loop()
    rig.engine.attach(loop)  # type: ignore[arg-type]
    loop.turn()
    loop.later.clear()
    return loop


def test_a_full_disk_holds_back_and_the_same_batch_is_tried_until_it_fits() -> None:
    rig = Rig()
    loop = attached(rig)
    rig.store._capacity = rig.store.size_bytes()  # type: ignore[misc]
    sketch = one()
    rig.engine.post(submit(sketch))
    loop.turn()
    assert rig.engine.full
    assert not rig.outbox.sends
    rig.engine.post(submit(one()))
    loop.turn()
    assert not rig.outbox.sends
    [again] = loop.later
    loop.later.clear()
    again()
    assert not rig.outbox.sends
    rig.store._capacity = 1 << 40  # type: ignore[misc]
    [again] = loop.later
    again()
    assert len(rig.outbox.of(Accepted)) == 1
    assert rig.engine.committed.graph(sketch.id) is not None
    rig.engine._free_checked = -1e9
    loop.turn()
    assert not rig.engine.full
    assert len(rig.outbox.of(Accepted)) == 2
    assert not rig.fatal


def test_a_disk_that_is_full_at_the_start_is_waited_for() -> None:
    store = MemoryStore(capacity=1)
    rig = Rig(store)
    loop = Loop()
    rig.engine.attach(loop)  # type: ignore[arg-type]
    loop.turn()
    assert rig.engine.full
    store._capacity = 1 << 40  # type: ignore[misc]
    loop.later[-1]()
    rig.engine.post(submit(one()))
    loop.turn()
    assert len(rig.outbox.of(Accepted)) == 1


def test_little_room_refuses_submits_before_the_disk_is_full_and_soon_looks_again() -> None:
    rig = Rig()
    loop = attached(rig)
    rig.store._capacity = engine_module.LOW_WATER // 2  # type: ignore[misc]
    rig.now = Now(rig.now.wall_ms, rig.now.monotonic + engine_module.SWEEP)
    rig.engine.post(submit(one()))
    loop.turn()
    assert rig.engine.full
    assert len(rig.outbox.of(Accepted)) == 1


def test_a_store_that_fails_is_the_end() -> None:
    rig = Rig()
    loop = attached(rig)

    def fail(_when: str, _batch: Batch) -> None:
        raise StoreFailed("the disk is gone")

    rig.store.failpoint = fail
    rig.engine.post(submit(one()))
    loop.turn()
    assert [str(error) for error in rig.fatal] == ["the disk is gone"]
    assert rig.engine.failed is rig.fatal[0]
    assert not rig.outbox.sends
    rig.engine.post(submit(one()))
    assert not loop.soon


def test_a_defect_of_the_core_is_the_end_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    loop = attached(rig)
    monkeypatch.setattr(rig.engine.machine, "step", _broken)
    rig.engine.post(submit(one()))
    loop.turn()
    assert isinstance(rig.fatal[0], AssertionError)


def test_the_store_is_tidied_every_second_where_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    loop = attached(rig)
    tidied = 0

    def tidy() -> None:
        nonlocal tidied
        tidied += 1
        if tidied == 2:
            raise StoreFull("no room")
        if tidied == 3:
            raise StoreFailed("the disk is gone")

    monkeypatch.setattr(rig.store, "tidy", tidy)
    rig.engine.look_after_store()
    loop.later.pop()()
    assert (tidied, rig.fatal) == (2, []), "what has no room stays where it is, durable"
    rig.engine._held_back = (Batch(), [])
    loop.later.pop()()
    assert tidied == 2, "where a batch waits for room there is none"
    rig.engine._held_back = None
    loop.later.pop()()
    assert [str(error) for error in rig.fatal] == ["the disk is gone"]


def _broken(*_: object) -> Effects:
    raise AssertionError("memory is wrong")


def test_what_is_told_is_what_is_committed() -> None:
    rig = Rig()
    rig.store.failpoint = lambda when, _batch: _crash() if when == "before" else None
    rig.engine.post(submit(one()))
    with pytest.raises(Crash):
        rig.engine.run_batch()
    assert not rig.outbox.sends
    assert rig.engine.committed.all_graphs() == []
    assert len(rig.engine.records.all_graphs()) == 1


def _crash() -> None:
    raise Crash
