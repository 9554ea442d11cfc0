"""What results of this process have for coroutines: nothing is waited for, and all is as their other methods say."""

from collections.abc import AsyncGenerator
from typing import Any

from grpcflow.log_model import LogLine

__all__ = ["AwaitedEager", "AwaitedEagerCall", "AwaitedEagerGroup"]


class AwaitedEager:
    """What a call and a group that ran in this process have in common."""

    # What these are mixed into has the methods that they call; no checker can be told.

    async def _waited(self: Any, timeout: float | None, propagate: bool, *args: Any, **options: Any) -> Any:
        callback = args[0] if args else None
        return self.get(timeout, propagate, callback=callback, disable_sync_subtasks=False)

    async def _state_now(self: Any, **_options: Any) -> Any:
        return self.state

    async def arevoke(self: Any, *_args: Any, **_options: Any) -> None:
        """Do what ``revoke`` does."""
        self.revoke()

    async def aforget(self) -> None:
        """Do nothing: there is no record of it but this object."""


class AwaitedEagerCall(AwaitedEager):
    """What a call that ran in this process has beside."""

    async def aresult(self: Any) -> Any:
        """Return the value, or the exception it ended with."""
        return self.result

    async def aexists(self) -> bool:
        """Return True."""
        return True

    def astream(self: Any, *args: Any, **options: Any) -> AsyncGenerator[Any, None]:
        """Yield what the call has emitted; parameters and errors as in ``stream``."""
        return _each(self.stream(*args, **options))

    def alogs(self: Any, **options: Any) -> AsyncGenerator[LogLine, None]:
        """Yield nothing, as ``logs``."""
        return _each(self.logs(**options))


class AwaitedEagerGroup(AwaitedEager):
    """What a group that ran in this process has beside."""

    async def aiter(self: Any, timeout: float | None = None) -> AsyncGenerator[Any, None]:
        """Yield the results of the members, in their order; ``timeout`` is of no effect."""
        for member in self.results:
            yield member


async def _each(items: Any) -> AsyncGenerator[Any, None]:
    for item in items:
        yield item
