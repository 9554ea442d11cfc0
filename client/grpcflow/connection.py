"""The sync client's connection to the coordinator: what the rest of the client calls.

One bidirectional stream carries submissions and results; questions beside it are single calls on the same
channel. Thread safe, and safe across ``os.fork()`` in both processes. Importing this imports grpc: do it at
first use.
"""

import atexit
import os
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import partial
from typing import Final

import grpcflow
from grpcflow import errors, ids
from grpcflow.calls import Calls
from grpcflow.commands import Commands, Reply
from grpcflow.kept import VALUES_PAGE, Kept
from grpcflow.news import News
from grpcflow.notices import Notices
from grpcflow.session import TICK, RetryPolicy, Session
from grpcflow.settled import Settled
from grpcflow.states import READY_STATES
from grpcflow.waiting import NodesWaiter, RangeWaiter, Waiter
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2, graph_pb2

__all__ = ["Connection", "Reply", "RetryPolicy", "Settled", "connection_for"]

#: Seconds that a submission may stay unacknowledged on a link that works, unless the caller says.
ACKNOWLEDGE_TIME: Final = 60.0


class Connection(Kept, Commands):
    """A connection to one coordinator, opened at first use and again whenever it breaks.

    Args:
        addresses: ``HOST:PORT`` of the coordinators, tried in turn.
        retry_policy: How unreachable ones are tried again; default 4 tries within 3 seconds.
        connect_timeout: Seconds that a coordinator has to welcome a new stream; default 5.
        version: Version of the client, shown to people; None: that of this package.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        retry_policy: RetryPolicy | None = None,
        connect_timeout: float = 5.0,
        version: str | None = None,
    ) -> None:
        if not addresses:
            message = "there is no coordinator's address: name one in app.conf.coordinator or GRPCFLOW_COORDINATOR"
            raise errors.ImproperlyConfigured(message)
        self.addresses = tuple(addresses)
        shown = grpcflow.__version__ if version is None else version
        self._session = Session(self.addresses, retry_policy or RetryPolicy(), connect_timeout, shown)
        super().__init__(Calls(self._session))
        self._notices = Notices(self._session)
        _OPEN.add(self)

    # --- graphs and results -------------------------------------------------------------------------------

    def submit(
        self, chunks: Sequence[graph_pb2.GraphChunk], *, timeout: float | None = None, retry: bool = True
    ) -> None:
        """Submit a graph; returns when it is durable.

        Those of many threads leave in one message. Where the stream breaks, the same chunks are sent again; the
        graph's id makes that the same submission.

        Args:
            chunks: All pieces of one graph, in order.
            timeout: Seconds to wait for the acknowledgement; None: 60.
            retry: False: where no address can be reached, that is told at once. Default True.

        Raises:
            PayloadTooLarge: A call is larger than the coordinator takes.
            InvalidRequest, AlreadyExists, RequestFailed: The coordinator refused it; ``code`` tells why.
            CoordinatorUnavailable: It could not be reached, by the retry policy.
            TimeoutError: It was reached and did not acknowledge in time.
        """
        if not chunks:
            message = "a graph has at least one piece"
            raise errors.InvalidRequest(message, code="EMPTY_GRAPH")
        pieces = []
        for chunk in chunks:
            piece = client_service_pb2.SessionRequest(submits=(chunk,)).SerializeToString()
            if len(piece) > limits.PAYLOAD_LIMIT:
                _check_size(chunk, len(piece))
            pieces.append(piece)
        deadline = time.monotonic() + (timeout or ACKNOWLEDGE_TIME)
        self._session.submit(chunks[0].graph, pieces, deadline, once=not retry)

    def wait(
        self,
        ids: Sequence[str],
        *,
        timeout: float | None,
        on_result: Callable[[str, Settled], None] | None = None,
        wait_for_submit: bool = False,
        to_failure: bool = False,
    ) -> dict[str, Settled]:
        """Wait until all nodes have settled. Their results arrive by a watch; nothing polls.

        A lost coordinator is retried until the time is over.

        Args:
            ids: Ids as users know them.
            timeout: Seconds to wait; None: without end, while warnings say what is waited for.
            on_result: Called in this thread for each result as it arrives.
            wait_for_submit: True: wait also for nodes that nobody has submitted yet. Default False.
            to_failure: True: return as soon as a node has failed and all before it have settled; what had not
                settled by then is left out. Default False.

        Returns:
            A Settled for each id.

        Raises:
            TimeoutError: Not all settled in time; says how many are missing.
            NotFound: The coordinator does not know one of them, or no longer.
            CoordinatorUnavailable: The connection was closed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        nodes, names, found = self._locate(ids, deadline, wait_for_submit)
        if on_result is not None:
            for text, settled in found.items():
                on_result(text, settled)
        waiter = NodesWaiter(
            nodes,
            names,
            arrivals=on_result is not None,
            found=found,
            order=ids if to_failure else None,
            waits_for_submit=wait_for_submit,
        )
        for arrived in self._arrivals(waiter, deadline, timeout):
            if on_result is not None and isinstance(arrived, tuple):
                on_result(*arrived)
        self._complete(waiter.found)
        return {text: waiter.found[text] for text in ids if text in waiter.found}

    def wait_range(
        self, graph: bytes, first: int, count: int, *, timeout: float | None, to_failure: bool = False
    ) -> list[Settled]:
        """Wait until a run of nodes of one graph has settled: the hot path of a group's results.

        Args:
            graph: The 12 bytes of the graph id.
            first: Index of the first node.
            count: How many nodes.
            timeout: As in ``wait``.
            to_failure: As in ``wait``; the list then ends with the failed node.

        Returns:
            A Settled for each node, in order.

        Raises:
            The errors of ``wait``.
        """
        waiter = RangeWaiter(graph, first, count, to_failure=to_failure)
        for _ in self._arrivals(waiter, None if timeout is None else time.monotonic() + timeout, timeout):
            pass
        results = waiter.results()
        lists = {ids.node_id(graph, first + i): one for i, one in enumerate(results) if _lacks_value(one)}
        if lists:
            self._complete(lists)
            for text, settled in lists.items():
                results[int(text[-8:], 16) - first] = settled
        return results

    def arrivals(
        self,
        ids: Sequence[str],
        *,
        timeout: float | None,
        interval: float | None = None,
        wait_for_submit: bool = False,
        progress: bool = False,
    ) -> Generator[tuple[str, Settled] | None, None, None]:
        """Yield results in the order in which their nodes settle; nothing polls.

        Whoever stops before the end closes the generator, or lets go of it: then nothing is watched any more.

        Args:
            ids: Ids as users know them.
            timeout: Seconds from the first step to the last; None: without end.
            interval: Seconds after which None comes, again and again, whatever else does; None: never.
            wait_for_submit: As in ``wait``.
            progress: True: yield also the states of nodes that have not settled, as they change. Whoever takes them
                more slowly than they come gets the newest one of each node, which says how many were skipped. Of a
                user's own id that nobody has submitted yet the end alone is told.

        Raises:
            The errors of ``wait``.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        nodes, names, found = self._locate(ids, deadline, wait_for_submit)
        yield from found.items()
        news = News() if progress else None
        waiter = NodesWaiter(nodes, names, arrivals=True, waits_for_submit=wait_for_submit, news=news)
        for item in self._arrivals(waiter, deadline, timeout, interval):
            if item is TICK:
                yield None
            elif isinstance(item, tuple) and item[1] is None:
                told = None if news is None else news.take(item[0])
                if told is not None:
                    yield item[0], told
            elif isinstance(item, tuple):
                one = {item[0]: item[1]}
                self._complete(one)
                yield item[0], one[item[0]]

    def when_settled(
        self, ids: Sequence[str], call: Callable[[Exception | None], None], *, wait_for_submit: bool = False
    ) -> None:
        """Have a function called once all nodes have settled; returns at once.

        Args:
            ids: Ids as users know them.
            call: Called in a thread that belongs to the connection, one after the other: it should be quick. It gets
                None, or the error that kept the results from being known.
            wait_for_submit: As in ``wait``.

        Raises:
            NotFound, CoordinatorUnavailable, TimeoutError: One of the users' own ids could not be found.
        """
        nodes, names, _ = self._locate(ids, None, wait_for_submit)
        self._notices.add(NodesWaiter(nodes, names, waits_for_submit=wait_for_submit), call)

    def close(self) -> None:
        """End the connection; whoever waits on it gets CoordinatorUnavailable. May be called again."""
        self._session.close()

    @property
    def is_closed(self) -> bool:
        """True once ``close`` was called: it takes nothing any more."""
        return self._session.is_closed

    # --- below --------------------------------------------------------------------------------------------

    def _arrivals(
        self, waiter: Waiter, deadline: float | None, timeout: float | None, interval: float | None = None
    ) -> Generator[object, None, None]:
        """Yield what comes until the waiter is done, or say how many are missing."""
        if waiter.done and waiter.error is None:
            return
        done = yield from self._session.arrivals(waiter, deadline, interval)
        if done:
            return
        missing = waiter.missing_count()
        tasks = "1 task" if missing == 1 else f"{missing} tasks"
        message = f"{tasks} did not settle within {timeout:g} s; they go on, and can be waited for again"
        raise errors.TimeoutError(message)

    def _locate(
        self, texts: Sequence[str], deadline: float | None, wait_for_submit: bool
    ) -> tuple[list[tuple[str, bytes, int]], list[str], dict[str, Settled]]:
        """Return the nodes to watch, ids of the users' own that nobody knows yet, and what of them has settled."""
        nodes: list[tuple[str, bytes, int]] = []
        own: list[str] = []
        for text in dict.fromkeys(texts):
            parsed = ids.parse(text)
            if parsed is None:
                own.append(text)
            else:
                nodes.append((text, *parsed))
        unknown: list[str] = []
        found: dict[str, Settled] = {}
        for start in range(0, len(own), VALUES_PAGE):
            part = own[start : start + VALUES_PAGE]
            named = self._results(client_service_pb2.NodeSet(ids=part), deadline=deadline)
            for text, (settled, node) in zip(part, named, strict=True):
                if settled is None:
                    unknown.append(text)
                elif settled.state in READY_STATES:
                    found[text] = settled
                else:
                    nodes.append((text, node[: ids.GRAPH_BYTES], int.from_bytes(node[ids.GRAPH_BYTES :], "big")))
        if unknown and not wait_for_submit:
            message = f"the coordinator knows no task {unknown[0]!r}, or its result has expired"
            raise errors.NotFound(message, code="UNKNOWN_NODE")
        self._complete(found)
        return nodes, unknown, found

    def _complete(self, found: dict[str, Settled]) -> None:
        """Fetch the values that a watch leaves out: lists of joins, and what is too large for one message."""
        for text, settled in found.items():
            if settled.value_apart:
                self._fetch_into(settled, text)
        bare = [text for text, settled in found.items() if _lacks_value(settled)]
        for text, settled_now in zip(bare, self.lookup(bare), strict=True):
            if settled_now is not None:
                found[text] = settled_now


def _lacks_value(settled: Settled) -> bool:
    return settled.data is None and settled.value is None and settled.state == "SUCCESS"


def _check_size(chunk: graph_pb2.GraphChunk, size: int) -> None:
    """Refuse here what the coordinator would refuse, or the transport could not carry.

    Raises:
        PayloadTooLarge: A payload, or the piece as a whole, is too large.
    """
    largest = max((len(payload) for run in chunk.runs for payload in run.payloads), default=0)
    cure = "put the data where tasks can read it and pass its address"
    if largest > limits.PAYLOAD_LIMIT:
        message = f"the arguments of a task have {largest} bytes; {limits.PAYLOAD_LIMIT} are allowed: {cure}"
        raise errors.PayloadTooLarge(message, cure=cure)
    if size > limits.MESSAGE_LIMIT:
        message = f"a piece of the graph has {size} bytes; {limits.MESSAGE_LIMIT} are allowed: cut it into more chunks"
        raise errors.PayloadTooLarge(message, code="MESSAGE_TOO_LARGE")


# --- one for each process and address ------------------------------------------------------------------------

_OPEN: Final[weakref.WeakSet[Connection]] = weakref.WeakSet()


class _Shared:
    """The connections of this process by their addresses."""

    def __init__(self) -> None:
        self.connections: dict[tuple[str, ...], Connection] = {}
        self.renew()

    def renew(self) -> None:
        """Take a free lock: another thread may have held it when this process was forked."""
        self.lock = threading.Lock()


_SHARED: Final = _Shared()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_SHARED.renew)


def connection_for(addresses: Iterable[str]) -> Connection:
    """Return the connection to these addresses: one for the whole process, which a forked child opens anew.

    One that was closed is replaced: who closes it ends what goes on, not what comes after.

    Args:
        addresses: ``HOST:PORT`` of the coordinators, in the order in which they are tried.

    Raises:
        ImproperlyConfigured: There is no address.
    """
    key = tuple(addresses)
    with _SHARED.lock:
        connection = _SHARED.connections.get(key)
        if connection is None or connection.is_closed:
            connection = _SHARED.connections[key] = Connection(key)
        return connection


def _close_all(connections: Iterable[Connection]) -> None:
    """Close what is open when the interpreter ends, so that no thread of ours is in grpc then."""
    for connection in list(connections):
        connection.close()


atexit.register(partial(_close_all, _OPEN))
