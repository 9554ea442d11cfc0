"""Lets each client ask so much at once and no more; what is beyond waits for its turn, first come first served.

While tasks keep the coordinator busy, all clients together get so many turns a second and no more: a burst of questions
is not to cost the tasks their pace.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from grpcflow_coordinator.errors import Refusal

#: Questions and commands of one client that are under way at once.
AT_ONCE: Final = 8

#: How many more of one client may wait.
WAITING: Final = 20_000

#: Seconds between two turns while tasks keep the coordinator busy, and how many may be had at once after a pause.
GAP: Final = 0.025
SAVED: Final = 4


class Crowd:
    """The turns of all clients.

    Args:
        at_once: how many requests of one client are carried out at once.
        waiting: how many more of it may wait.
        is_busy: says whether tasks keep the coordinator busy.
    """

    def __init__(
        self, at_once: int = AT_ONCE, waiting: int = WAITING, *, is_busy: Callable[[], bool] = lambda: False
    ) -> None:
        self._at_once, self._waiting, self._is_busy = at_once, waiting, is_busy
        #: When the next turn is due while it is busy, by the loop's clock.
        self._next = 0.0
        #: When the next look is due, likewise.
        self._looks_from = 0.0
        #: By client: its turns, and how many have one or wait for one.
        self._clients: dict[str, tuple[asyncio.Semaphore, list[int]]] = {}

    @asynccontextmanager
    async def turn(self, client: str) -> AsyncIterator[None]:
        """Wait for a turn and hold it.

        Args:
            client: who asks.

        Raises:
            Refusal: too many of its requests wait already.
        """
        turns, count = self._clients.setdefault(client, (asyncio.Semaphore(self._at_once), [0]))
        if count[0] >= self._at_once + self._waiting:
            text = f"{count[0]} questions and commands of this client wait already: wait for their answers first"
            raise Refusal("TOO_MANY_REQUESTS", text)
        count[0] += 1
        try:
            async with turns:
                await self._pace()
                yield
        finally:
            count[0] -= 1
            if not count[0]:
                self._clients.pop(client, None)

    @asynccontextmanager
    async def look(self, client: str) -> AsyncIterator[None]:
        """Hold a turn for something that is read at one go; all such together take half of the time at most.

        Args:
            client: who asks.

        Raises:
            Refusal: as for `turn`.
        """
        async with self.turn(client):
            loop = asyncio.get_running_loop()
            while (rest := self._looks_from - loop.time()) > 0:  # noqa: ASYNC110  # a time that others put off
                await asyncio.sleep(rest)
            began = loop.time()
            try:
                yield
            finally:
                ended = loop.time()
                self._looks_from = ended + (ended - began)

    async def _pace(self) -> None:
        """Wait until a turn is due, while there is something more urgent to do."""
        if not self._is_busy():
            return
        now = asyncio.get_running_loop().time()
        due = max(self._next, now - GAP * SAVED)
        self._next = due + GAP
        if due > now:
            await asyncio.sleep(due - now)
