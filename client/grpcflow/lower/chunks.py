"""A lowered graph as messages of the wire.

The one module of the lowering that knows protobuf; imported when something is sent, and not before.
"""

import itertools
from collections.abc import Sequence
from functools import cache
from typing import Final

from grpcflow.ids import node_bytes
from grpcflow.lower.keys import NO_KEYS
from grpcflow.lower.model import Attachment, LoweredGraph, Run, TemplateSpec
from grpcflow_protos.freed_memory import keep_freed_memory
from grpcflow_protos.limits import CHUNK_BYTES, CHUNK_RUNS
from grpcflow_protos.v1 import graph_pb2
from grpcflow_protos.wire_parts import nested, with_parts

__all__ = ["to_chunks"]

#: Bytes that one index, one edge or one run takes in a message, at most, beside its payloads.
_INDEX_BYTES: Final = 5
_EDGE_BYTES: Final = 12
_RUN_BYTES: Final = 70
#: Bytes that protobuf puts around one payload.
_PAYLOAD_BYTES: Final = 5
#: Bytes that protobuf puts around one template.
_TEMPLATE_BYTES: Final = 5
#: A run of so many bytes has a piece of its own, into which its payloads are not copied.
_ALONE: Final = CHUNK_BYTES // 2
_RUNS: Final = graph_pb2.GraphChunk.RUNS_FIELD_NUMBER
_PAYLOADS: Final = graph_pb2.NodeRun.PAYLOADS_FIELD_NUMBER

#: Counts the graphs with one large payload that this process has sent: who sends two mostly sends more.
_LARGE_GRAPHS: Final = itertools.count(1)

#: Fields of a template that are copied as they are, and lengths of time in it.
_MOSTLY_DEFAULT: Final = (
    *("priority", "acks_early", "max_deliveries", "ignore_result", "content_type", "headers", "parent_id"),
    *("track_started", "sensitive", "unique_stays", "broadcast", "concurrency_per_key"),
)
_LENGTHS: Final = (
    *("countdown", "expires_in", "time_limit", "soft_time_limit", "unique_for", "result_expires", "failure_expires"),
)

_KINDS: Final = {
    "replace": graph_pb2.ATTACHMENT_KIND_REPLACE,
    "member": graph_pb2.ATTACHMENT_KIND_MEMBER,
}


@cache
def _keep_freed_memory() -> None:
    keep_freed_memory()


def to_chunks(
    graph: LoweredGraph, graph_id: bytes, attachment: Attachment | None = None, *, parted: bool = False
) -> list[graph_pb2.GraphChunk]:
    """Return the pieces of a graph, in order, cut by bytes and by runs.

    One run is never cut again: its payloads alone may be over the limit.

    Args:
        graph: The lowered canvas.
        graph_id: The 12 bytes of its id.
        attachment: The running attempt that the graph belongs to; None: it stands on its own.
        parted: True: pieces with large payloads may be ``Parted``, which saves copies where they are only sent.
    """
    chunks = [graph_pb2.GraphChunk(graph=graph_id, node_count=graph.node_count)]
    nesting = 0 if attachment is None else attachment.nesting
    # The first call is the root of all; who runs another one knows it by its place, but not by an id of the user's.
    root = graph.runs[0].id if len(graph.runs) > 1 else ""
    size = sent = 0
    apart: dict[int, list[bytes]] = {}
    for run in graph.runs:
        # A template is in the piece of the first run that needs it.
        needed = [_template(template, nesting, root) for template in graph.templates[sent : run.template + 1]]
        sent += len(needed)
        run_size = _size(run) + sum(template.ByteSize() + _TEMPLATE_BYTES for template in needed)
        chunk = chunks[-1]
        alone = parted and run_size >= _ALONE and run.members is None
        much = alone or len(chunks) - 1 in apart or size + run_size > CHUNK_BYTES
        if chunk.runs and (much or len(chunk.runs) >= CHUNK_RUNS):
            chunk = graph_pb2.GraphChunk(graph=graph_id, node_count=graph.node_count, sequence=len(chunks))
            chunks.append(chunk)
            size = 0
        chunk.templates.extend(needed)
        message = chunk.runs.add(first=run.first, count=run.count, children=run.children)
        if alone:
            apart[len(chunks) - 1] = run.payloads
        _fill(message, run, graph_id, () if alone else run.payloads)
        if attachment is not None and run.first == graph.outcome.node:
            # The end of the graph takes the place in a group that the running node has.
            message.group, message.group_index = attachment.group, attachment.group_index
            message.in_chord = attachment.in_chord
        size += run_size
    chunks[-1].last = True
    # Which node's end is the end of the whole: what the graph is called by where it is shown, listed or explained.
    chunks[0].outcome = graph.outcome.node + 1
    if attachment is not None:
        chunks[0].attachment.CopyFrom(_attachment(attachment, graph.outcome.node))
    if apart and (len(apart) > 1 or next(_LARGE_GRAPHS) > 1):
        _keep_freed_memory()  # what these need is needed again for their results, and for who comes next
    for place, payloads in apart.items():
        head = chunks[place].runs.pop().SerializeToString()
        chunks[place] = with_parts(chunks[place], nested(_RUNS, head, _PAYLOADS, payloads))
    return chunks


def _attachment(attachment: Attachment, final: int) -> graph_pb2.Attachment:
    """Return an attachment as a message; ``final``: index of the node whose end counts."""
    return graph_pb2.Attachment(kind=_KINDS[attachment.kind], node=attachment.node, token=attachment.token, final=final)


def _size(run: Run) -> int:
    """Return about how many bytes a run takes in a message."""
    return (
        _RUN_BYTES
        + run.size
        + len(run.id)
        + (0 if run.keys is NO_KEYS else sum(map(len, run.keys)))
        + _PAYLOAD_BYTES * len(run.payloads)
        + _EDGE_BYTES * (len(run.inputs) + len(run.members or ()))
        + _INDEX_BYTES * len(run.children)
    )


def _fill(message: graph_pb2.NodeRun, run: Run, graph_id: bytes, payloads: Sequence[bytes]) -> None:
    """Say what a run is, in its place in the piece: a message that is put into another one is copied twice."""
    if run.members is None:
        message.template = run.template
        message.payloads.extend(payloads)
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
    if run.group >= 0:
        message.group = node_bytes(graph_id, run.group)
        message.group_index = run.group_index
        message.in_chord = run.in_chord
    if run.keys is not NO_KEYS:
        message.fairness_key, message.concurrency_key, message.unique_key = run.keys


def _template(template: TemplateSpec, nesting: int, root: str) -> graph_pb2.Template:
    """Return a template as a message.

    Args:
        template: What is to be said.
        nesting: How many replacements lie above the graph.
        root: Id of the graph's first call where that is the user's own.
    """
    # Fields that are not the default one by one: setting all of them costs three times as much, with every call.
    message = graph_pb2.Template(task=template.task, queue=template.queue)
    for name in _MOSTLY_DEFAULT:
        value = getattr(template, name)
        if value:
            setattr(message, name, value)
    if template.root_id or root:
        message.root_id = template.root_id or root
    if template.replaced_nesting or nesting:
        message.replaced_nesting = max(template.replaced_nesting, nesting)
    if template.stamps:
        message.stamps.extend(graph_pb2.Stamp(name=name, values=values) for name, values in template.stamps)
    for name in _LENGTHS:
        length = getattr(template, name)
        if length is not None:
            getattr(message, name).FromTimedelta(length)
    if template.eta is not None:
        message.eta.FromDatetime(template.eta)
    if template.expires_at is not None:
        message.expires_at.FromDatetime(template.expires_at)
    return message
