"""The result of one call.

Nothing polls: waiting is a watch on the connection's stream.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from grpcflow import ids, state
from grpcflow.blocking import run_here
from grpcflow.errors import IncompleteStream
from grpcflow.result.awaited import AwaitedResult
from grpcflow.result.base import EXCEPTION_STATES, PROPAGATE_STATES, READY_STATES
from grpcflow.type_parameters import R_co

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.connection import Settled
    from grpcflow.result.dependency_graph import DependencyGraph, GraphOfResult
    from grpcflow.result.group import GroupResult
    from grpcflow_protos.v1 import value_pb2

__all__ = ["AsyncResult"]


class AsyncResult(AwaitedResult[R_co]):
    """The result of one call.

    Args:
        id: Id of the call.
        backend: Taken for the sake of Celery's order; must be None.
        task_name: Name of the task, for ``name`` where the coordinator does not know the call.
        app: The app whose coordinator knows it; None: the current one.
        parent: The result of what ran before it.

    Raises:
        ValueError: A backend is given: results are the coordinator's.

    Attributes:
        id: Id of the call.
        parent: The result of what ran before it in its chain; None for the first step.
    """

    # What most results never have an own one of.
    _task_name: str | None = None
    _settled: "Settled | None" = None
    _children: "list[AsyncResult[Any] | GroupResult] | None" = None
    _ignored: bool | None = None
    _details: "value_pb2.CallDetails | None" = None

    def __init__(
        self,
        id: str,
        backend: None = None,
        task_name: str | None = None,
        app: "Grpcflow | None" = None,
        parent: "AsyncResult[Any] | GroupResult | None" = None,
    ) -> None:
        if backend is not None:
            raise ValueError("there are no result backends: pass app=, whose coordinator keeps the results")
        super().__init__(id, app=app, parent=parent)
        self._task_name = task_name

    # --- waiting ------------------------------------------------------------------------------------------

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Callable[[dict[str, Any]], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
        EXCEPTION_STATES: Collection[str] = EXCEPTION_STATES,  # noqa: N803 - Celery's name
        PROPAGATE_STATES: Collection[str] = PROPAGATE_STATES,  # noqa: N803 - Celery's name
        *,
        wait_for_submit: bool = False,
    ) -> R_co:
        """Wait for the value and return it. Nothing polls: what ``on_message`` is told comes by push, too.

        Args:
            timeout: Seconds to wait; None: without limit (a lost connection still ends it with an error).
            propagate: True: raise the exception of a call that failed. False: return it.
            interval: Seconds between two calls of ``on_interval``.
            no_ack: Taken for the sake of code written for Celery, as ``EXCEPTION_STATES``.
            follow_parents: Taken likewise: an error of an earlier step is that of all later ones.
            callback: Called with the id and the value.
            on_message: Called with a mapping (``task_id``, ``status``, ``result``, ...) for each state that the task
                gives itself, as it comes, for each retry, and for the end. Where it takes longer than the task
                does, it gets the newest state, with the number of those that it missed as ``skipped``.
            on_interval: Called once in each interval while it waits.
            disable_sync_subtasks: True: refuse to wait inside a task.
            EXCEPTION_STATES: See ``no_ack``.
            PROPAGATE_STATES: States whose exception is raised.
            wait_for_submit: True: wait also where nobody has submitted the call yet. Default False.

        Raises:
            TimeoutError: The call has not ended in time; it goes on.
            NotFound: The coordinator does not know the call, or no longer.
            RuntimeError: This is called inside a task.
            CoordinatorUnavailable: The coordinator could not be reached.
            Exception: What the task raised, or ``RemoteError`` where that cannot be rebuilt here.
        """
        if disable_sync_subtasks:
            state.check_join_allowed()
        waited = self._waited(
            timeout,
            propagate,
            callback,
            on_message=on_message,
            on_interval=on_interval,
            interval=interval,
            wait_for_submit=wait_for_submit,
            on_loop=False,
        )
        return cast("R_co", run_here(waited))

    wait = get

    def iterdeps(
        self, intermediate: bool = False
    ) -> "Iterator[tuple[AsyncResult[Any] | GroupResult | None, AsyncResult[Any] | GroupResult]]":
        """Yield this result and all below it, each with the one above it; the nearest first.

        Args:
            intermediate: True: what has not ended is passed over with what is below it. Default False.

        Raises:
            IncompleteStream: One had not ended when the walk went on from it.
        """
        waiting: deque[tuple[AsyncResult[Any] | GroupResult | None, AsyncResult[Any] | GroupResult]]
        waiting = deque([(None, self)])
        while waiting:
            above, node = waiting.popleft()
            yield above, node
            if node.ready():
                waiting.extend((node, child) for child in node.children)
            elif not intermediate:
                message = f"{node.id} has not ended: wait for it, or walk with intermediate=True"
                raise IncompleteStream(message)

    def collect(
        self, intermediate: bool = False, **options: Any
    ) -> "Iterator[tuple[AsyncResult[Any] | GroupResult, Any]]":
        """Yield this result and all below it, each with its value.

        Args:
            intermediate: As in ``iterdeps``.
            **options: As for ``get``.
        """
        for _, node in self.iterdeps(intermediate):
            yield node, node.get(**options)

    def build_graph(
        self, intermediate: bool = False, formatter: Callable[[Any], str] | None = None
    ) -> "DependencyGraph":
        """Return this result and all below it as a graph, with an edge from each to those below it.

        Args:
            intermediate: As in ``iterdeps``.
            formatter: Returns the text for a result in ``to_dot``; None: its id.
        """
        from grpcflow.result.dependency_graph import DependencyGraph

        graph = DependencyGraph(formatter=formatter)
        for above, node in self.iterdeps(intermediate):
            graph.add_arc(node)
            if above is not None:
                graph.add_edge(above, node)
        return graph

    @property
    def graph(self) -> "GraphOfResult":
        """What ``build_graph`` returns, as in Celery, built at first use; and called, ``graph()``, the whole graph.

        ``graph()`` gives a ``GraphView`` of the graph that the call is a part of: see docs/graphs.md.
        """
        from grpcflow.result.dependency_graph import GraphOfResult

        return GraphOfResult(self.build_graph, self._view)

    def get_leaf(self) -> Any:
        """Wait for this call and all that was linked to it; return the value of the last one."""
        value: Any = None
        for _, node in self.iterdeps():
            value = node.get()
        return value

    # --- where it stands ----------------------------------------------------------------------------------

    def _look(self) -> "Settled | None":
        """Return where the call stands now; None where the coordinator does not know it."""
        return run_here(self._looked(on_loop=False))

    @property
    def state(self) -> str:
        """PENDING, RECEIVED, STARTED, RETRY, SUCCESS, FAILURE, REVOKED, IGNORED, REJECTED, or the task's own.

        PENDING also stands for a call that the coordinator does not know; see ``exists``.
        """
        found = self._look()
        return "PENDING" if found is None else found.custom_state or found.state

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

        While it waits for another attempt it is the exception that made it ask for one; with a state that the task
        gave itself, what it said with that.
        """
        found = self._look()
        return None if found is None else self._shown(found)

    @property
    def info(self) -> Any:
        """The same as ``result``."""
        return self.result

    @property
    def traceback(self) -> str | None:
        """The traceback of the exception, as text from the worker; None where there is none."""
        found = self._look()
        return found.failure.traceback if found is not None and found.failure is not None else None

    def _record(self) -> "Settled | None":
        """Return where the call stands with what the news of an end leave out: when, where, after how many retries."""
        found = self._look()
        if found is not None and found.state in READY_STATES and not found.worker and found.settled_at is None:
            told = self.app.connection.lookup([self._key], states_only=True)[0]
            if told is not None:
                found = replace(found, settled_at=told.settled_at, worker=told.worker, retries=told.retries)
                self._settled = found
        return found

    @property
    def date_done(self) -> datetime | None:
        """When the call ended, in UTC."""
        found = self._record()
        return None if found is None else found.settled_at

    @property
    def worker(self) -> str | None:
        """Name of the worker that ran it; None before the end, or where none did."""
        found = self._record()
        return (found.worker or None) if found is not None else None

    @property
    def retries(self) -> int:
        """How often it was retried."""
        found = self._record()
        return 0 if found is None else found.retries

    @property
    def ignored(self) -> bool:
        """True where the value is not wanted, so that ``get()`` gives None at once, or the call ended without one."""
        return self.state == "IGNORED" if self._ignored is None else self._ignored

    @ignored.setter
    def ignored(self, value: bool) -> None:
        self._ignored = value

    def _call(self) -> "value_pb2.CallDetails | None":
        """Return how it was called; None where the coordinator does not know it."""
        if self._details is None:
            found = self.app.connection.lookup([self._key], states_only=True, details=True)[0]
            self._details = None if found is None else found.details
        return self._details

    def _payload(self) -> tuple[list[Any], dict[str, Any]] | None:
        from grpcflow import codec

        call = self._call()
        if call is None or not call.payload:
            return None
        return codec.decode_call(call.payload, call.content_type, accept=self.app.conf.accept_content)

    @property
    def name(self) -> str | None:
        """Name of the task; None of a group, and where the call is not known."""
        call = self._call()
        return self._task_name if call is None else call.task or None

    @property
    def args(self) -> list[Any] | None:
        """Positional arguments that it was submitted with, without what earlier steps hand it; None as in ``name``."""
        payload = self._payload()
        return None if payload is None else payload[0]

    @property
    def kwargs(self) -> dict[str, Any] | None:
        """Keyword arguments that it was submitted with; None as in ``name``."""
        payload = self._payload()
        return None if payload is None else payload[1]

    @property
    def queue(self) -> str | None:
        """Name of its queue; None as in ``name``."""
        call = self._call()
        return None if call is None else call.queue or None

    @property
    def group_id(self) -> str | None:
        """Id of the group that it is a member of; None: of none."""
        call = self._call()
        if call is None or len(call.group) != ids.NODE_BYTES:
            return None
        return ids.node_id(call.group[: ids.GRAPH_BYTES], int.from_bytes(call.group[ids.GRAPH_BYTES :], "big"))

    @property
    def parent_id(self) -> str | None:
        """Id of the task that submitted it; None outside of a task."""
        call = self._call()
        return None if call is None else call.parent_id or None

    @property
    def stamps(self) -> dict[str, list[Any]]:
        """The stamps of the call, each a list of values; empty where it has none, or is not known."""
        from grpcflow import codec

        call = self._call()
        if call is None or not call.headers:
            return {}
        headers = codec.decode(call.headers, call.headers_content_type, accept=self.app.conf.accept_content)
        return dict(headers.get("stamps") or {})

    @property
    def children(self) -> "list[AsyncResult[Any] | GroupResult]":
        """Results of what was linked to the call, in that order; known where the call was submitted."""
        if self._children is None:
            callbacks = self._outcome.callbacks if self._outcome is not None else []
            self._children = [self._result_of(callback) for callback in callbacks]
        return self._children

    # --- what can be done with it -------------------------------------------------------------------------

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: str | None = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Give the call up, for good.

        Args:
            connection: Taken for the sake of code written for Celery.
            terminate: True: stop it where it runs. Default False.
            signal: Signal for the process it runs in; None: SIGTERM.
            wait: True: return once it has settled, or the time is over. Default False.
            timeout: Seconds to wait; None: 1.
        """
        run_here(self._revoked([self._key], terminate, signal, wait, timeout, on_loop=False))

    def _lose(self) -> None:
        self._settled, self._details = None, None

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Return the value where the call has ended, raise where it failed (with ``propagate``); never wait.

        Args:
            propagate: True: raise the exception of a call that failed. False: return it.
            callback: Called with the id and the value.
        """
        found = self._look()
        if found is None or found.state not in READY_STATES:
            return None
        value = self._value_of(found)
        if propagate and found.state in PROPAGATE_STATES:
            raise value
        if callback is not None:
            callback(self.id, value)
        return value

    maybe_reraise = maybe_throw

    def throw(self, exc: BaseException | None = None, tb: TracebackType | None = None) -> None:
        """Raise an exception; where none is given, that of the call, if it has ended with one.

        Args:
            exc: The exception.
            tb: Its traceback; None: its own.
        """
        if exc is None:
            self.maybe_throw()
        else:
            raise exc if tb is None else exc.with_traceback(tb)

    def as_tuple(self) -> tuple[Any, Any]:
        """Return its id and those of its parents as nested tuples, for ``result_from_tuple``."""
        from grpcflow.result.tree import tuple_of

        return tuple_of(self)
