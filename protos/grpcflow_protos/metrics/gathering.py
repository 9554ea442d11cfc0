"""Has figures gathered where they are: on the event loop, in turns, for a thread that waits."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from grpcflow_protos.metrics.figures import Figures

#: Seconds that who asks waits for the loop, which is less than the 10 that Prometheus waits.
PATIENCE: Final = 8.0

#: Seconds of work after which others on the loop have their turn.
SLICE: Final = 0.002


class Unavailable(Exception):
    """The figures cannot be had at the moment; the message says why."""


def gathered(loop: asyncio.AbstractEventLoop, gather: Callable[[], Coroutine[Any, Any, Figures]]) -> Figures:
    """Wait for what a coroutine gathers on an event loop; to be called on another thread.

    Args:
        loop: where it runs.
        gather: makes the coroutine.

    Raises:
        Unavailable: the loop ends, or does not come to it.
    """
    coroutine = gather()
    try:
        future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    except RuntimeError as error:
        coroutine.close()
        raise Unavailable("it stops: ask the next one") from error
    try:
        return future.result(PATIENCE)
    except concurrent.futures.CancelledError as error:
        raise Unavailable("it stops: ask the next one") from error
    except TimeoutError as error:
        future.cancel()
        raise Unavailable(f"its event loop had no time for {PATIENCE:g} s: ask again") from error


class Breath:
    """Lets others have their turn on the loop, now and then."""

    def __init__(self) -> None:
        self._began = time.perf_counter()

    async def take(self) -> None:
        """Go on at once, or behind all others where this has worked for `SLICE` seconds."""
        if time.perf_counter() - self._began >= SLICE:
            await asyncio.sleep(0)
            self._began = time.perf_counter()
