"""What the records say of the nodes of an event, so that it can be read when they are gone. Reads only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from grpcflow_coordinator.core.model import Failure, Graph, Template, text_id
from grpcflow_coordinator.happenings import Happening
from grpcflow_coordinator.storage.records import Records
from grpcflow_protos.v1 import event_service_pb2 as pb

#: Nodes whose names are remembered: each is told of some times, one after the other.
REMEMBERED: Final = 10_000

_UNHAPPY: Final = frozenset({pb.EVENT_KIND_TASK_FAILED, pb.EVENT_KIND_TASK_REJECTED, pb.EVENT_KIND_TASK_REVOKED})

_Names = tuple[str, str, str]
_NONE: Final[_Names] = ("", "", "")


class Names:
    """Adds to events what the records say of their nodes: task, queue, the user's own id, and why one failed.

    Args:
        records: what is durable.
        shown: returns a failure in one line, of the call of a template; None: of a join.
    """

    def __init__(self, records: Records, shown: Callable[[Failure, Template | None], str]) -> None:
        self._records = records
        self._shown = shown
        self._known: dict[tuple[bytes, int], _Names] = {}

    def describe(self, happening: Happening) -> Happening:
        """Return the event with what is known of its first node; of a graph that was sent with all of its nodes."""
        time_ms, kind, graph, nodes, worker, detail, type_name, fields, *_ = happening
        if not graph:
            return happening
        if kind == pb.EVENT_KIND_TASK_SENT:
            return self._sent(happening)
        task, queue, own_id = self._known.get((graph, nodes[0])) or self._read(graph, nodes[0], None)
        if kind in _UNHAPPY and not detail and len(nodes) == 1:
            outcome = self._records.outcome(graph, nodes[0])
            if outcome is not None and outcome.failure is not None:
                detail = self._shown(outcome.failure, self._template(graph, nodes[0]))
        return Happening(time_ms, kind, graph, nodes, worker, detail, type_name, fields, task, queue, own_id)

    def _template(self, graph: bytes, index: int) -> Template | None:
        root, run = self._records.graph(graph), self._records.run_of(graph, index)
        return None if root is None or run is None or run.is_join else root.templates[run.template]

    def _sent(self, happening: Happening) -> Happening:
        graph = self._records.graph(happening.graph)
        if graph is None:
            return happening
        task, queue, own_id = self._read(graph.id, graph.outcome, graph)
        own_id = text_id(graph.id, graph.outcome, own_id)
        nodes = range(graph.node_count)
        return Happening(happening.time_ms, happening.kind, graph.id, nodes, task=task, queue=queue, own_id=own_id)

    def _read(self, graph: bytes, index: int, root: Graph | None) -> _Names:
        """Return the names of a node, and remember them."""
        root = root or self._records.graph(graph)
        run = None if root is None else self._records.run_of(graph, index)
        found = _NONE
        if root is not None and run is not None:
            template = None if run.is_join else root.templates[run.template]
            found = (template.task, template.queue, run.own_id) if template else ("", "", run.own_id)
        if len(self._known) >= REMEMBERED:
            self._known.clear()  # all at once: to take the oldest out of a dictionary again and again is slow
        self._known[graph, index] = found
        return found
