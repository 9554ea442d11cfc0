"""Interrupts a coroutine from outside, at an await of its own, with an exception of one's choice.

asyncio can only cancel. What runs by ``Steering.drive`` can also be told of its soft time limit and go on. All of
this happens on the thread of the coroutine's loop; it may not know tasks, requests or workers.
"""

import asyncio
import types
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

__all__ = ["Steering"]

T = TypeVar("T")


class Steering:
    """What interrupts one coroutine, before it began or while it waits; afterwards nothing does anything.

    Attributes:
        verdict: How the coroutine counts as ended, whatever it makes of its cancellation; None: by its own end.
        ended: True once the coroutine has ended.
    """

    __slots__ = ("_abandoned", "_instead", "_task", "ended", "verdict")

    def __init__(self) -> None:
        self.verdict: BaseException | None = None
        self.ended = False
        self._task: asyncio.Task[Any] | None = None
        self._instead: BaseException | None = None
        self._abandoned = False

    def soften(self, error: BaseException) -> None:
        """Raise an exception in the coroutine, which may handle it and go on; nothing where it was cancelled.

        Args:
            error: The exception.
        """
        if not self.ended and self.verdict is None:
            self._instead = error
            self._interrupt()

    def cancel(self, verdict: BaseException) -> None:
        """Cancel the coroutine: CancelledError is raised in it. The first verdict stands.

        Args:
            verdict: What it counts as having raised.
        """
        if not self.ended and self.verdict is None:
            self.verdict, self._instead = verdict, None
            self._interrupt()

    def abandon(self) -> None:
        """Close the coroutine, after `cancel`: it may not wait for anything any more."""
        if not self.ended:
            self._abandoned = True
            self._interrupt()

    def _interrupt(self) -> None:
        if self._task is not None:
            self._task.cancel()

    @types.coroutine
    def drive(self, coroutine: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        """Await a coroutine such that it can be interrupted; once for each Steering, in an asyncio task.

        Args:
            coroutine: What to run.

        Raises:
            BaseException: What the coroutine raises.
        """
        self._task = asyncio.current_task()
        try:
            early = self.verdict or self._instead
            if early is not None:
                coroutine.close()  # it never began, and never will
                raise early
            return (yield from self._steps(coroutine))
        finally:
            self.ended = True
            self._task = None

    def _steps(self, coroutine: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
        error: BaseException | None = None
        sent: Any = None
        while True:
            try:
                awaited = coroutine.send(sent) if error is None else coroutine.throw(error)
            except StopIteration as end:
                value: T = end.value
                return value
            try:
                sent, error = (yield awaited), None
            except BaseException as raised:
                if self._abandoned or isinstance(raised, GeneratorExit):
                    coroutine.close()
                    raise
                sent, error = None, self._chosen(raised)

    def _chosen(self, raised: BaseException) -> BaseException:
        """Return what to raise in the coroutine: where it was cancelled for that, the exception that was chosen."""
        instead = self._instead
        if instead is None or not isinstance(raised, asyncio.CancelledError):
            return raised
        self._instead = None
        if self._task is not None:
            self._task.uncancel()
        return instead
