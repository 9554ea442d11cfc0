"""All that a client asks of a coordinator, written once: as coroutines, for threads and for event loops.

In a thread they are run by ``connection``, where every await returns at once, since what it waits for has blocked by
then; on an event loop by ``aio.connection``. How a thread or a loop waits is none of this file's affair: the session
knows.
"""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from grpcflow import errors, ids
from grpcflow.calls import Calls
from grpcflow.commands import Commands
from grpcflow.erasing import EraseCalls
from grpcflow.event_calls import EventCalls
from grpcflow.failed_calls import FailedCalls
from grpcflow.items import Items
from grpcflow.kept import VALUES_PAGE, Kept
from grpcflow.limit_calls import LimitCalls
from grpcflow.log_calls import LogCalls
from grpcflow.news import News
from grpcflow.queue_calls import QueueCalls
from grpcflow.schedule_calls import ScheduleCalls
from grpcflow.session import TICK, Session
from grpcflow.settled import Settled
from grpcflow.states import READY_STATES
from grpcflow.submission import Submission, in_parts
from grpcflow.waiting import NodesWaiter, NodeWaiter, RangeWaiter, Waiter
from grpcflow_protos.v1 import client_service_pb2, graph_pb2
from grpcflow_protos.wire_parts import Parted, Piece, whole_of

if TYPE_CHECKING:
    from grpcflow.lower.model import TemplateSpec

__all__ = ["Exchange"]

#: Seconds that a submission may stay unacknowledged on a link that works, unless the caller says.
ACKNOWLEDGE_TIME: Final = 60.0
#: Bytes of a call beside which the question for its result has room in a message.
_SMALL: Final = 65_536


class Exchange(
    Kept, Commands, EraseCalls, QueueCalls, LimitCalls, ScheduleCalls, Items, LogCalls, FailedCalls, EventCalls
):
    """What is asked of one coordinator: submissions and waits over its stream, and single calls beside it.

    Args:
        session: Its stream, of threads or of an event loop.
        calls: Makes the calls beside it.
    """

    def __init__(self, session: Session, calls: Calls) -> None:
        super().__init__(calls)
        self._session = session

    # --- graphs and results -------------------------------------------------------------------------------

    async def asubmit(
        self, chunks: Sequence[graph_pb2.GraphChunk | Parted], *, timeout: float | None = None, retry: bool = True
    ) -> None:
        """Submit a graph; returns when it is durable.

        Those of many threads or coroutines leave in one message. Where the stream breaks, the same chunks are sent
        again; the graph's id makes that the same submission.

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
        pieces = in_parts(chunks)
        deadline = time.monotonic() + (timeout or ACKNOWLEDGE_TIME)
        first, small = whole_of(chunks[0]), isinstance(pieces[0], bytes) and len(pieces[0]) < _SMALL
        single = first.node_count == 1 and small
        await self._session.submit(first.graph, pieces, deadline, once=not retry, single=single)

    def asubmit_call(self, template: "TemplateSpec", payload: bytes) -> Awaitable[tuple[bytes, int]]:
        """Submit one plain call, to be awaited; returns its graph and the index of its node when it is durable.

        Those that coroutines of one loop submit at the same time share a graph.

        Args:
            template: How it runs; it has no keys, waits for no time and is not spread.
            payload: Its encoded arguments.

        Raises:
            The errors of ``asubmit``.
        """
        return self._session.submit_call(template, payload, time.monotonic() + ACKNOWLEDGE_TIME)

    def post(
        self,
        graphs: Sequence[tuple[bytes, Sequence[Piece]]],
        singles: Collection[bytes] = (),
        bundles: Mapping[bytes, int] = MappingProxyType({}),
    ) -> list[Submission]:
        """Send graphs and do not wait; ``asettle`` must follow.

        Args:
            graphs: The id of each and its encoded pieces.
            singles: Ids of those that are one task each.
            bundles: Ids of those that are independent calls, and how many these are.

        Raises:
            CoordinatorUnavailable: The connection is closed; nothing was sent.
        """
        posted = [Submission(graph, pieces, False) for graph, pieces in graphs]
        self._session.post(posted, singles=singles, bundles=bundles)
        return posted

    async def asettle(self, posted: Sequence[Submission], *, timeout: float | None = None) -> None:
        """Wait until graphs that were posted are durable; what went wrong with one is its ``error``.

        Args:
            posted: What ``post`` returned.
            timeout: Seconds to wait for all of them; None: 60.

        Raises:
            TimeoutError: They were not all acknowledged in time.
            CoordinatorUnavailable: The connection was closed.
        """
        await self._session.settle(posted, time.monotonic() + (timeout or ACKNOWLEDGE_TIME))

    async def await_settled(
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
            on_result: Called here for each result as it arrives.
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
        nodes, names, found = await self._locate(ids, deadline, wait_for_submit)
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
        async with aclosing(self._arrivals(waiter, deadline, timeout)) as coming:
            async for arrived in coming:
                if on_result is not None and isinstance(arrived, tuple):
                    on_result(*arrived)
        await self._complete(waiter.found)
        return {text: waiter.found[text] for text in ids if text in waiter.found}

    async def await_node(self, graph: bytes, index: int, *, timeout: float | None, wait_for_submit: bool) -> Settled:
        """Wait until one node has settled: the hot path of one call's result.

        Args:
            graph: The 12 bytes of the graph id.
            index: Index of the node.
            timeout: As in ``wait``.
            wait_for_submit: As in ``wait``.

        Raises:
            The errors of ``wait``.
        """
        data = self._session.at_hand(graph, index)
        if data is not None:
            return Settled("SUCCESS", data)
        waiter = NodeWaiter(graph, index, waits_for_submit=wait_for_submit)
        await self._session.wait_for(waiter, None if timeout is None else time.monotonic() + timeout)
        return await self._ended(waiter, timeout)

    async def _ended(self, waiter: NodeWaiter, timeout: float | None) -> Settled:
        """Return how a node has ended, with its value, or say that it has not in time."""
        settled = waiter.settled
        if settled is None:
            raise _late(1, timeout)
        if settled.value_apart or _lacks_value(settled):
            found = {ids.node_id(waiter.graph, waiter.index): settled}
            await self._complete(found)
            [settled] = found.values()
        return settled

    async def await_range(
        self,
        graph: bytes,
        first: int,
        count: int,
        *,
        timeout: float | None,
        to_failure: bool = False,
        on_large: Callable[[Settled], None] | None = None,
    ) -> list[Settled]:
        """Wait until a run of nodes of one graph has settled: the hot path of a group's results.

        Args:
            graph: The 12 bytes of the graph id.
            first: Index of the first node.
            count: How many nodes.
            timeout: As in ``wait``.
            to_failure: As in ``wait``; the list then ends with the failed node.
            on_large: Called here with each large value as it comes, before the others have.

        Returns:
            A Settled for each node, in order.

        Raises:
            The errors of ``wait``.
        """
        waiter = RangeWaiter(graph, first, count, to_failure=to_failure)
        deadline = None if timeout is None else time.monotonic() + timeout
        async with aclosing(self._arrivals(waiter, deadline, timeout)) as coming:
            async for arrived in coming:
                if on_large is not None and isinstance(arrived, Settled):
                    on_large(arrived)
        results = waiter.results()
        lists = {ids.node_id(graph, first + i): one for i, one in enumerate(results) if _lacks_value(one)}
        if lists:
            await self._complete(lists)
            for text, settled in lists.items():
                results[int(text[-8:], 16) - first] = settled
        return results

    async def aarrivals(
        self,
        ids: Sequence[str],
        *,
        timeout: float | None,
        interval: float | None = None,
        wait_for_submit: bool = False,
        progress: bool = False,
    ) -> AsyncGenerator[tuple[str, Settled] | None, None]:
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
        nodes, names, found = await self._locate(ids, deadline, wait_for_submit)
        for settled in found.items():
            yield settled
        news = News() if progress else None
        waiter = NodesWaiter(nodes, names, arrivals=True, waits_for_submit=wait_for_submit, news=news)
        async with aclosing(self._arrivals(waiter, deadline, timeout, interval)) as coming:
            async for item in coming:
                if item is TICK:
                    yield None
                elif isinstance(item, tuple) and item[1] is None:
                    told = None if news is None else news.take(item[0])
                    if told is not None:
                        yield item[0], told
                elif isinstance(item, tuple):
                    one = {item[0]: item[1]}
                    await self._complete(one)
                    yield item[0], one[item[0]]

    # --- below --------------------------------------------------------------------------------------------

    async def _arrivals(
        self, waiter: Waiter, deadline: float | None, timeout: float | None, interval: float | None = None
    ) -> AsyncGenerator[object, None]:
        """Yield what comes until the waiter is done, or say how many are missing."""
        if waiter.done and waiter.error is None:
            return
        async with aclosing(self._session.arrivals(waiter, deadline, interval)) as coming:
            async for item in coming:
                yield item
        if waiter.done:
            return
        raise _late(waiter.missing_count(), timeout)

    async def _locate(
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
            named = await self._results(client_service_pb2.NodeSet(ids=part), deadline=deadline)
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
        await self._complete(found)
        return nodes, unknown, found

    async def _complete(self, found: dict[str, Settled]) -> None:
        """Fetch the values that a watch leaves out: lists of joins, and what is too large for one message."""
        for text, settled in found.items():
            if settled.value_apart:
                await self._fetch_into(settled, text)
        bare = [text for text, settled in found.items() if _lacks_value(settled)]
        for text, settled_now in zip(bare, await self.alookup(bare), strict=True):
            if settled_now is not None:
                found[text] = settled_now


def _late(missing: int, timeout: float | None) -> errors.TimeoutError:
    """Return what is said where so many nodes have not settled in time."""
    tasks = "1 task" if missing == 1 else f"{missing} tasks"
    within = "in time" if timeout is None else f"within {timeout:g} s"
    return errors.TimeoutError(f"{tasks} did not settle {within}; they go on, and can be waited for again")


def _lacks_value(settled: Settled) -> bool:
    return settled.data is None and settled.value is None and settled.state == "SUCCESS"
