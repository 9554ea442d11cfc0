"""EventService: decode a filter, read the feed, encode. No decision about tasks is made here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from fnmatch import fnmatchcase
from typing import Any, Final

from grpcflow_coordinator.core.model import Graph, Template, split_node, text_id
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.event_replay import Reading, since
from grpcflow_coordinator.feed import Feed
from grpcflow_coordinator.happenings import Happening, Numbered
from grpcflow_coordinator.loads import Loads
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.rpc.lookup import Lookup
from grpcflow_coordinator.rpc.views import told_failure
from grpcflow_coordinator.storage.records import Records
from grpcflow_protos import limits
from grpcflow_protos.v1 import event_service_pb2 as pb
from grpcflow_protos.v1 import event_service_pb2_grpc

#: Events that are read before others have their turn.
AT_ONCE: Final = 200

#: Seconds after which a reader who waits is told where the feed is, so that both know that the other is there.
BEAT: Final = 5.0

#: Seconds between two looks for heartbeats of workers.
LOOK: Final = 1.0

#: Most bytes of what a custom event says.
FIELDS_LIMIT: Final = 64 * 1024


class EventService(event_service_pb2_grpc.EventServiceServicer):
    """Gives the feed of events."""

    def __init__(self, engine: Engine, feed: Feed, loads: Loads) -> None:
        self._engine = engine
        self._feed = feed
        self._loads = loads
        self._lookup = Lookup(engine)

    async def ReadEvents(self, request: pb.ReadEventsRequest, context: Any) -> AsyncIterator[pb.ReadEventsResponse]:
        """Give events in order."""
        wanted = _Wanted(self._engine.committed, request, self._graph(request.id))
        after, left = await self._start(request), request.limit
        reading, beats = Reading(self._feed), Beats(self._loads, request)
        asked = bool(request.after or request.since_ms)
        while True:
            page, missed = await reading.page(after, AT_ONCE)
            *full, answer = _answers(page, wanted, left, missed if asked else 0)
            asked = True
            for one in full:
                left -= len(one.events) if left else 0
                yield one
            answer.next = after = max(after, answer.next if page else self._feed.end)
            if len(page) < AT_ONCE and not (left and len(answer.events) >= left):
                answer.events.extend(beats.fresh(after, left and left - len(answer.events)))
            left -= len(answer.events) if left else 0
            over = bool(request.limit) and not left
            if answer.events or answer.missed or over or not page:
                yield answer
            if over or (not page and not request.follow):
                return
            if page:
                await asyncio.sleep(0)
            else:
                await self._more(after, beats)

    async def _more(self, after: int, beats: Beats) -> None:
        """Wait until there is something to tell, or for so long that the reader is to hear that he is heard."""
        for _ in range(round(BEAT / LOOK) if beats.wanted else 1):
            await self._feed.more(after, LOOK if beats.wanted else BEAT)
            if self._feed.end > after or beats.waiting:
                return

    async def _start(self, request: pb.ReadEventsRequest) -> int:
        if request.after:
            return request.after
        if request.since_ms:
            return await since(self._feed, request.since_ms)
        return self._feed.end if request.follow else 0

    def _graph(self, text: str) -> bytes:
        if not text:
            return b""
        node = self._lookup.node(text)
        if node is None:
            raise Refusal("UNKNOWN_NODE", f"there is no task {text!r}, or its result has expired")
        return split_node(node)[0]

    async def PublishEvent(self, request: pb.PublishEventRequest, context: Any) -> pb.PublishEventResponse:
        """Put an event of the caller's own kind into the feed."""
        if not convert.check_name(request.type, "the type of an event"):
            raise Refusal("NAME_TOO_LONG", "an event has no type: one has 1 to 255 bytes")
        if len(request.fields) > FIELDS_LIMIT:
            raise Refusal("PAYLOAD_TOO_LARGE", f"an event says {len(request.fields)} bytes; {FIELDS_LIMIT} are allowed")
        try:
            fields = json.loads(request.fields or b"{}")
        except (ValueError, RecursionError) as error:
            raise Refusal("BAD_ARGUMENTS", f"the fields of an event are not JSON: {error}") from None
        if not isinstance(fields, dict):
            raise Refusal("BAD_ARGUMENTS", "the fields of an event are not one JSON object")
        node = self._lookup.node(request.id) if request.id else None
        graph, nodes = (b"", ()) if node is None else (split_node(node)[0], (split_node(node)[1],))
        return pb.PublishEventResponse(offset=self._feed.publish(request.type, request.fields, graph, nodes))


def _answers(page: Numbered, wanted: _Wanted, left: int, missed: int) -> Iterator[pb.ReadEventsResponse]:
    """Yield the events of a page that are wanted, as many in a message as it should have; the last may have none.

    Args:
        page: the events.
        wanted: the filter.
        left: how many the reader wants at most; 0: all.
        missed: how many were lost before.
    """
    answer, size = pb.ReadEventsResponse(missed=missed), 0
    for offset, happening in page:
        event = wanted.event(offset, happening)
        if event is not None:
            added = event.ByteSize()
            if answer.events and size + added > limits.BATCH_BYTES:
                yield answer
                answer, size = pb.ReadEventsResponse(), 0
            answer.events.append(event)
            size += added
            left -= 1
        answer.next = offset
        if event is not None and not left:
            break
    yield answer


class Beats:
    """Gives one reader the heartbeats that came since he was given some: of each worker the newest."""

    def __init__(self, loads: Loads, request: pb.ReadEventsRequest) -> None:
        self._loads, self._request = loads, request
        #: False where the reader wants none.
        self.wanted = request.heartbeats or pb.EVENT_KIND_WORKER_HEARTBEAT in request.kinds
        if request.kinds and pb.EVENT_KIND_WORKER_HEARTBEAT not in request.kinds:
            self.wanted = False
        if request.task or request.queue or request.id:
            self.wanted = False
        only_new = request.follow and not (request.after or request.since_ms)
        self._seen = loads.count if only_new else 0

    @property
    def waiting(self) -> bool:
        """True where some came."""
        return self.wanted and self._loads.count > self._seen

    def fresh(self, offset: int, limit: int) -> Iterator[pb.Event]:
        """Yield the events of those that came, at most `limit` where it is not 0, with this offset."""
        if not self.waiting:
            return
        request, given = self._request, 0
        seen, self._seen = self._seen, self._loads.count
        for beat in self._loads.since(seen):
            if beat.time_ms < request.since_ms or not fnmatchcase(beat.worker, request.worker or "*"):
                continue
            event = pb.Event(offset=offset, time_ms=beat.time_ms, worker=beat.worker, load=beat.load)
            event.kind = pb.EVENT_KIND_WORKER_HEARTBEAT
            yield event
            given += 1
            if given == limit:
                return


class _Wanted:
    """Turns what happened into events, where the filter lets it pass."""

    def __init__(self, records: Records, request: pb.ReadEventsRequest, graph: bytes) -> None:
        for text, what in (
            (request.task, "a pattern of task names"),
            (request.queue, "the name of a queue"),
            (request.worker, "a pattern of worker names"),
        ):
            convert.check_name(text, what)
        self._records = records
        self._request = request
        self._kinds = frozenset(request.kinds)
        self._graph = graph

    def event(self, offset: int, happening: Happening) -> pb.Event | None:
        """Return the event, or None where the filter holds it back."""
        request = self._request
        if (self._kinds and happening.kind not in self._kinds) or (self._graph and happening.graph != self._graph):
            return None
        if (request.task or request.queue) and not happening.graph:
            return None
        event = pb.Event(offset=offset, time_ms=happening.time_ms, worker=happening.worker, detail=happening.detail)
        event.kind = happening.kind  # type: ignore[assignment]
        event.type, event.fields = happening.type, happening.fields
        if happening.graph:
            self._describe(event, happening)
        passes = (
            not pattern or fnmatchcase(value, pattern)
            for pattern, value in ((request.task, event.task), (request.worker, event.worker))
        )
        return event if all(passes) and request.queue in {"", event.queue} else None

    def _describe(self, event: pb.Event, happening: Happening) -> None:
        """Say what the records know of the nodes."""
        whole = happening.kind == pb.EVENT_KIND_TASK_SENT
        event.graph, event.count = happening.graph, len(happening.nodes)
        if not whole:
            event.nodes.extend(happening.nodes)
        graph = self._records.graph(happening.graph)
        if graph is None:  # it was pruned meanwhile
            event.task, event.queue, event.id = happening.task, happening.queue, happening.own_id
            if len(happening.nodes) == 1:
                event.id = text_id(happening.graph, happening.nodes[0], happening.own_id)
            return
        if whole:
            event.count = graph.node_count
        index = graph.outcome if whole else happening.nodes[0]
        self._name(event, graph, index)
        if len(happening.nodes) == 1 and not whole:
            outcome = self._records.outcome(graph.id, index)
            if outcome is not None and happening.kind != pb.EVENT_KIND_TASK_RECEIVED:
                event.worker = event.worker or outcome.worker
                event.took_ms, event.retries = outcome.took_ms, outcome.retries
                if outcome.failure is not None and not event.detail:
                    event.detail = told_failure(outcome.failure, self._template(graph, index))

    def _template(self, graph: Graph, index: int) -> Template | None:
        run = self._records.run_of(graph.id, index)
        return None if run is None or run.is_join else graph.templates[run.template]

    def _name(self, event: pb.Event, graph: Graph, index: int) -> None:
        run = self._records.run_of(graph.id, index)
        if run is None:
            return
        if event.count == 1 or not event.nodes:
            event.id = text_id(graph.id, index, run.own_id)
        if not run.is_join:
            template = graph.templates[run.template]
            event.task, event.queue = template.task, template.queue
