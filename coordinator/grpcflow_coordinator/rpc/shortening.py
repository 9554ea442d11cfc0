"""Drops of a large message what will be refused anyway, as soon as it is read.

A message that repeats nothings takes a hundred times its bytes while it is there as objects, and a piece of a graph may
wait for its turn: so of one with more runs or templates than a piece may have, just so many are kept that it is refused
for that. What is refused, and how, is decided where pieces are checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2, graph_pb2

#: Bytes up to which a message is not looked at.
SMALL: Final = 16 * 1024

#: Pieces up to which each is looked at: where there are more, no one of them is that large.
MOST: Final = 2_000

#: Requests that bear pieces of graphs, each with the field in which it does.
_PIECES: Final[Mapping[type[Any], str]] = MappingProxyType(
    {client_service_pb2.SessionRequest: "submits", client_service_pb2.SubmitRequest: "chunks"}
)


def shortened(message: Any) -> Any:
    """Return a message, or in the place of one with too long a piece one with a shorter one."""
    name = _PIECES.get(type(message))
    if name is None:
        return message
    pieces: Sequence[graph_pb2.GraphChunk] = getattr(message, name)
    if 0 < len(pieces) <= MOST and any(map(_is_too_long, pieces)):
        return _copied(message, name, pieces)
    return message


def _is_too_long(piece: graph_pb2.GraphChunk) -> bool:
    return len(piece.runs) > limits.CHUNK_RUNS_MOST or len(piece.templates) > limits.CHUNK_RUNS_MOST


def _copied(message: Any, name: str, pieces: Sequence[graph_pb2.GraphChunk]) -> Any:
    """Return a copy that shares no memory with the message, which would keep all of it."""
    kept = limits.CHUNK_RUNS_MOST + 1
    copy = type(message)()
    for field, value in message.ListFields():
        if field.name == name:
            continue
        if field.is_repeated:
            getattr(copy, field.name).extend(value)
        else:
            getattr(copy, field.name).CopyFrom(value)
    copied = getattr(copy, name)
    for piece in pieces:
        if _is_too_long(piece):
            head = graph_pb2.GraphChunk(
                graph=piece.graph, sequence=piece.sequence, last=piece.last, node_count=piece.node_count
            )
            head.runs.extend(piece.runs[:kept])
            head.templates.extend(piece.templates[:kept])
            copied.append(head)
        else:
            copied.append(piece)
    return copy
