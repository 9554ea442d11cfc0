"""From the coordinator's messages about graphs to the plain data that users see. Asks nobody."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from grpcflow import ids
from grpcflow.graph.model import Cancelled, Edge, Explanation, Node, Retried, Run, Summary, Tally
from grpcflow_protos.v1 import graph_pb2, value_pb2
from grpcflow_protos.v1 import graph_service_pb2 as pb

__all__ = ["cancelled", "explanation", "retried", "run", "state_number", "summary"]

_KINDS: Final = {
    graph_pb2.EDGE_MODE_VALUE: "value",
    graph_pb2.EDGE_MODE_AFTER: "after",
    graph_pb2.EDGE_MODE_ERROR: "error",
    graph_pb2.EDGE_MODE_ERROR_AFTER: "error_after",
}
_ON_FAILURE: Final = {graph_pb2.FAILURE_MODE_CHORD: "chord", graph_pb2.FAILURE_MODE_BODY: "body"}
_PREFIX: Final = "STATE_"


def summary(message: pb.GraphSummary) -> Summary:
    """Return a graph in short."""
    return Summary(
        graph=message.graph.hex(),
        id=message.id,
        state=_state(message.state),
        created=_moment(message.created_at_ms) or datetime.fromtimestamp(0, UTC),
        settled=_moment(message.settled_at_ms),
        ended=message.ended,
        tally=_tally(message.tally),
        task=message.task,
        templates=message.templates,
        cancelled=message.cancelled,
        attached_to=message.attached_to,
    )


def run(message: pb.RunView, templates: Sequence[pb.TemplateView], graph: bytes) -> Run:
    """Return a run.

    Args:
        message: The run.
        templates: Those of its graph.
        graph: The 12 bytes of the graph's id.
    """
    # A template that did not come is of a coordinator that sends them otherwise: what it says is not known here.
    known = not message.join and message.template < len(templates)
    template = templates[message.template] if known else pb.TemplateView()
    here = range(message.first, message.first + message.count)
    edges = [Edge(range(one.first, one.first + one.count), here, "member") for one in message.members]
    for one in message.inputs:
        kind = _KINDS.get(one.mode, f"unknown-{one.mode}")
        failing = "" if kind.startswith("error") else _ON_FAILURE.get(one.on_failure, "pass")
        edges.append(Edge(range(one.parent, one.parent + 1), here, kind, failing))
    return Run(
        first=message.first,
        count=message.count,
        task=template.task,
        queue=template.queue,
        priority=template.priority,
        join=message.join,
        edges=tuple(edges),
        tally=_tally(message.tally),
        nodes=tuple(_node(one, message.id, template, graph) for one in message.nodes),
        id=message.id,
    )


def _node(message: pb.NodeView, own_id: str, template: pb.TemplateView, graph: bytes) -> Node:
    return Node(
        index=message.index,
        id=own_id or ids.node_id(graph, message.index),
        state=message.state,
        task=template.task,
        queue=template.queue,
        worker=message.worker,
        started=_moment(message.started_at_ms),
        settled=_moment(message.settled_at_ms),
        retries=message.retries,
        losses=message.losses,
        error=message.error,
        origin=message.origin,
        replaced_by=message.replaced_by.hex(),
        due=_moment(message.due_at_ms),
        waiting=message.waiting,
    )


def cancelled(message: pb.CancelGraphResponse) -> Cancelled:
    """Return what became of a cancel."""
    return Cancelled(message.cancelled, message.running, message.had_ended)


def retried(message: pb.RetryGraphResponse) -> Retried:
    """Return what became of a retry."""
    return Retried(message.retried, tuple(message.unknown_tasks))


def explanation(message: pb.ExplainResponse, id: str) -> Explanation:
    """Return why a task is where it is.

    Args:
        message: The answer.
        id: The id that was asked for.
    """
    return Explanation(
        id=id,
        code=message.code,
        sentence=message.sentence,
        state=_state(message.state),
        task=message.task,
        queue=message.queue,
        worker=message.worker,
        waits_for=tuple(message.waits_for),
        waiting_count=message.waiting_count,
        due=_moment(message.due_at_ms),
        ahead=message.ahead,
    )


def state_number(name: str) -> value_pb2.State.ValueType:
    """Return the number of a state on the wire.

    Raises:
        ValueError: There is no such state; the message names those there are.
    """
    try:
        return value_pb2.State.Value(_PREFIX + name.upper())
    except ValueError:
        known = ", ".join(one.removeprefix(_PREFIX) for one in value_pb2.State.keys()[1:])
        message = f"there is no state {name!r}; use some of {known}"
        raise ValueError(message) from None


def _state(number: "value_pb2.State.ValueType") -> str:
    """Return the name of a state; one that this version does not know has its number."""
    known = value_pb2.State.DESCRIPTOR.values_by_number.get(number)
    return f"UNKNOWN-{number}" if known is None else known.name.removeprefix(_PREFIX)


def _moment(milliseconds: int) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


def _tally(message: pb.Tally) -> Tally:
    return _shared_tally(
        message.nodes,
        message.unsettled,
        message.running,
        message.succeeded,
        message.failed,
        message.revoked,
        message.ignored,
        message.rejected,
    )


@lru_cache(maxsize=256)
def _shared_tally(*counts: int) -> Tally:
    """Return a tally; those of calls that are alone are few and come by the thousand."""
    return Tally(*counts)
