"""What a running task emits: items go to the coordinator in batches, in order, while the task goes on.

The first item leaves at once; what comes after it gathers for a moment, or until it is a full batch. A task that is
faster than the coordinator waits. It may not import grpc, protobuf or the codec; what encodes and sends does that.
"""

import heapq
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from grpcflow import errors

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.context import Context
    from grpcflow.task import Task

__all__ = ["Collected", "Emitter", "Emits", "aemit", "emit", "flushed"]

_log: Final = logging.getLogger("grpcflow.task")

#: A batch is full with so many items, or with so many bytes.
BATCH_ITEMS: Final = 500
BATCH_BYTES: Final = 1024 * 1024

#: Seconds from one batch of a task that is not full to the next.
GATHERING: Final = 0.02

#: Threads that send, for all tasks of a process; each task has one batch on its way at most.
_SENDERS: Final = 4
#: Seconds without work after which such a thread ends.
_IDLE: Final = 1.0
#: Seconds before a batch is sent again that could not be: first, and at most.
_AGAIN: Final = 0.1
_AGAIN_MOST: Final = 2.0

_Item = tuple[bytes, str]


class Emits(Protocol):
    """Takes what one call emits."""

    def emit(self, value: Any) -> None:
        """Take the next item."""

    def flush(self) -> None:
        """Return once all items are where their readers find them."""

    def has_room(self) -> bool:
        """Return True where ``emit`` would not have to wait."""
        ...

    def wait_for_room(self) -> None:
        """Return once there is room."""


def emit(task: "Task[..., Any]", value: Any) -> None:
    """Give an item to whoever reads the stream of the running call; see ``Task.emit``."""
    _emits(task).emit(value)


async def aemit(task: "Task[..., Any]", value: Any) -> None:
    """Do the same from a coroutine, whose event loop goes on where it has to wait; see ``Task.aemit``."""
    emits = _emits(task)
    if not emits.has_room():
        import asyncio

        await asyncio.to_thread(emits.wait_for_room)
    emits.emit(value)


def _emits(task: "Task[..., Any]") -> Emits:
    """Return what takes the items of the running call.

    Raises:
        RuntimeError: No worker runs this code as a task, and no eager call.
    """
    request = task.request
    emits: Emits | None = request._emits
    if emits is None:
        if not request._token:
            raise RuntimeError(
                f"{task.name} does not run as a task here, so emit() has no stream and no reader: call it with delay() "
                "or apply(), and emit in the thread or coroutine that the task runs in"
            )
        emits = request._emits = Emitter(task.app, request._node, request._token)
    return emits


def flushed(request: "Context | None", error: BaseException | None) -> BaseException | None:
    """Send what a call has emitted, at its end; return what it counts as having raised.

    Args:
        request: The request of the call; None: it never began.
        error: What its body raised; None: nothing.
    """
    emits = None if request is None else request._emits
    if emits is None:
        return error
    try:
        emits.flush()
    except errors.StaleAttempt as stale:
        return stale
    except BaseException as refused:  # noqa: BLE001 - a limit of time may be raised here too, as in the body
        if error is None:
            return refused
        if error is not refused:
            error.add_note(f"what it emitted last could not be sent: {type(refused).__name__}: {refused}")
    return error


class Collected:
    """Items of a call that runs in its caller's process: kept as they are, for whoever reads them afterwards.

    Args:
        copy: Makes of a value what would come out of the codec; None: it stays the object that it is.

    Attributes:
        items: The items.
    """

    def __init__(self, copy: Callable[[Any], Any] | None) -> None:
        self.items: list[Any] = []
        self._copy = copy
        self._number = 0

    def begin(self) -> None:
        """Begin an attempt: what an earlier one has emitted is passed over when it comes again."""
        self._number = 0

    def emit(self, value: Any) -> None:
        """Keep an item."""
        self._number += 1
        if self._number > len(self.items):
            self.items.append(value if self._copy is None else self._copy(value))

    def flush(self) -> None:
        """Do nothing: the items are there."""

    def has_room(self) -> bool:
        """Return True."""
        return True

    def wait_for_room(self) -> None:
        """Do nothing."""


class Emitter:
    """Takes the items of one attempt and has them sent.

    Args:
        app: Encodes the items, and has the connection.
        node: The 16 bytes of the node.
        token: Token of the attempt.
    """

    def __init__(self, app: "Grpcflow", node: bytes, token: int) -> None:
        self._app, self._node, self._token = app, node, token
        self._changed = threading.Condition()
        #: What gathers, and what is on its way.
        self._gathered: list[_Item] = []
        self._size = 0
        self._sending: Sequence[_Item] = ()
        #: Number of the first item that is not acknowledged.
        self._number = 0
        self._flushing = False
        self._planned = False
        self._sent_at = float("-inf")
        #: True while a thread sends, and how often in a row that failed.
        self._busy = False
        self._failures = 0
        self._error: errors.GrpcflowError | None = None

    def emit(self, value: Any) -> None:
        """Take an item; waits while two full batches are not acknowledged.

        Raises:
            SerializationError: It cannot travel.
            PayloadTooLarge: It is too large for one item.
            GrpcflowError: The coordinator refused it or an earlier one.
        """
        item = self._encoded(value)
        with self._changed:
            while self._error is None and self._is_full(len(item[0])):
                self._plan(at_once=True)
                self._changed.wait()
            if self._error is not None:
                raise self._error
            self._gathered.append(item)
            self._size += len(item[0])
            self._plan(at_once=self._is_full(0))

    def flush(self) -> None:
        """Return once all items are durable.

        Raises:
            GrpcflowError: The coordinator refused one.
        """
        with self._changed:
            self._flushing = True
            try:
                while self._error is None and (self._gathered or self._sending):
                    self._plan(at_once=True)
                    self._changed.wait()
            finally:
                self._flushing = False
            if self._error is not None:
                raise self._error

    def has_room(self) -> bool:
        """Return True where a small item would not have to wait."""
        with self._changed:
            return self._error is not None or not self._is_full(0)

    def wait_for_room(self) -> None:
        """Return once there is room."""
        with self._changed:
            while self._error is None and self._is_full(0):
                self._plan(at_once=True)
                self._changed.wait()

    # --- with the lock held -------------------------------------------------------------------------------

    def _is_full(self, more: int) -> bool:
        """Return True where one more item of this size needs another batch than the one that gathers."""
        return bool(self._gathered) and (len(self._gathered) >= BATCH_ITEMS or self._size + more > BATCH_BYTES)

    def _plan(self, *, at_once: bool) -> None:
        """Have what has gathered sent, in a moment or at once."""
        if self._sending or not self._gathered:
            return  # what is on its way plans the next batch when it has arrived
        if at_once:
            _DESK.add(0.0, self)
        elif not self._planned:
            self._planned = True
            _DESK.add(self._sent_at + GATHERING, self)

    # --- in a thread of the desk's ------------------------------------------------------------------------

    def send(self) -> None:
        """Send what has gathered, or again what could not be sent; called when it is due."""
        with self._changed:
            if self._error is not None or self._busy:
                return
            if not self._sending:
                self._sending, self._gathered, self._size, self._planned = self._gathered, [], 0, False
                self._sent_at = time.monotonic()
                self._changed.notify_all()
            if not self._sending:
                return
            self._busy = True
        try:
            self._app.connection.emit(self._node, self._token, self._number, self._sending)
        except (errors.CoordinatorUnavailable, errors.TimeoutError) as passing:
            self._try_again(passing)
        except errors.GrpcflowError as refused:
            self._settle(refused)
        except Exception as unexpected:  # noqa: BLE001 - the task must hear of it: nobody else does
            self._settle(errors.GrpcflowError(f"items could not be sent: {type(unexpected).__name__}: {unexpected}"))
        else:
            self._settle(None)

    def _settle(self, error: errors.GrpcflowError | None) -> None:
        with self._changed:
            self._number += len(self._sending)
            self._sending, self._error, self._busy, self._failures = (), error, False, 0
            if error is not None:
                self._gathered, self._size = [], 0
            self._plan(at_once=self._flushing or self._is_full(0))
            self._changed.notify_all()

    def _try_again(self, error: errors.GrpcflowError) -> None:
        """Send the batch again in a while: as its worker does, a task goes on until the coordinator is back."""
        with self._changed:
            self._busy = False
            self._failures += 1
            failures = self._failures
        if failures == 1:
            _log.warning("items of a task are sent again until the coordinator takes them: %s", error)
        _DESK.add(time.monotonic() + min(_AGAIN * 2 ** min(failures, 10), _AGAIN_MOST), self)

    def _encoded(self, value: Any) -> _Item:
        from grpcflow import codec
        from grpcflow_protos.limits import PAYLOAD_LIMIT

        content_type = codec.content_type(self._app.conf.result_serializer)
        data = codec.encode(value, content_type, path="item")
        if len(data) > PAYLOAD_LIMIT:
            raise errors.PayloadTooLarge(
                f"an item of {len(data):,} bytes was emitted; at most {PAYLOAD_LIMIT:,} are taken. Emit it in parts, "
                "or a reference to where the data is."
            )
        return data, content_type if content_type != codec.JSON else ""


class _Desk:
    """Sends for the emitters of a process, each when it is due; its threads live while there is work."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """Begin without threads, as a forked child does."""
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Emitter]] = []
        self._numbers = itertools.count()
        self._threads = self._free = 0

    def add(self, at: float, emitter: Emitter) -> None:
        """Have an emitter send at a monotonic time."""
        with self._changed:
            heapq.heappush(self._due, (at, next(self._numbers), emitter))
            if not self._free and self._threads < _SENDERS:
                self._threads += 1
                threading.Thread(target=self._run, name="grpcflow-emit", daemon=True).start()
            self._changed.notify()

    def _run(self) -> None:
        while (emitter := self._next()) is not None:
            emitter.send()

    def _next(self) -> Emitter | None:
        """Wait for an emitter that is due; None: there was no work for a while."""
        with self._changed:
            self._free += 1
            try:
                while True:
                    left = self._due[0][0] - time.monotonic() if self._due else _IDLE
                    if self._due and left <= 0:
                        return heapq.heappop(self._due)[2]
                    if not self._changed.wait(min(left, _IDLE)) and not self._due:
                        self._threads -= 1
                        return None
            finally:
                self._free -= 1


_DESK: Final = _Desk()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_DESK.renew)
