"""Puts the parts of large inputs together to serialized `Value` messages, one after the other.

A value that is JSON throughout becomes one JSON text, whatever its depth; any other becomes lists of messages.

The bytes are laid out by hand: parts are kept as they come, the headers of a list are filled in when it ends, and
everything is joined once. So a list of any depth and length is copied one time, without recursion and without a tree
of messages. Pure: this file may NOT do I/O or know attempts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from grpcflow_protos import limits
from grpcflow_protos.v1 import value_pb2
from grpcflow_protos.wire_parts import varint

#: Keys of the two fields of a list on the wire: number of the field, and that its length comes first.
_LIST_KEY: Final = bytes([value_pb2.Value.LIST_FIELD_NUMBER << 3 | 2])
_MEMBER_KEY: Final = bytes([value_pb2.ValueList.VALUES_FIELD_NUMBER << 3 | 2])


class TooLarge(Exception):
    """The inputs have more bytes than a worker takes; the text says how many."""


class BrokenParts(Exception):
    """The parts make no whole values; the text says why."""


class Assembly:
    """The inputs of one attempt while they come in.

    Args:
        limit: most bytes that they may have in all.
    """

    def __init__(self, limit: int = limits.INPUTS_LIMIT) -> None:
        self._limit = limit
        self._size = 0
        self._chunks: list[bytes] = []
        #: Of each open list: the place of its header among the chunks, and the size when it began.
        self._open: list[tuple[int, int]] = []
        self._values: list[bytes] = []
        #: The same value as JSON, as long as all of it is; None: it is not.
        self._json: list[bytes] | None = []

    def add(self, parts: Iterable[value_pb2.ValuePart]) -> None:
        """Take the next parts.

        Raises:
            TooLarge: there are more bytes than the limit.
            BrokenParts: a list ends that did not begin, or a part is of an unknown kind.
        """
        for part in parts:
            if part.kind == value_pb2.PART_KIND_OPEN:
                self._open.append((len(self._chunks), self._size))
                self._chunks.append(b"")
                self._write(b"[", begins=True)
            elif part.kind == value_pb2.PART_KIND_CLOSE:
                self._close()
            else:
                self._leaf(part)
            if self._size > self._limit:
                raise TooLarge(f"the inputs have more than {self._limit:,} bytes")

    def values(self) -> tuple[bytes, ...]:
        """The whole values, serialized, in order.

        Raises:
            BrokenParts: a list has not ended.
        """
        if self._open:
            raise BrokenParts(f"{len(self._open)} lists among the inputs have no end")
        return tuple(self._values)

    def _leaf(self, part: value_pb2.ValuePart) -> None:
        if part.kind == value_pb2.PART_KIND_DATA:
            value = value_pb2.Value(data=part.data, content_type=part.content_type)
            if part.content_type:
                self._json = None
            self._write(part.data or b"null", begins=True)
        elif part.kind == value_pb2.PART_KIND_FAILED:
            value = value_pb2.Value(failed=part.failed)
            self._json = None
        else:
            raise BrokenParts(f"a part of the inputs is of the unknown kind {part.kind}; use a newer worker")
        data = value.SerializeToString()
        if self._open:
            self._push(_MEMBER_KEY + varint(len(data)))
        self._push(data)
        self._ended()

    def _close(self) -> None:
        if not self._open:
            raise BrokenParts("a list among the inputs ends that did not begin")
        place, before = self._open.pop()
        header = _LIST_KEY + varint(self._size - before)
        if self._open:
            whole = self._size - before + len(header)
            header = _MEMBER_KEY + varint(whole) + header
        self._chunks[place] = header
        self._write(b"]", begins=False)
        self._size += len(header)
        self._ended()

    def _push(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)

    def _ended(self) -> None:
        """Where that was the end of a whole value, put it together."""
        if self._open:
            return
        if len(self._chunks) == 1:
            self._values.append(self._chunks[0])
        elif self._json is not None:
            self._values.append(value_pb2.Value(data=b"".join(self._json)).SerializeToString())
        else:
            self._values.append(b"".join(self._chunks))
        self._chunks.clear()
        self._json = []

    def _write(self, text: bytes, *, begins: bool) -> None:
        """Write the value as JSON beside its messages: those are read to a depth of 100 only, and slowly."""
        written = self._json
        if written is None:
            return
        if begins and written and written[-1] != b"[":
            written.append(b",")
        written.append(text)
