"""The result of one call.

Nothing polls: waiting is a watch on the connection's stream.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from grpcflow import state
from grpcflow.result.base import EXCEPTION_STATES, READY_STATES, Result

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.connection import Settled
    from grpcflow.result.group import GroupResult

__all__ = ["AsyncResult"]

R = TypeVar("R")


class AsyncResult(Result, Generic[R]):
    """The result of one call.

    Args:
        id: Id of the call.
        app: The app whose coordinator knows it; None: the current one.
        parent: The result of what ran before it.

    Attributes:
        id: Id of the call.
        parent: The result of what ran before it in its chain; None for the first step.
    """

    def __init__(
        self,
        id: str,
        *,
        app: "Grpcflow | None" = None,
        parent: "AsyncResult[Any] | GroupResult | None" = None,
    ) -> None:
        super().__init__(id, app=app, parent=parent)
        self._settled: Settled | None = None
        self._children: list[AsyncResult[Any] | GroupResult] | None = None

    # --- waiting ------------------------------------------------------------------------------------------

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        *,
        interval: float | None = None,
        callback: Callable[[str, Any], Any] | None = None,
        disable_sync_subtasks: bool = True,
    ) -> R:
        """Wait for the value and return it.

        Args:
            timeout: Seconds to wait; None: without limit (a lost connection still ends it with an error).
            propagate: True: raise the exception of a call that failed. False: return it.
            interval: Taken for the sake of code written for Celery; nothing polls.
            callback: Called with the id and the value.
            disable_sync_subtasks: True: refuse to wait inside a task.

        Raises:
            TimeoutError: The call has not ended in time; it goes on.
            RuntimeError: This is called inside a task.
            CoordinatorUnavailable: The coordinator could not be reached.
            Exception: What the task raised, or ``RemoteError`` where that cannot be rebuilt here.
        """
        if disable_sync_subtasks:
            state.check_join_allowed()
        settled = self._settled
        if settled is None:
            settled = self._settled = self._connection.wait([self._key], timeout=timeout, on_result=None)[self._key]
        value = self._value_of(settled)
        if propagate and settled.state in EXCEPTION_STATES:
            raise value
        if callback is not None:
            callback(self.id, value)
        return cast("R", value)

    wait = get

    def get_leaf(self) -> Any:
        """Wait for this call and all that was linked to it; return the value of the last one."""
        value: Any = None
        waiting: list[AsyncResult[Any] | GroupResult] = [self]
        while waiting:
            current = waiting.pop(0)
            value = current.get()
            waiting.extend(current.children)
        return value

    # --- where it stands ----------------------------------------------------------------------------------

    def _look(self) -> "Settled | None":
        """Return where the call stands now; None where the coordinator does not know it."""
        if self._settled is not None:
            return self._settled
        found = self._connection.lookup([self._key])[0]
        if found is not None and found.state in READY_STATES:
            self._settled = found
        return found

    @property
    def state(self) -> str:
        """PENDING, RECEIVED, STARTED, RETRY, SUCCESS, FAILURE, REVOKED, IGNORED or REJECTED.

        PENDING also stands for a call that the coordinator does not know; see ``exists``.
        """
        found = self._look()
        return "PENDING" if found is None else found.state

    @property
    def status(self) -> str:
        """The same as ``state``."""
        return self.state

    def exists(self) -> bool:
        """Return True where the coordinator knows the call."""
        return self._look() is not None

    def ready(self) -> bool:
        """Return True where the call has ended, well or not."""
        return self.state in READY_STATES

    def successful(self) -> bool:
        """Return True where the call has ended with a value."""
        return self.state == "SUCCESS"

    def failed(self) -> bool:
        """Return True where the call has ended with an exception."""
        return self.state == "FAILURE"

    @property
    def result(self) -> Any:
        """The value, or the exception it ended with; None before the end.

        While it waits for another attempt it is the exception that made it ask for one.
        """
        from grpcflow import failures

        found = self._look()
        if found is None:
            return None
        if found.state in READY_STATES:
            return self._value_of(found)
        return None if found.failure is None else failures.rebuild(found.failure, self.app.conf.exception_modules)

    @property
    def info(self) -> Any:
        """The same as ``result``."""
        return self.result

    @property
    def traceback(self) -> str | None:
        """The traceback of the exception, as text from the worker; None where there is none."""
        found = self._look()
        return found.failure.traceback if found is not None and found.failure is not None else None

    @property
    def date_done(self) -> datetime | None:
        """When the call ended, in UTC."""
        found = self._look()
        return None if found is None else found.settled_at

    @property
    def worker(self) -> str | None:
        """Name of the worker that ran it; None before the end, or where none did."""
        found = self._look()
        return (found.worker or None) if found is not None else None

    @property
    def retries(self) -> int:
        """How often it was retried."""
        found = self._look()
        return 0 if found is None else found.retries

    @property
    def ignored(self) -> bool:
        """True where the call ended without a value because it asked for that."""
        return self.state == "IGNORED"

    @property
    def children(self) -> "list[AsyncResult[Any] | GroupResult]":
        """Results of what was linked to the call, in that order; known where the call was submitted."""
        if self._children is None:
            callbacks = self._outcome.callbacks if self._outcome is not None else []
            self._children = [self._result_of(callback) for callback in callbacks]
        return self._children

    # --- what can be done with it -------------------------------------------------------------------------

    def revoke(self, terminate: bool = False, signal: str | None = None) -> None:
        """Give the call up, for good.

        Args:
            terminate: True: stop it where it runs. Default False.
            signal: Signal for the process it runs in; None: SIGTERM.
        """
        self._revoke([self._key], terminate, signal)

    def maybe_throw(self, propagate: bool = True) -> Any:
        """Return the value where the call has ended, raise where it failed (with ``propagate``); never wait."""
        found = self._look()
        if found is None or found.state not in READY_STATES:
            return None
        value = self._value_of(found)
        if propagate and found.state in EXCEPTION_STATES:
            raise value
        return value

    def as_tuple(self) -> tuple[Any, Any]:
        """Return its id and those of its parents as nested tuples, for ``result_from_tuple``."""
        from grpcflow.result.tree import tuple_of

        return tuple_of(self)
