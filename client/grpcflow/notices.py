"""Calls that are made when nodes have settled, without anybody who waits: one thread for all of a session's.

Knows neither results nor the wire. The thread lives while anything is waited for, and looks after the link
meanwhile. After a fork only the parent goes on with what was asked before.
"""

import logging
import os
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final

from grpcflow.errors import CoordinatorUnavailable
from grpcflow.session import Session
from grpcflow.waiting import NodesWaiter

__all__ = ["Notices"]

_log: Final = logging.getLogger("grpcflow.connection")

#: Seconds between two looks at a session that was closed.
_CLOSED_LOOK: Final = 0.5

#: What is called at the end, with the error that kept the results from being known.
Call = Callable[[Exception | None], None]


class Notices:
    """Calls functions once their nodes have settled.

    Args:
        session: Watches the nodes.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._begin()

    def _begin(self) -> None:
        """Set everything that a new process starts without."""
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._open: dict[NodesWaiter, Call] = {}
        self._ended: SimpleQueue[NodesWaiter] = SimpleQueue()

    def add(self, waiter: NodesWaiter, call: Call) -> None:
        """Have ``call`` called once the waiter is done.

        Raises:
            CoordinatorUnavailable: The connection is closed.
        """
        if self._process != os.getpid():
            self._begin()  # this one was forked: the thread, and what it waits for, are the parent's
        with self._lock:
            waiter.wake = _Bell(waiter, self._ended)
            if waiter.done:
                self._ended.put(waiter)
            else:
                self._session.begin_watch(waiter)
            self._open[waiter] = call
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="grpcflow-notices", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                waiter = self._ended.get(timeout=self._look())
            except Empty:
                continue
            with self._lock:
                call = self._open.pop(waiter, None)
            if call is not None:
                self._session.end_watch(waiter)
                _call(call, waiter.error)
            with self._lock:
                if not self._open and self._ended.empty():
                    self._thread = None
                    return

    def _look(self) -> float:
        """Look after the link and return the seconds until the next look."""
        try:
            return self._session.look_after_link()
        except CoordinatorUnavailable:
            return _CLOSED_LOOK  # it was closed, and whoever closes it tells every waiter


class _Bell(SimpleQueue[object]):
    """Stands for a waiter's queue, and rings for all of them in one."""

    def __init__(self, waiter: NodesWaiter, ended: SimpleQueue[NodesWaiter]) -> None:
        super().__init__()
        self._waiter, self._ended = waiter, ended

    def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
        """Say that the waiter is done."""
        self._ended.put(self._waiter)


def _call(call: Call, error: Exception | None) -> None:
    """Make one call; what goes wrong in it must not keep the others from being made."""
    try:
        call(error)
    except Exception:  # noqa: BLE001 - it is the user's code, and there is nobody above it to be told
        _log.exception("a function that was to be called when results are there failed")
