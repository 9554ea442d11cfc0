"""What a session needs of a lock and of a pause, whether threads or an event loop run it. Holds nothing itself."""

from contextlib import AbstractContextManager
from typing import Any, Protocol

__all__ = ["Lock", "Pause"]


class Lock(AbstractContextManager[Any], Protocol):
    """Guards a session, and tells that something of it has changed."""

    def notify_all(self) -> None:
        """Wake those who wait for a change."""


class Pause(Protocol):
    """What the driver waits on before it opens the next link."""

    def set(self) -> None:
        """End the pause, or the next one."""

    def clear(self) -> None:
        """Let the next pause last."""

    async def rest(self, seconds: float) -> None:
        """Wait until it is ended, or the time is over."""
