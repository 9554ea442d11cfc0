"""A lowered graph as messages of the wire.

The one module of the lowering that knows protobuf; imported when something is sent, and not before.
"""

from collections.abc import Iterator
from typing import Final

from grpcflow.lower.model import Attachment, LoweredGraph, Run, TemplateSpec
from grpcflow_protos.limits import BATCH_BYTES
from grpcflow_protos.v1 import graph_pb2

__all__ = ["to_chunks"]

#: Bytes that one index, one edge or one run takes in a message, at most, beside its payloads.
_INDEX_BYTES: Final = 5
_EDGE_BYTES: Final = 12
_RUN_BYTES: Final = 40
#: Bytes that protobuf puts around one payload.
_PAYLOAD_BYTES: Final = 5

_KINDS: Final = {
    "replace": graph_pb2.ATTACHMENT_KIND_REPLACE,
    "member": graph_pb2.ATTACHMENT_KIND_MEMBER,
}


def to_chunks(graph: LoweredGraph, graph_id: bytes, attachment: Attachment | None = None) -> list[graph_pb2.GraphChunk]:
    """Return the pieces of a graph, in order, cut by bytes.

    Args:
        graph: The lowered canvas.
        graph_id: The 12 bytes of its id.
        attachment: The running attempt that the graph belongs to; None: it stands on its own.
    """
    pieces = list(_cut(graph.runs))
    last = len(pieces) - 1
    chunks = [
        graph_pb2.GraphChunk(
            graph=graph_id, sequence=sequence, last=sequence == last, node_count=graph.node_count, runs=piece
        )
        for sequence, piece in enumerate(pieces)
    ]
    chunks[0].templates.extend(map(_template, graph.templates))
    if attachment is not None:
        chunks[0].attachment.CopyFrom(_attachment(attachment, graph.outcome.node))
    return chunks


def _attachment(attachment: Attachment, final: int) -> graph_pb2.Attachment:
    """Return an attachment as a message; ``final``: index of the node whose end counts."""
    return graph_pb2.Attachment(kind=_KINDS[attachment.kind], node=attachment.node, token=attachment.token, final=final)


def _cut(runs: list[Run]) -> Iterator[list[graph_pb2.NodeRun]]:
    """Yield the runs of each piece; one run is never cut again."""
    piece: list[graph_pb2.NodeRun] = []
    size = 0
    for run in runs:
        run_size = _size(run)
        if piece and size + run_size > BATCH_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(_run(run))
        size += run_size
    yield piece


def _size(run: Run) -> int:
    """Return about how many bytes a run takes in a message."""
    return (
        _RUN_BYTES
        + run.size
        + _PAYLOAD_BYTES * len(run.payloads)
        + _EDGE_BYTES * (len(run.inputs) + len(run.members or ()))
        + _INDEX_BYTES * len(run.children)
    )


def _run(run: Run) -> graph_pb2.NodeRun:
    """Return a run as a message."""
    message = graph_pb2.NodeRun(first=run.first, count=run.count, children=run.children)
    if run.members is None:
        message.template = run.template
        message.payloads.extend(run.payloads)
    else:
        ranges = [graph_pb2.Range(first=first, count=count) for first, count in run.members]
        message.join.CopyFrom(graph_pb2.Join(members=ranges))
    if run.inputs:
        message.inputs.extend(
            graph_pb2.Edge(parent=edge.parent, mode=edge.mode.value, on_failure=edge.on_failure.value)  # type: ignore[arg-type]
            for edge in run.inputs
        )
    if run.id:
        message.id = run.id
    return message


def _template(template: TemplateSpec) -> graph_pb2.Template:
    """Return a template as a message."""
    message = graph_pb2.Template(
        task=template.task,
        queue=template.queue,
        priority=template.priority,
        acks_early=template.acks_early,
        max_deliveries=template.max_deliveries,
        ignore_result=template.ignore_result,
        content_type=template.content_type,
        headers=template.headers,
        parent_id=template.parent_id,
        root_id=template.root_id,
        track_started=template.track_started,
    )
    if template.countdown is not None:
        message.countdown.FromTimedelta(template.countdown)
    if template.expires_in is not None:
        message.expires_in.FromTimedelta(template.expires_in)
    if template.eta is not None:
        message.eta.FromDatetime(template.eta)
    if template.expires_at is not None:
        message.expires_at.FromDatetime(template.expires_at)
    return message
