"""Reads an answer that is a stream, of items or of events, for a thread: another thread reads ahead.

So whoever takes the messages holds nothing of grpc's, and neither a fork nor a wait with a limit is held up by it.
"""

import os
import threading
import time
from collections import deque
from typing import Any, Final

import grpc

from grpcflow import errors, statuses
from grpcflow.blocking import run_here
from grpcflow.items import OpenReader, Reader
from grpcflow.link import Link
from grpcflow.threaded import ThreadedSession

__all__ = ["ThreadReader"]

#: Messages that are read ahead of whoever takes them; each holds a quarter of a MiB, or one item, or 200 events.
_AHEAD: Final = 4
#: Seconds that a coordinator has to be reached before the reader is told.
_REACH: Final = 10.0
#: Seconds between two looks of a full reader at whether it is still wanted.
_LOOK: Final = 0.25


class ThreadReader(Reader):
    """Reads one answer that is a stream, a few messages ahead of whoever takes them.

    Args:
        session: Lends the link.
        ask: Asks for it, on a channel.
    """

    def __init__(self, session: ThreadedSession, ask: OpenReader) -> None:
        self._session, self._ask = session, ask
        self._messages: deque[Any] = deque()
        self._changed = threading.Condition()
        self._call: Any = None
        self._over = self._stopped = False
        self._process = os.getpid()
        threading.Thread(target=self._run, name="grpcflow-reading", daemon=True).start()

    async def next(self, deadline: float | None) -> Any:
        """Return the next message; None where the answer has ended, or the deadline has come."""
        while self._process == os.getpid():  # else it was forked, and the thread is the parent's
            pause = self._session.look_after_link()
            left = pause if deadline is None else min(pause, deadline - time.monotonic())
            with self._changed:
                if left <= 0:
                    return None
                if not (self._messages or self._over):
                    self._changed.wait(left)
                if self._messages:
                    self._changed.notify_all()
                    return self._messages.popleft()
                if self._over:
                    break
        self.ended = True
        return None

    async def close(self) -> None:
        """Let the thread end; what is on its way is thrown away."""
        if self._process == os.getpid():
            with self._changed:
                self._stopped = True
                if self._call is not None:
                    self._call.cancel()
                self._changed.notify_all()

    # --- the thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            run_here(self._read_all())
        except errors.GrpcflowError as error:  # no link could be had
            self._end(error if self._session.is_closed else None)

    async def _read_all(self) -> None:
        async with self._session.lend(time.monotonic() + _REACH) as link:
            error: errors.GrpcflowError | None = None
            try:
                self._read(link)
            except grpc.RpcError as failed:
                error = None if statuses.is_passing(failed) else statuses.error_of_call(failed)
                failed.with_traceback(None)  # which would keep the call, as that of a link's stream
            except ValueError:
                # What grpc raises where the channel was closed between the loan and the call.
                if not link.is_closed:
                    raise
            finally:
                # Before the link is given back: who forks waits for that, and nothing of grpc's may be left here then.
                self._end(error)

    def _read(self, link: Link) -> None:
        call = self._ask(link.channel)
        with self._changed:
            self._call = call
            if self._stopped:
                call.cancel()
        for message in call:
            with self._changed:
                self._messages.append(message)
                self._changed.notify_all()
                while len(self._messages) >= _AHEAD and not (self._stopped or link.is_closed or link.fault):
                    self._changed.wait(_LOOK)
                if self._stopped:
                    return
        self.complete = True

    def _end(self, error: errors.GrpcflowError | None) -> None:
        with self._changed:
            self.error, self._over, self._call = error, True, None
            self._changed.notify_all()
