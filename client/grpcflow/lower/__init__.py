"""Lowering: what turns a canvas into a graph of nodes and edges.

Pure, but for ``to_chunks``, which alone knows protobuf and is imported at its first use.
"""

from typing import TYPE_CHECKING

from grpcflow.lower.model import Attachment, EdgeSpec, LoweredGraph, Mode, OnFailure, Outcome, Run, TemplateSpec
from grpcflow.lower.options import OPTIONS
from grpcflow.lower.plain import plain, plain_call, plain_of
from grpcflow.lower.templates import Calls
from grpcflow.lower.walk import lower

if TYPE_CHECKING:
    from grpcflow_protos.v1 import graph_pb2

__all__ = [
    "OPTIONS",
    "Attachment",
    "Calls",
    "EdgeSpec",
    "LoweredGraph",
    "Mode",
    "OnFailure",
    "Outcome",
    "Run",
    "TemplateSpec",
    "lower",
    "plain",
    "plain_call",
    "plain_of",
    "to_chunks",
]


def to_chunks(
    graph: LoweredGraph, graph_id: bytes, attachment: Attachment | None = None, *, parted: bool = False
) -> "list[graph_pb2.GraphChunk]":
    """Return the pieces of a graph as messages of the wire; see ``lower.chunks``.

    Args:
        graph: The lowered canvas.
        graph_id: The 12 bytes of its id.
        attachment: The running attempt that the graph belongs to; None: it stands on its own.
        parted: True: pieces with large payloads may be ``Parted``.
    """
    from grpcflow.lower import chunks

    return chunks.to_chunks(graph, graph_id, attachment, parted=parted)
