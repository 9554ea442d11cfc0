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
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

import grpcflow
from grpcflow import errors, ids
from grpcflow.calls import ANSWER_TIME, Calls
from grpcflow.commands import Commands, Reply
from grpcflow.session import RetryPolicy, Session
from grpcflow.waiting import NodesWaiter, RangeWaiter, Settled, Waiter, settled_from
from grpcflow_protos import limits
from grpcflow_protos.v1 import (
    client_service_pb2,
    client_service_pb2_grpc,
    graph_pb2,
)

__all__ = ["Connection", "Reply", "RetryPolicy", "Settled", "connection_for"]

#: Seconds that a submission may stay unacknowledged on a link that works, unless the caller says.
ACKNOWLEDGE_TIME: Final = 60.0

#: Nodes in one lookup: with values, and where only states are asked for.
_VALUES_PAGE: Final = 1_000
_STATES_PAGE: Final = 10_000


class Connection(Commands):
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
        _OPEN.add(self)

    # --- graphs and results -------------------------------------------------------------------------------

    def submit(self, chunks: Sequence[graph_pb2.GraphChunk], *, timeout: float | None = None) -> None:
        """Submit a graph; returns when it is durable.

        Those of many threads leave in one message. Where the stream breaks, the same chunks are sent again; the
        graph's id makes that the same submission.

        Args:
            chunks: All pieces of one graph, in order.
            timeout: Seconds to wait for the acknowledgement; None: 60.

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
        self._session.submit(chunks[0].graph, pieces, time.monotonic() + (timeout or ACKNOWLEDGE_TIME))

    def wait(
        self,
        ids: Sequence[str],
        *,
        timeout: float | None,
        on_result: Callable[[str, Settled], None] | None = None,
    ) -> dict[str, Settled]:
        """Wait until all nodes have settled. Their results arrive by a watch; nothing polls.

        A lost coordinator is retried until the time is over.

        Args:
            ids: Ids as users know them.
            timeout: Seconds to wait; None: without end, while warnings say what is waited for.
            on_result: Called in this thread for each result as it arrives.

        Returns:
            A Settled for each id.

        Raises:
            TimeoutError: Not all settled in time; says how many are missing.
            NotFound: The coordinator does not know one of them, or no longer.
            CoordinatorUnavailable: The connection was closed.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        nodes, found = self._locate(ids, deadline)
        if on_result is not None:
            for text, settled in found.items():
                on_result(text, settled)
        waiter = NodesWaiter(nodes, arrivals=on_result is not None)

        def arrived(item: object) -> None:
            if on_result is not None and isinstance(item, tuple):
                on_result(*item)

        if nodes:
            self._watch(waiter, deadline, timeout, arrived if on_result is not None else None)
            found.update(waiter.found)
            self._fetch_lists(found)
        return {text: found[text] for text in ids}

    def wait_range(self, graph: bytes, first: int, count: int, *, timeout: float | None) -> list[Settled]:
        """Wait until a run of nodes of one graph has settled: the hot path of a group's results.

        Args:
            graph: The 12 bytes of the graph id.
            first: Index of the first node.
            count: How many nodes.
            timeout: As in ``wait``.

        Returns:
            A Settled for each node, in order.

        Raises:
            The errors of ``wait``.
        """
        waiter = RangeWaiter(graph, first, count)
        self._watch(waiter, None if timeout is None else time.monotonic() + timeout, timeout)
        results = waiter.results()
        lists = {
            ids.node_id(graph, first + i): settled
            for i, settled in enumerate(results)
            if settled.data is None and _lacks_value(settled)
        }
        if lists:
            self._fetch_lists(lists)
            for text, settled in lists.items():
                results[int(text[-8:], 16) - first] = settled
        return results

    def lookup(
        self,
        ids: Sequence[str],
        *,
        states_only: bool = False,
    ) -> list[Settled | None]:
        """Tell how nodes stand now, without waiting.

        Args:
            ids: Ids as users know them, any number.
            states_only: True: no values.

        Returns:
            In order of the ids; None for a node that the coordinator does not know.

        Raises:
            InvalidRequest: An id is too long.
            CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
        """
        found: list[Settled | None] = []
        page = _STATES_PAGE if states_only else _VALUES_PAGE
        for start in range(0, len(ids), page):
            nodes = client_service_pb2.NodeSet(ids=ids[start : start + page])
            found += [settled for settled, _ in self._results(nodes, states_only=states_only)]
        return found

    def close(self) -> None:
        """End the connection; whoever waits on it gets CoordinatorUnavailable. May be called again."""
        self._session.close()

    @property
    def is_closed(self) -> bool:
        """True once ``close`` was called: it takes nothing any more."""
        return self._session.is_closed

    # --- below --------------------------------------------------------------------------------------------

    def _watch(
        self,
        waiter: Waiter,
        deadline: float | None,
        timeout: float | None,
        arrived: Callable[[object], None] | None = None,
    ) -> None:
        """Watch until the waiter is done, or say how many are missing."""
        if waiter.done or self._session.watch(waiter, deadline, arrived):
            return
        missing = waiter.missing_count()
        tasks = "1 task" if missing == 1 else f"{missing} tasks"
        message = f"{tasks} did not settle within {timeout:g} s; they go on, and can be waited for again"
        raise errors.TimeoutError(message)

    def _locate(
        self, texts: Sequence[str], deadline: float | None
    ) -> tuple[list[tuple[str, bytes, int]], dict[str, Settled]]:
        """Return the nodes to watch, and what has settled already among ids that users chose themselves."""
        nodes: list[tuple[str, bytes, int]] = []
        own: list[str] = []
        for text in dict.fromkeys(texts):
            parsed = ids.parse(text)
            if parsed is None:
                own.append(text)
            else:
                nodes.append((text, *parsed))
        found: dict[str, Settled] = {}
        for start in range(0, len(own), _VALUES_PAGE):
            part = own[start : start + _VALUES_PAGE]
            named = self._results(client_service_pb2.NodeSet(ids=part), deadline=deadline)
            for text, (settled, node) in zip(part, named, strict=True):
                if settled is None:
                    message = f"the coordinator knows no task {text!r}, or its result has expired"
                    raise errors.NotFound(message, code="UNKNOWN_NODE")
                if settled.state in _ENDED:
                    found[text] = settled
                else:
                    nodes.append((text, node[: ids.GRAPH_BYTES], int.from_bytes(node[ids.GRAPH_BYTES :], "big")))
        return nodes, found

    def _results(
        self, nodes: client_service_pb2.NodeSet, *, states_only: bool = False, deadline: float | None = None
    ) -> list[tuple[Settled | None, bytes]]:
        """Ask for results, in halves where one message cannot hold them; each with its node's id."""
        request = client_service_pb2.GetResultsRequest(nodes=nodes, states_only=states_only)
        timeout = ANSWER_TIME if deadline is None else max(0.001, deadline - time.monotonic())
        try:
            answer = self._calls.ask(
                lambda channel, left: client_service_pb2_grpc.ClientServiceStub(channel).GetResults(
                    request, timeout=left
                ),
                timeout=timeout,
            )
        except errors.RequestFailed as error:
            # Without a code it is the transport's own limit that was hit.
            if len(nodes.ids) < 2 or error.code != errors.RequestFailed.default_code:
                raise
            middle = len(nodes.ids) // 2
            halves = (nodes.ids[:middle], nodes.ids[middle:])
            parts = [client_service_pb2.NodeSet(ids=half) for half in halves]
            return [one for part in parts for one in self._results(part, states_only=states_only, deadline=deadline)]
        return [(settled_from(result) if result.known else None, result.node) for result in answer.results]

    def _fetch_lists(self, found: dict[str, Settled]) -> None:
        """Fetch what a watch leaves out: the list of a join, which the coordinator collects when it is asked for."""
        bare = [text for text, settled in found.items() if _lacks_value(settled)]
        for text, settled in zip(bare, self.lookup(bare), strict=True):
            if settled is not None:
                found[text] = settled


_ENDED: Final = frozenset({"SUCCESS", "FAILURE", "REVOKED", "IGNORED", "REJECTED"})


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
