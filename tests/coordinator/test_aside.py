"""Large commits beside the event loop: nothing is told before them, none is stepped meanwhile, each end is heard."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.coordinator.support.graphs import Sketch, one
from tests.coordinator.test_engine import Outbox, Rig, attached, submit

from grpcflow_coordinator import aside as aside_module
from grpcflow_coordinator import engine as engine_module
from grpcflow_coordinator.aside import CommitThread, Done
from grpcflow_coordinator.core.effects import Accepted
from grpcflow_coordinator.core.machine import Machine
from grpcflow_coordinator.core.model import Now
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.health import Health
from grpcflow_coordinator.storage.contract import Batch, StoreFailed, StoreFull
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.storage.memory import MemoryStore
from grpcflow_protos.service_manager import ServiceManager

#: Seconds after which a test that hangs is ended.
BOUND = 20.0


class ByHand:
    """Takes every batch; the test says when it is committed, and when its end is heard."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.begun: list[tuple[Batch, Done]] = []
        self.is_closed = False

    def takes(self, batch: Batch) -> bool:
        return True

    def begin(self, batch: Batch, loop: asyncio.AbstractEventLoop, done: Done) -> None:
        assert not self.begun, "one at a time"
        self.begun.append((batch, done))

    def end(self) -> None:
        [(batch, done)] = self.begun
        self.begun.clear()
        error: Exception | None = None
        try:
            self._store.commit(batch)
        except (StoreFull, StoreFailed) as failed:
            error = failed
        done(error)

    def close(self) -> None:
        self.is_closed = True


class Beside(Rig):
    """An engine that commits all aside."""

    def __init__(self) -> None:
        super().__init__()
        self.aside = ByHand(self.store)
        self.engine._aside = self.aside


def test_what_is_committed_aside_is_told_when_it_is_durable_and_what_comes_meanwhile_is_one_batch() -> None:
    rig = Beside()
    loop = attached(rig)
    rig.engine.post(submit(one()))
    loop.turn()
    assert rig.engine.is_committing
    assert not rig.outbox.sends
    stepped = rig.engine.stepped
    for _ in range(3):
        rig.engine.post(submit(one()))
    loop.turn()
    assert rig.engine.stepped == stepped, "nothing is stepped meanwhile"
    assert rig.engine.committed.all_graphs() == []
    rig.aside.end()
    assert len(rig.outbox.of(Accepted)) == 1
    loop.turn()
    rig.aside.end()
    assert len(rig.outbox.of(Accepted)) == 4
    assert len(rig.engine.committed.all_graphs()) == 4
    loop.turn()
    assert not rig.engine.is_committing


def test_a_batch_that_goes_aside_and_finds_no_room_is_tried_until_it_fits() -> None:
    rig = Beside()
    loop = attached(rig)
    rig.store._capacity = rig.store.size_bytes()  # type: ignore[misc]
    rig.engine.post(submit(one()))
    loop.turn()
    rig.aside.end()
    assert rig.engine.full
    assert not rig.engine.is_committing
    assert not rig.outbox.sends
    rig.store._capacity = 1 << 40  # type: ignore[misc]
    loop.later[-1]()
    assert len(rig.outbox.of(Accepted)) == 1
    rig.engine.post(submit(one()))
    loop.turn()
    rig.aside.end()
    assert len(rig.outbox.of(Accepted)) == 2
    assert not rig.fatal


def test_a_batch_that_goes_aside_and_fails_is_the_end() -> None:
    rig = Beside()
    loop = attached(rig)

    def fail(_when: str, _batch: Batch) -> None:
        raise StoreFailed("the disk is gone")

    rig.store.failpoint = fail
    rig.engine.post(submit(one()))
    loop.turn()
    rig.aside.end()
    assert [str(error) for error in rig.fatal] == ["the disk is gone"]
    assert not rig.outbox.sends


def test_what_cannot_be_told_is_the_end_as_in_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Beside()
    loop = attached(rig)
    rig.engine.post(submit(one()))
    loop.turn()

    def broken(_effects: object) -> None:
        raise AssertionError("a defect")

    monkeypatch.setattr(rig.outbox, "deliver", broken)
    rig.aside.end()
    assert [str(error) for error in rig.fatal] == ["a defect"]
    assert not loop.soon


def test_the_store_is_not_tidied_while_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Beside()
    loop = attached(rig)
    tidied: list[bool] = []
    monkeypatch.setattr(rig.store, "tidy", lambda: tidied.append(rig.engine.is_committing))
    rig.engine.post(submit(one()))
    loop.turn()
    rig.engine.look_after_store()
    assert not tidied
    rig.aside.end()
    loop.later[0]()
    assert tidied == [False]


def test_who_waits_until_all_is_durable_waits_for_what_is_committed_aside() -> None:
    async def told() -> None:
        rig = Beside()
        rig.engine.attach(asyncio.get_running_loop())
        rig.engine.post(submit(one()))
        waiting = asyncio.ensure_future(rig.engine.flushed())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        late = asyncio.ensure_future(rig.engine.flushed())
        await asyncio.sleep(0)
        assert rig.engine.is_committing
        assert not waiting.done()
        rig.aside.end()
        await asyncio.wait_for(asyncio.gather(waiting, late), BOUND)
        assert len(rig.outbox.of(Accepted)) == 1
        rig.engine.detach()

    asyncio.run(told())


def test_a_disk_that_does_not_answer_is_trouble_and_no_sign_of_life() -> None:
    rig = Beside()
    loop = attached(rig)
    manager = Manager()
    health = Health({"": rig.engine}, [])

    def look() -> str:
        manager.told.clear()
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(_one_beat(health, manager))
        return health.trouble()

    rig.engine.post(submit(one()))
    loop.turn()
    assert (rig.engine.commit_seconds(), look(), manager.told) == (0.0, "", ["serving on here", "alive"])
    rig.now = Now(rig.now.wall_ms, rig.now.monotonic + 11.0)
    trouble = "the disk does not answer: a commit has waited for it for 11 s"
    assert (look(), manager.told) == (trouble, [f"{trouble} (here)"])
    rig.aside.end()
    assert (rig.engine.commit_seconds(), look(), manager.told) == (0.0, "", ["serving on here", "alive"])


class Manager(ServiceManager):
    """Remembers what it is told."""

    def __init__(self) -> None:
        super().__init__({})
        self.told: list[str] = []

    def status(self, text: str) -> None:
        self.told.append(text)

    def alive(self) -> None:
        self.told.append("alive")


async def _one_beat(health: Health, manager: Manager) -> None:
    beating = asyncio.ensure_future(health.beat(manager, "here"))
    while not manager.told:
        await asyncio.sleep(0)
    beating.cancel()
    await beating


def test_an_end_that_is_heard_after_the_engine_was_detached_tells_nobody() -> None:
    rig = Beside()
    loop = attached(rig)
    rig.engine.post(submit(one()))
    loop.turn()
    rig.engine.detach()
    assert rig.aside.is_closed
    rig.aside.end()
    assert not rig.outbox.sends
    assert not loop.soon


def test_a_batch_ends_where_its_large_values_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "BATCH_BYTES", 100_000)
    rig = Rig()
    for _ in range(10):
        rig.engine.post(submit(large(40_000)))
    rig.engine.run_batch()
    assert len(rig.outbox.of(Accepted)) == 3
    for _ in range(10):
        rig.engine.post(submit(one()))
    rig.run()
    assert len(rig.outbox.of(Accepted)) == 20


def large(size: int) -> Sketch:
    sketch = one()
    sketch.runs[0][1][0] = bytes(size)
    return sketch


# --- the thread ------------------------------------------------------------------------------------------------


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def test_few_and_large_writes_go_aside_and_others_stay() -> None:
    thread = CommitThread(lambda _: None)
    mebibyte = bytes(1 << 20)
    assert thread.takes(Batch({b"a": mebibyte}))
    assert thread.takes(Batch({b"a": mebibyte, **{b"%d" % number: b"" for number in range(63)}}))
    assert not thread.takes(Batch({b"a": mebibyte, **{b"%d" % number: b"" for number in range(64)}})), "many are small"
    assert not thread.takes(Batch({b"a": bytes(aside_module.LARGE - 2)}))
    assert thread.takes(Batch({b"a": bytes(aside_module.LARGE)}))
    assert not thread.takes(Batch(deletes={b"%d" % number for number in range(100)}))
    assert not thread.takes(Batch({b"%d" % number: mebibyte for number in range(aside_module.MANY)})), "not summed"
    thread.close()


def test_the_thread_commits_and_the_loop_goes_on_meanwhile(loop: asyncio.AbstractEventLoop) -> None:
    allowed, threads, turns = threading.Event(), [], 0

    def commit(_batch: Batch) -> None:
        threads.append(threading.current_thread().name)
        assert allowed.wait(BOUND)

    def turn() -> None:
        nonlocal turns
        turns += 1
        allowed.set() if turns == 5 else loop.call_soon(turn)

    thread = CommitThread(commit)
    ended: list[object] = []

    def done(error: Exception | None) -> None:
        ended.append(error)
        loop.stop()

    thread.begin(Batch({b"a": b"1"}), loop, done)
    loop.call_soon(turn)
    loop.call_later(BOUND, loop.stop)
    loop.run_forever()
    assert (ended, turns, threads) == ([None], 5, ["grpcflow-commit"])
    thread.close()


@pytest.mark.parametrize("error", [StoreFull("no room"), ValueError("a defect")])
def test_the_loop_is_told_what_went_wrong(loop: asyncio.AbstractEventLoop, error: Exception) -> None:
    def commit(_batch: Batch) -> None:
        raise error

    thread = CommitThread(commit)
    ended: list[object] = []

    def done(failed: Exception | None) -> None:
        ended.append(failed)
        loop.stop()

    for _ in range(2):
        thread.begin(Batch({b"a": b"1"}), loop, done)
        loop.run_forever()
    assert ended == [error, error], "and it takes the next one"
    thread.close()


def test_closing_waits_for_the_commit_under_way_and_a_loop_that_has_ended_is_not_told() -> None:
    loop = asyncio.new_event_loop()
    entered, allowed, committed = threading.Event(), threading.Event(), []

    def commit(batch: Batch) -> None:
        entered.set()
        assert allowed.wait(BOUND)
        committed.append(batch)

    thread = CommitThread(commit)
    thread.begin(Batch({b"a": b"1"}), loop, lambda _: pytest.fail("nobody is there"))
    assert entered.wait(BOUND)
    loop.close()
    opener = threading.Timer(0.05, allowed.set)
    opener.start()
    thread.close()
    assert len(committed) == 1
    thread.close()
    opener.join()


def test_a_batch_that_was_committed_is_let_go(loop: asyncio.AbstractEventLoop) -> None:
    class Watched(Batch):
        __slots__ = ("__weakref__",)

    thread = CommitThread(lambda _: None)
    batch = Watched({b"a": b"1"})
    seen = weakref.ref(batch)
    thread.begin(batch, loop, lambda _: loop.stop())
    del batch
    loop.run_forever()
    begun = time.monotonic()
    while seen() is not None and time.monotonic() < begun + BOUND:  # the thread lets go a moment after it has told
        gc.collect()
    assert seen() is None, "although the thread waits for the next one"
    thread.close()


def test_a_large_submission_is_durable_and_told_over_a_store_on_disk(tmp_path: Path) -> None:
    async def submitted() -> None:
        store = LmdbStore(tmp_path, journal=1 << 20)
        outbox = Outbox()
        fatal: list[BaseException] = []
        aside = CommitThread(store.commit)
        engine = Engine(store, Machine(), outbox, now=_now(), aside=aside, on_fatal=fatal.append)
        engine.start()
        engine.attach(asyncio.get_running_loop())
        seen = []
        for size in (100, 1 << 20, 100, 3 << 20, 1 << 20):
            engine.post(submit(large(size)))
            await asyncio.sleep(0)
            seen.append(engine.is_committing)
            await asyncio.wait_for(engine.flushed(), BOUND)
        assert seen == [False, True, False, True, True]
        assert len(outbox.of(Accepted)) == 5
        assert not fatal
        engine.detach()
        store.close()

    asyncio.run(submitted())
    with_all = LmdbStore(tmp_path)
    engine = Engine(with_all, Machine(), Outbox(), now=_now())
    assert len(engine.committed.all_graphs()) == 5
    with_all.close()


def _now() -> Callable[[], Now]:
    return lambda: Now(1_000_000, 1000.0)
