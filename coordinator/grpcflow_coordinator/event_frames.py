"""How events lie in a file: in frames, each with its length and its sum. Pure; opens no file.

A frame holds some events in a row, at most `EVENTS` of them and about `BYTES`. Its head says which, so that a reader
can pass over it: length and sum of what follows, the offset of the first event, how many there are, and when that was.
What is behind a frame that is cut off, or whose sum is wrong, cannot be trusted.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from grpcflow_coordinator.happenings import Happening, Numbered
from grpcflow_protos import limits

#: Most events of one frame, and bytes after which it takes no more.
EVENTS: Final = 64
BYTES: Final = 64 * 1024

#: Most nodes of one event, far more than graphs have.
MOST_NODES: Final = 10 * limits.NODE_LIMIT

_SUMMED: Final = struct.Struct("<QIq")
_HEAD: Final = struct.Struct("<II")

#: Bytes of the head of a frame.
HEAD_BYTES: Final = _HEAD.size + _SUMMED.size

_ARRAY: Final = b"\xdd"
_encode: Final = msgspec.msgpack.Encoder().encode


class _Entry(msgspec.Struct, array_like=True):
    """One event; its nodes are pairs of a first one and a count."""

    time_ms: int
    kind: int
    graph: bytes
    spans: list[int]
    worker: str
    detail: str
    type: str
    fields: bytes
    task: str
    queue: str
    own_id: str


_decode: Final = msgspec.msgpack.Decoder(list[_Entry]).decode


class Head(NamedTuple):
    """What the head of a frame says: bytes and sum of what follows it, its first event, how many, and when."""

    length: int
    sum: int
    first: int
    events: int
    time_ms: int

    @property
    def last(self) -> int:
        """The offset of the last event."""
        return self.first + self.events - 1


def frames(first: int, happenings: Sequence[Happening]) -> Iterator[tuple[int, bytes]]:
    """Yield events as frames, each with the offset of its first one.

    Args:
        first: the offset of the first event; the others follow by one.
        happenings: the events.
    """
    at = 0
    while at < len(happenings):
        entries, size = [], 0
        for happening in happenings[at : at + EVENTS]:
            entries.append(_entry(happening))
            size += len(entries[-1])
            if size >= BYTES:
                break
        body = b"".join((_ARRAY, len(entries).to_bytes(4, "big"), *entries))
        summed = _SUMMED.pack(first + at, len(entries), happenings[at].time_ms)
        yield first + at, b"".join((_HEAD.pack(len(body), zlib.crc32(body, zlib.crc32(summed))), summed, body))
        at += len(entries)


def _entry(happening: Happening) -> bytes:
    time_ms, kind, graph, nodes, *rest = happening
    return _encode((time_ms, kind, graph, _spans(nodes), *rest))


def _spans(nodes: Sequence[int]) -> list[int]:
    """Return nodes as pairs of a first one and a count."""
    count = len(nodes)
    if not count:
        return []
    if nodes[-1] - nodes[0] == count - 1 and (count < 3 or type(nodes) is range or _is_row(nodes)):
        return [nodes[0], count]
    spans: list[int] = []
    for node in nodes:
        if spans and node == spans[-2] + spans[-1]:
            spans[-1] += 1
        else:
            spans += (node, 1)
    return spans


def _is_row(nodes: Sequence[int]) -> bool:
    return list(nodes) == list(range(nodes[0], nodes[0] + len(nodes)))


def read_head(data: bytes) -> Head | None:
    """Return the head of a frame, or None where there is not all of it."""
    if len(data) < HEAD_BYTES:
        return None
    length, found = _HEAD.unpack_from(data)
    return Head(length, found, *_SUMMED.unpack_from(data, _HEAD.size))


def read_body(head: Head, body: bytes) -> Numbered | None:
    """Return the events of a frame with their offsets, or None where it is damaged."""
    summed = _SUMMED.pack(head.first, head.events, head.time_ms)
    if len(body) != head.length or zlib.crc32(body, zlib.crc32(summed)) != head.sum:
        return None
    try:
        entries = _decode(body)
    except (msgspec.DecodeError, ValueError):  # a later version wrote it
        return None
    if not all(_are_spans(entry.spans) for entry in entries):
        return None
    return [(head.first + at, _happening(entry)) for at, entry in enumerate(entries)]


def _are_spans(spans: list[int]) -> bool:
    """Tell whether they are pairs, of nodes that a graph can have: what they name is put into a list."""
    return len(spans) % 2 == 0 and all(0 <= number <= MOST_NODES for number in spans) and sum(spans[1::2]) <= MOST_NODES


def _happening(entry: _Entry) -> Happening:
    spans = entry.spans
    nodes: Sequence[int] = range(spans[0], spans[0] + spans[1]) if spans else ()
    if len(spans) > 2:
        nodes = [node for at in range(0, len(spans), 2) for node in range(spans[at], spans[at] + spans[at + 1])]
    return Happening(
        entry.time_ms,
        entry.kind,
        entry.graph,
        nodes,
        entry.worker,
        entry.detail,
        entry.type,
        entry.fields,
        entry.task,
        entry.queue,
        entry.own_id,
    )
