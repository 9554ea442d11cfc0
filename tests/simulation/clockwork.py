"""Simulated time: one heap of what is to happen, and processes that take their turns by it.

Nothing here waits. A process that died takes no turn any more; one that is held up (a slow disk, SIGSTOP) takes its
turns later, in their order. A process is also what the real code takes for its event loop, as far as it needs one.

May NOT know what the processes do.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from asyncio import events
from collections.abc import Callable, Generator, Iterator
from types import ModuleType
from typing import Any, Final

from grpcflow import link, retry_policy, session, submission
from grpcflow_coordinator import streams

#: Modules of the product that read the monotonic clock themselves.
_READERS: Final[tuple[ModuleType, ...]] = (link, retry_policy, session, submission, streams)
#: Seconds that pass at least between setting a timer and its end.
_RESOLUTION: Final = 1e-5


class Turn:
    """Something that is to happen once, unless it is cancelled before.

    Args:
        process: Whose turn it is.
        call: What is called.
        given: With what.
    """

    __slots__ = ("call", "given", "process")

    def __init__(self, process: Process, call: Callable[..., object], given: tuple[Any, ...]) -> None:
        self.process = process
        self.call: Callable[..., object] | None = call
        self.given = given

    def cancel(self) -> None:
        """Let it not happen."""
        self.call = None


class Clockwork:
    """The time of one world.

    Attributes:
        now: Seconds since the world began; what really passed, whatever the clocks of the processes say.
        turns: How many events there were.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.turns = 0
        self._number = 0
        #: When, what was due first of what comes at one moment, a number, and what.
        self._heap: list[tuple[float, float, int, Turn]] = []

    def at(self, when: float, process: Process, call: Callable[..., object], *given: Any) -> Turn:
        """Let something happen at a moment, or now where that is over."""
        turn, when = Turn(process, call, given), max(when, self.now)
        self._number += 1
        heapq.heappush(self._heap, (when, when, self._number, turn))
        return turn

    def run_one(self, until: float) -> bool:
        """Let the next thing happen; False where there is none before the moment, which it is then."""
        while self._heap and self._heap[0][0] <= until:
            when, due, number, turn = heapq.heappop(self._heap)
            if turn.call is None or not turn.process.is_alive:
                continue
            self.now = when
            if turn.process.held_until > when:
                # In the order in which it was due, also where the process is held up once more before it goes on.
                heapq.heappush(self._heap, (turn.process.held_until, due, number, turn))
                continue
            self.turns += 1
            turn.call(*turn.given)
            return True
        self.now = max(self.now, until)
        return False

    def monotonic(self) -> float:
        """Return the seconds, in the place of `time.monotonic`."""
        return self.now


class Process:
    """Something that lives, may be held up, and dies.

    Args:
        clockwork: The time.
        name: For people.
    """

    def __init__(self, clockwork: Clockwork, name: str) -> None:
        self.clockwork = clockwork
        self.name = name
        self.is_alive = True
        #: Until when it takes no turn.
        self.held_until = 0.0

    def hold(self, seconds: float) -> None:
        """Let it take no turn for so long; where it is held up for longer already, that stays."""
        self.held_until = max(self.held_until, self.clockwork.now + seconds)

    # What asyncio's loops are asked for by the code that runs here.

    def call_soon(self, call: Callable[..., object], *given: Any) -> Turn:
        """As of an event loop."""
        return self.clockwork.at(self.clockwork.now, self, call, *given)

    def call_later(self, seconds: float, call: Callable[..., object], *given: Any) -> Turn:
        """As of an event loop; time has a resolution, or what is a rounding error away would never come."""
        return self.clockwork.at(self.clockwork.now + max(seconds, _RESOLUTION), self, call, *given)

    def get_debug(self) -> bool:
        """As of an event loop."""
        return False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """This process, to be given where an event loop is wanted."""
        found: Any = self
        return found  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def as_loop(self) -> Iterator[None]:
        """Be the running event loop meanwhile."""
        before = events._get_running_loop()
        events._set_running_loop(self.loop)
        try:
            yield
        finally:
            events._set_running_loop(before)


@contextlib.contextmanager
def instead_of_time(clockwork: Clockwork) -> Iterator[None]:
    """Let the product read this clock meanwhile."""
    before = [module.time for module in _READERS]
    for module in _READERS:
        vars(module)["time"] = clockwork
    try:
        yield
    finally:
        for module, time in zip(_READERS, before, strict=True):
            vars(module)["time"] = time


class Resumption:
    """What a coroutine of the product waits for here, in the place of a future."""

    def __await__(self) -> Generator[Any, Any, Any]:
        """Wait until the coroutine is told to go on."""
        yield self


class Coroutine:
    """Drives one coroutine of the product by hand: it runs until it waits, and goes on when it is told to.

    Args:
        process: In whose turns it goes on.
        body: The coroutine.
    """

    def __init__(self, process: Process, body: Any) -> None:
        self._process = process
        self._body = body
        self._turn: Turn | None = None
        self._is_over = False
        self._go_on()

    def wake(self) -> None:
        """Let it go on at the next turn; what it waited for it looks up by itself."""
        if self._turn is None and not self._is_over:
            self._turn = self._process.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._turn = None
        try:
            self._body.send(None)
        except StopIteration:
            self._is_over = True
