"""The hot path. Take what waits in the inbox, step each, one commit, then release the sends.

Group commit, order and the single writer all come from this one loop; there is no lock anywhere. A
transaction runs right here, on the event loop's thread: measured, a commit of 100 writes takes 0.5 ms so,
and 1.2 to 26 ms on a thread beside a busy loop, because LMDB gives up the interpreter lock at every write.
One of few and large writes is the other way round: it mostly waits for the disk, and goes aside (see `aside`), so
that the loop receives and sends meanwhile. No batch is stepped before it has ended; what arrives forms the next one.

What happens if the process dies here: before the commit, nothing happened, and nobody was told that it did;
after it and before the sends, peers ask again (the same submission, the same held attempts) and are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from grpcflow_coordinator.aside import Aside
from grpcflow_coordinator.core.effects import Effects
from grpcflow_coordinator.core.events import Event, Tick
from grpcflow_coordinator.core.machine import Machine
from grpcflow_coordinator.core.model import Now
from grpcflow_coordinator.storage.contract import Batch, Store, StoreError, StoreFull
from grpcflow_coordinator.storage.overlay import Overlay
from grpcflow_coordinator.storage.records import Records

log = logging.getLogger(__name__)

#: Events that one batch takes at most, and writes after which it takes no more.
BATCH_EVENTS: Final = 512
BATCH_WRITES: Final = 2_000

#: Bytes of large values after which a batch takes no more events: what comes later shall not wait for all of them.
BATCH_BYTES: Final = 8 * 1024 * 1024

#: Seconds between two tries of a batch that found the disk full.
FULL_RETRY: Final = 0.5

#: Free bytes of the store below which submits are refused.
LOW_WATER: Final = 64 * 1024 * 1024

#: Seconds over which it is seen how busy the engine is, and the share of them from which on it is.
WINDOW: Final = 0.1
BUSY: Final = 0.15

#: Seconds between two looks at sessions, where any are there, and at the free space.
SWEEP: Final = 1.0


def system_now() -> Now:
    """Return the time by the system's clocks."""
    return Now(time.time_ns() // 1_000_000, time.monotonic())


class Outbox(Protocol):
    """Where effects go once they are durable."""

    def deliver(self, effects: Effects) -> None:
        """Pass a step's sends and settled nodes on, in order."""
        ...


class Engine:
    """The one writer.

    Args:
        store: where the records lie.
        machine: the core.
        outbox: where effects go.
        now: the clock.
        aside: commits what the loop should not wait for; None: all commits are its own.
        on_fatal: called once with the reason when memory can no longer be trusted to match the disk.
    """

    def __init__(
        self,
        store: Store,
        machine: Machine,
        outbox: Outbox,
        *,
        now: Callable[[], Now] = system_now,
        aside: Aside | None = None,
        on_fatal: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._store = store
        self._overlay = Overlay(store)
        self.records = Records(self._overlay)
        #: What is durable: the view of everything that is told.
        self.committed = Records(Overlay(store), self.records.large)
        self.machine = machine
        self._outbox = outbox
        self.now = now
        #: Where it tells how it stands; of a namespace one that names it.
        self.log: logging.Logger | logging.LoggerAdapter[logging.Logger] = log
        self._aside = aside
        #: Since when a batch is being committed aside; None: none is.
        self._under_way: float | None = None
        self._on_fatal = on_fatal
        self._inbox: deque[Event] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._held_back: tuple[Batch, list[Effects]] | None = None
        self._free_checked = 0.0
        self._short_of_space = False
        self.failed: BaseException | None = None
        #: Seconds of work so far, and those and the time at the begin of the window in which its share was taken last.
        self._worked = self._worked_before = self._window = 0.0
        self._share = 0.0
        #: How many events were posted, and how many stepped; and who waits for how many to be stepped and released.
        self.posted = self.stepped = 0
        self._flushing: list[tuple[int, asyncio.Future[None]]] = []

    @property
    def full(self) -> bool:
        """True where the disk has no room for new submissions."""
        return self._held_back is not None or self._short_of_space

    @property
    def rests(self) -> bool:
        """True while a batch waits for room on the disk: what is posted meanwhile is answered after it."""
        return self._is_held_back()

    @property
    def is_committing(self) -> bool:
        """True while a batch is committed aside: memory is ahead of the disk by it."""
        return self._under_way is not None

    def commit_seconds(self) -> float:
        """Return for how long a batch is being committed aside; 0 where none is."""
        return 0.0 if self._under_way is None else self.now().monotonic - self._under_way

    def is_busy(self) -> bool:
        """Return whether it worked for a good part of the last moments: there are tasks on their way, and many."""
        now = time.perf_counter()
        if now - self._window >= WINDOW:
            self._share = (self._worked - self._worked_before) / (now - self._window)
            self._window, self._worked_before = now, self._worked
        return self._share >= BUSY

    def start(self) -> None:
        """Recover from the records and commit the new epoch; then `post` may be called."""
        effects = self.machine.start(self.records, self.now())
        self._commit([effects])

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run batches and timers on this event loop from now on."""
        self._loop = loop
        if self._held_back is not None:
            loop.call_later(FULL_RETRY, self._try_again)  # the disk was full at the start already
        self._schedule()

    def detach(self) -> None:
        """Run nothing any more; what is in the inbox was acknowledged to nobody. Waits for a commit under way."""
        self._loop = None
        if self._aside is not None:
            self._aside.close()
        if self._timer is not None:
            self._timer.cancel()

    def post(self, event: Event) -> None:
        """Put an event into the inbox; to be called on the event loop's thread."""
        self._inbox.append(event)
        self.posted += 1
        self._schedule()

    def hear(self, stream: object) -> bool:
        """Note that a worker's stream gave a sign of life; False where that takes a step: post it then."""
        return self.machine.hear(stream, self.now())

    async def flushed(self) -> None:
        """Wait until all that was posted is durable and told."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._flushing.append((self.posted, future))
        self._schedule()
        await future

    def _schedule(self) -> None:
        if not self._scheduled and self._loop is not None and self.failed is None:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """One round of the loop; what goes wrong here is fatal, for memory may be ahead of the disk."""
        self._scheduled = False
        if self._waits_for_disk() or self._loop is None:
            return
        began = time.perf_counter()
        try:
            more = self.run_batch()
        except Exception as error:  # noqa: BLE001  # whatever it is, memory can no longer be trusted
            self._fail(error)
            return
        self._worked += time.perf_counter() - began
        if self._waits_for_disk():
            return  # the end of the commit, or the next try, goes on from here
        if self._inbox or more:
            self._schedule()
        else:
            self._sleep()

    def run_batch(self) -> bool:
        """Step what waits, commit once, release the sends; True where there is more to do at once."""
        now = self.now()
        gathered: list[Effects] = []
        for _ in range(min(len(self._inbox), BATCH_EVENTS)):
            gathered.append(self.machine.step(self._inbox.popleft(), self.records, now))
            self.stepped += 1
            if self._overlay.size() >= BATCH_WRITES or self._overlay.large_bytes() >= BATCH_BYTES:
                break
        tick = self.machine.step(Tick(), self.records, now)
        gathered.append(tick)
        self._watch_space(now)
        self._commit(gathered)
        return tick.again

    def _commit(self, gathered: list[Effects]) -> None:
        if self._overlay.dirty:
            batch = self._overlay.seal()
            if self._loop is not None and self._aside is not None and self._aside.takes(batch):
                self._under_way = self.now().monotonic
                self._aside.begin(batch, self._loop, partial(self._committed_aside, batch, gathered))
                return
            try:
                self._store.commit(batch)
            except StoreFull as error:
                self._hold_back(batch, gathered, error)
                return
            self._overlay.settled()
        self._release(gathered)

    def _committed_aside(self, batch: Batch, gathered: list[Effects], error: Exception | None) -> None:
        """Go on where a batch that was committed aside is durable, or found no room."""
        self._under_way = None
        if self._loop is None or self.failed is not None:
            return
        if isinstance(error, StoreFull):
            self._hold_back(batch, gathered, error)
        elif error is not None:
            self._fail(error)
        else:
            self._overlay.settled()
            try:
                self._release(gathered)
            except Exception as defect:  # noqa: BLE001  # as in a turn: what was told is not known any more
                self._fail(defect)
                return
            self._schedule()

    def _release(self, gathered: list[Effects]) -> None:
        for effects in gathered:
            self._outbox.deliver(effects)
        if self._flushing:
            for _, future in [one for one in self._flushing if one[0] <= self.stepped and not one[1].done()]:
                future.set_result(None)
            self._flushing = [one for one in self._flushing if not one[1].done()]

    def _hold_back(self, batch: Batch, gathered: list[Effects], error: StoreFull) -> None:
        """Keep a batch that found no room; nothing is told before it is durable."""
        self.log.error("the disk is full, and work waits until there is room: %s", error)
        self._held_back = (batch, gathered)
        if self._loop is not None:
            self._loop.call_later(FULL_RETRY, self._try_again)

    def _is_held_back(self) -> bool:
        return self._held_back is not None

    def _waits_for_disk(self) -> bool:
        return self._under_way is not None or self._held_back is not None

    def _try_again(self) -> None:
        if self._held_back is None or self._loop is None:
            return
        batch, gathered = self._held_back
        try:
            self._store.commit(batch)
        except StoreFull:
            self._loop.call_later(FULL_RETRY, self._try_again)
            return
        except StoreError as error:
            self._fail(error)
            return
        self.log.warning("the disk has room again, and work goes on")
        self._held_back = None
        self._overlay.settled()
        self._release(gathered)
        self._schedule()

    def look_after_store(self) -> None:
        """Look after the store every second from now on, for the submit that comes after an hour of nothing too."""
        if self._loop is None or self.failed is not None:
            return
        self._loop.call_later(SWEEP, self.look_after_store)
        try:
            self._tidy()
            self._watch_space(self.now())
        except StoreError as error:
            self._fail(error)

    def _tidy(self) -> None:
        """Let the store do what commits have left for later; where there is no room, later still."""
        if not self._waits_for_disk():
            with contextlib.suppress(StoreFull):  # what is left is durable, and who watches the space says so
                self._store.tidy()

    def _watch_space(self, now: Now) -> None:
        """Look at the free space now and then."""
        if now.monotonic - self._free_checked < SWEEP:
            return
        self._free_checked = now.monotonic
        free = self._store.free_bytes()
        if (free < LOW_WATER) is not self._short_of_space:
            self._short_of_space = not self._short_of_space
            state = "submits are refused until there is more" if self._short_of_space else "submits are taken again"
            self.log.warning("%d MiB are free on the disk, and %d are to be: %s", free >> 20, LOW_WATER >> 20, state)

    def _sleep(self) -> None:
        """Set the timer of the next tick."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._loop is None:
            return
        wake = self.machine.wake()
        now = self.now()
        delays = [SWEEP if self._short_of_space else 60.0]
        if wake.wall_ms is not None:
            delays.append((wake.wall_ms - now.wall_ms) / 1000)
        if wake.monotonic is not None:
            delays.append(wake.monotonic - now.monotonic)
        self._timer = self._loop.call_later(max(0.001, min(delays)), self._schedule)

    def _fail(self, error: BaseException) -> None:
        """Stop for good: recovery from the disk is the only state that can be trusted now."""
        self.failed = error
        self.log.critical("the engine stops, and a restart recovers from the disk: %s", error, exc_info=error)
        if self._on_fatal is not None:
            self._on_fatal(error)
