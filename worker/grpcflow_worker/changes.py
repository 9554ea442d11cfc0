"""Whether the files of the user have changed since the worker started; what watches them is given.

It may NOT know files, nor end or start a worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

#: Returns once something has changed.
Changed = Callable[[], Awaitable[None]]

_log = logging.getLogger("grpcflow.worker")


class Changes:
    """The first change of files in the life of a worker.

    Args:
        changed: returns once there was one; None: nobody watches.
    """

    def __init__(self, changed: Changed | None) -> None:
        self._changed = changed
        self._watching: asyncio.Future[None] | None = None

    @property
    def watched(self) -> bool:
        """True where somebody watches."""
        return self._changed is not None

    def begin(self) -> None:
        """Watch from now on."""
        if self._changed is not None:
            self._watching = asyncio.ensure_future(self._changed())

    async def come(self) -> bool:
        """Wait for it; True once it has come, False where none will be seen, at once or when the watching fails."""
        if self._watching is None:
            return False
        await asyncio.wait((self._watching,))
        error = self._watching.exception()
        if error is not None:
            _log.error("the files cannot be watched any more: %s; stop the worker and start it again", error)
        return error is None

    async def close(self) -> None:
        """Watch no longer."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
