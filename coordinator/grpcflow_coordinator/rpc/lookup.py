"""Find nodes by what users call them, and say how they stand. Reads only what is durable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

from grpcflow_coordinator import values
from grpcflow_coordinator.core.model import GRAPH_ID_BYTES, Attempt, NodeState, node_id, split_node
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.rpc.running import Running
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2, graph_pb2, value_pb2

#: Most ids of one request.
IDS_LIMIT: Final = 10_000

#: Most ranges of nodes, and most ids, that one question may name: more than the largest graph can need, and everybody
#: waits meanwhile.
RANGES_LIMIT: Final = limits.NODE_LIMIT // 2

#: Nodes that are looked at before others have their turn.
PAGE: Final = 250

#: Indexes that a node id can hold.
INDEXES: Final = 1 << 32


class Lookup:
    """Answers from the records, and from memory about what runs."""

    def __init__(self, engine: Engine, payload_limit: int = limits.PAYLOAD_LIMIT) -> None:
        self._engine = engine
        self._payload_limit = payload_limit
        #: Which nodes workers have; looked at where that has to be known.
        self._running = Running(engine)

    def node(self, text: str) -> bytes | None:
        """Return the node that an id stands for, or None."""
        convert.check_name(text, "an id", code="ID_TOO_LONG")
        records = self._engine.committed
        node = records.alias(text)
        if node is not None:
            return None if records.is_forgotten(*split_node(node)) else node
        digits = text.replace("-", "")
        try:
            node = bytes.fromhex(digits)
        except ValueError:
            return None
        if len(text) != 36 or len(node) != GRAPH_ID_BYTES + 4:
            return None
        graph, index = split_node(node)
        root = records.graph(graph)
        known = root is not None and index < root.node_count
        return node if known and not records.is_forgotten(graph, index) else None

    def ranges(
        self, nodes: client_service_pb2.NodeSet, coming: Mapping[bytes, int] = MappingProxyType({})
    ) -> tuple[list[tuple[bytes, int, int]], client_service_pb2.NodeSet]:
        """Return a node set as (graph, first, count), and the part of it that is not known or no longer.

        Args:
            nodes: the set.
            coming: sizes of graphs that are just being submitted by whoever asks.
        """
        if len(nodes.ranges) > RANGES_LIMIT or len(nodes.ids) > RANGES_LIMIT:
            told = (
                f"{max(len(nodes.ranges), len(nodes.ids))} ranges or ids are named; {RANGES_LIMIT} are allowed at once"
            )
            raise Refusal("TOO_MANY_IDS", f"{told}: join neighbours to one, or ask in parts")
        found: list[tuple[bytes, int, int]] = []
        unknown = client_service_pb2.NodeSet()
        if nodes.ranges:
            _check_graph_id(nodes.graph)
        root = self._engine.committed.graph(nodes.graph) if nodes.ranges else None
        node_count = coming.get(nodes.graph, 0) if root is None else root.node_count
        for one in nodes.ranges:
            if one.first + one.count <= node_count:
                found.append((nodes.graph, one.first, one.count))
            else:
                unknown.graph = nodes.graph
                unknown.ranges.append(one)
        for text in nodes.ids:
            node = self.node(text)
            if node is None:
                unknown.ids.append(text)
            else:
                graph, index = split_node(node)
                found.append((graph, index, 1))
        return found, unknown

    def expand(self, nodes: client_service_pb2.NodeSet) -> list[bytes | None]:
        """Return each node of a set, in order; None for one that is not known."""
        total = len(nodes.ids) + len(nodes.ranges)
        if total <= IDS_LIMIT:
            total = max(total, len(nodes.ids) + sum(one.count for one in nodes.ranges))
        if total > IDS_LIMIT:
            raise Refusal("TOO_MANY_IDS", f"{total} nodes are named; {IDS_LIMIT} are allowed at once: ask in parts")
        if nodes.ranges:
            _check_graph_id(nodes.graph)
        found: list[bytes | None] = []
        for first, count in convert.ranges(nodes.ranges):
            indexes = range(first, first + count)
            found += [node_id(nodes.graph, index) if index < INDEXES else None for index in indexes]
        return found + [self.node(text) for text in nodes.ids]

    async def results(
        self, nodes: client_service_pb2.NodeSet, *, states_only: bool, details: bool = False
    ) -> list[value_pb2.Result]:
        """Return how the nodes of a set stand, each as it is looked at; others go on meanwhile.

        Raises:
            Refusal: what is asked is too much, or what would be told is.
        """
        found, room = self.expand(nodes), values.Room(self._payload_limit)
        answers: list[value_pb2.Result] = []
        offset, size, running = len(found) - len(nodes.ids), 0, cache(self._running.by_node)
        for number, node in enumerate(found):
            answer = self._result(node, room, running, states_only=states_only)
            if details and node is not None and answer.known:
                self._add_details(node, answer)
            if number >= offset:
                answer.id = nodes.ids[number - offset]
            answers.append(answer)
            size += len(answer.value.data) + len(answer.meta.data) + len(answer.details.payload)
            if size > self._payload_limit + limits.MESSAGE_OVERHEAD:
                raise too_large(size, self._payload_limit + limits.MESSAGE_OVERHEAD)
            if number % PAGE == PAGE - 1:
                await asyncio.sleep(0)
                running = cache(self._running.by_node)
        return answers

    def _result(
        self,
        node: bytes | None,
        room: values.Room,
        running: Callable[[], Mapping[bytes, Attempt]],
        *,
        states_only: bool,
    ) -> value_pb2.Result:
        records = self._engine.committed
        if node is None:
            return value_pb2.Result(state=value_pb2.STATE_PENDING)
        graph, index = split_node(node)
        outcome = records.outcome(graph, index)
        if outcome is not None:
            answer = convert.result(graph, index, "", outcome, records)
            if states_only:
                answer.ClearField("value")
            elif outcome.state is NodeState.SUCCESS and not outcome.data:
                self._add_value(answer, graph, index, room)
            return answer
        answer = value_pb2.Result(node=node, known=records.graph(graph) is not None, state=value_pb2.STATE_PENDING)
        graph, index = values.stand_in(records, graph, index)
        attempt = running().get(node_id(graph, index)) if answer.known else None
        progress = records.progress(graph, index)
        if progress is not None and progress.custom_state:
            answer.custom_state = progress.custom_state
            answer.meta.data, answer.meta.content_type = progress.meta, progress.meta_type
        if attempt is not None:
            started = attempt.state is NodeState.STARTED
            answer.state = value_pb2.STATE_STARTED if started else value_pb2.STATE_RECEIVED
        elif progress is not None and progress.retrying:
            answer.state = value_pb2.STATE_RETRY
        if progress is not None:
            answer.retries = progress.retries
            if progress.failure is not None:
                answer.failure.CopyFrom(convert.failure_message(progress.failure, graph, records))
        return answer

    def _add_value(self, answer: value_pb2.Result, graph: bytes, index: int, room: values.Room) -> None:
        """Give a join, or a node that was replaced, its value; or say that it is to be fetched."""
        try:
            answer.value.CopyFrom(values.read_value(self._engine.committed, graph, index, room))
        except values.TooLarge:
            answer.value_apart = True

    def _add_details(self, node: bytes, answer: value_pb2.Result) -> None:
        """Say how a node was called."""
        records = self._engine.committed
        graph_id, index = split_node(node)
        graph, run = records.graph(graph_id), records.run_of(graph_id, index)
        if graph is None or run is None:
            return
        details = answer.details
        details.created_at_ms, details.group = graph.created_ms, run.group
        if run.is_join:
            return
        template = graph_pb2.Template.FromString(graph.templates[run.template].wire)
        details.task, details.queue, details.priority = template.task, template.queue or "default", template.priority
        details.headers, details.headers_content_type = template.headers, template.headers_content_type
        details.parent_id, details.root_id = template.parent_id, template.root_id
        payloads = records.payloads(graph_id, run)
        if payloads and not template.sensitive:  # else the arguments were kept for a shorter time than the rest
            details.payload, details.content_type = payloads[index - run.first], template.content_type


def too_large(size: int, most: int) -> Refusal:
    """Return the refusal of an answer that no message can hold; `size`: its bytes as far as they were counted."""
    told = f"the answer has {size} bytes or more; {most} are allowed"
    return Refusal("MESSAGE_TOO_LARGE", f"{told}: ask for fewer nodes, or for a join's members")


def made_by_a_client(text: str) -> bytes | None:
    """Return the node that an id names which a client of ours mints; None for an id of a user's own."""
    try:
        node = bytes.fromhex(text.replace("-", ""))
    except ValueError:
        return None
    is_ours = len(text) == 36 and len(node) == GRAPH_ID_BYTES + 4 and node[6] >> 4 == 7 and node[8] >> 6 == 2
    return node if is_ours else None


def _check_graph_id(graph: bytes) -> None:
    if len(graph) != GRAPH_ID_BYTES:
        raise Refusal("MALFORMED", f"a graph id has {GRAPH_ID_BYTES} bytes, this one {len(graph)}")
