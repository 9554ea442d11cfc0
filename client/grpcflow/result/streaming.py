"""The stream of items that a task emits, as its result gives it to a reader. Nothing polls."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any

from grpcflow import state
from grpcflow.blocking import each_here
from grpcflow.result.base import PROPAGATE_STATES, Result

__all__ = ["Streamed"]


class Streamed(Result):
    """The part of ``AsyncResult`` about what the task emits."""

    def stream(self, timeout: float | None = None, propagate: bool = True, *, first: int = 0) -> Iterator[Any]:
        """Yield the items that the task emits, those to come included, each once and in order; ends with the call.

        Any number of readers may read, at any time and at their own pace; each gets all items. Where the connection
        breaks, the reader goes on with the item that it lacks. The stream of a task that emits nothing just ends.

        Args:
            timeout: Seconds until the call must have ended; None: without limit.
            propagate: True: behind the last item, raise the exception of a call that failed. False: just end.
            first: Number of the first item wanted, counted from 0.

        Raises:
            TimeoutError: The call has not ended in time; it goes on, and says from which item on to read.
            NotFound: The coordinator does not know the call, or no longer.
            RuntimeError: This is called inside a task.
            ValueError: ``first`` is below 0.
            CoordinatorUnavailable: The connection was closed.
            Exception: What the task raised, or ``RemoteError`` where that cannot be rebuilt here.
        """
        return each_here(self._checked(timeout, propagate, first, on_loop=False))

    def astream(
        self, timeout: float | None = None, propagate: bool = True, *, first: int = 0
    ) -> AsyncGenerator[Any, None]:
        """Yield on the running event loop what ``stream`` does; parameters and errors are the same."""
        return self._checked(timeout, propagate, first, on_loop=True)

    def _checked(
        self, timeout: float | None, propagate: bool, first: int, *, on_loop: bool
    ) -> AsyncGenerator[Any, None]:
        """Return the stream, or refuse it at once."""
        state.check_join_allowed()
        if first < 0:
            raise ValueError(f"first is {first}: items are counted from 0")
        return self._streamed(timeout, propagate, first, on_loop)

    async def _streamed(
        self, timeout: float | None, propagate: bool, first: int, on_loop: bool
    ) -> AsyncGenerator[Any, None]:
        from grpcflow import codec

        accept = self.app.conf.accepted_values
        items = self._exchange(on_loop).aread_items(self._key, first=first, timeout=timeout)
        async with aclosing(items) as coming:
            async for one in coming:
                if isinstance(one, tuple):
                    yield codec.decode(*one, accept=accept)
                elif propagate and one.state in PROPAGATE_STATES:
                    raise self._value_of(one)
