"""Parts of messages as protobuf writes them: what is large is put together without having a message made of it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from google.protobuf.message import Message

M = TypeVar("M", bound="Message")

__all__ = [
    "Apart",
    "Parted",
    "Piece",
    "joined",
    "nested",
    "opened",
    "prefix",
    "size_of",
    "taken_apart",
    "varint",
    "whole_of",
    "with_parts",
]

#: An encoded message, or its parts, which are joined when it leaves.
Piece = bytes | tuple[bytes, ...]

#: How the wire marks a field whose length stands before it.
_LENGTH_FOLLOWS: Final = 2

#: Bytes of a field of each other kind that has no length: a number of eight bytes, and one of four.
_FIXED: Final = MappingProxyType({1: 8, 5: 4})

#: Bytes of the longest number.
_VARINT_BYTES: Final = 10

#: Values of so many bytes are taken out of a message before it is read, where it has no more fields than these.
LARGE: Final = 64 * 1024
_FIELDS: Final = 64


def varint(number: int) -> bytes:
    """Return a length as the wire has it: seven bits a byte, lowest first, the high bit where more follow."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def prefix(number: int, size: int) -> bytes:
    """Return what the wire has before a field that is bytes, text or a message.

    Args:
        number: The field's number.
        size: Bytes of what follows.
    """
    return varint(number << 3 | _LENGTH_FOLLOWS) + varint(size)


def nested(number: int, head: bytes, inner: int, values: Iterable[bytes]) -> list[bytes]:
    """Return the parts of a field that is a message of which one repeated field is large.

    Args:
        number: The field's number.
        head: The message in it without those values, encoded.
        inner: Number of the repeated field.
        values: What stands in it.
    """
    parts = [b"", head]
    for value in values:
        parts += (prefix(inner, len(value)), value)
    parts[0] = prefix(number, sum(map(len, parts)))
    return parts


class Parted:
    """A message and fields that come behind it already encoded; a stream sends it as it would the whole message.

    A reader of protobuf takes the fields of a message in any order, and repeated ones as they come: so what is large
    needs no copy into a message and out of it again.

    Args:
        message: What is small of it.
        parts: Bytes that follow: encoded fields, each with its prefix.
    """

    __slots__ = ("message", "parts")

    def __init__(self, message: Message, parts: list[bytes]) -> None:
        self.message = message
        self.parts = parts

    def SerializeToString(self) -> bytes:  # noqa: N802 - as a message is asked
        """Return the whole message as bytes."""
        return b"".join((self.message.SerializeToString(), *self.parts))


def joined(piece: Piece) -> bytes:
    """Return an encoded message as one."""
    return piece if isinstance(piece, bytes) else b"".join(piece)


def size_of(piece: Piece) -> int:
    """Return how many bytes an encoded message has."""
    return len(piece) if isinstance(piece, bytes) else sum(map(len, piece))


def whole_of(message: M | Parted) -> M:
    """Return the message itself of what `with_parts` returned."""
    return cast("M", message.message) if isinstance(message, Parted) else message


def with_parts(message: M, parts: list[bytes]) -> M:
    """Return what a stream sends as the message with its parts: the message itself where there are none."""
    return cast("M", Parted(message, parts)) if parts else message


class Apart(Generic[M]):
    """A message that came, and the large values that were taken out of it before it was read.

    Args:
        message: The message without them.
        values: The values, in order.
    """

    __slots__ = ("message", "values")

    def __init__(self, message: M, values: list[bytes]) -> None:
        self.message = message
        self.values = values


def opened(received: M | Apart[M]) -> tuple[M, list[bytes]]:
    """Return what came as a message and the values that were taken out of it; none of one that was read whole."""
    return (received.message, received.values) if isinstance(received, Apart) else (received, [])


def taken_apart(data: bytes, path: Sequence[int], *, viewed: bool = False) -> tuple[bytes, list[bytes]]:
    """Take large values out of an encoded message: protobuf would copy each into the message, and out of it again.

    Args:
        data: The message.
        path: Numbers of the fields that lead to the values; all but the last are messages.
        viewed: True: the values are views of the message and no copies; each keeps all of it.

    Returns:
        The message without the values, and the values in order. The message as it is and none, where one of them is
        small, a field on the way to them is there more than once, or there are many others beside it.
    """
    try:
        # A view is read as bytes are: the few that do otherwise with it must be told.
        found = _taken_apart(cast("bytes", memoryview(data)) if viewed else data, 0, len(data), path)
    except (IndexError, ValueError):
        return data, []  # it is no message, and its reader says so
    return data if found is None else b"".join(found[0]), [] if found is None else found[1]


def _taken_apart(data: bytes, at: int, end: int, path: Sequence[int]) -> tuple[list[bytes], list[bytes]] | None:
    """Return what is left of a message that lies in `data`, in pieces, and the values; None: it is left as it is."""
    kept: list[bytes] = []
    values: list[bytes] = []
    for count, (key, begin, body, stop) in enumerate(_fields(data, at, end)):
        is_large = key == path[0] << 3 | _LENGTH_FOLLOWS and stop - body >= LARGE
        if count >= _FIELDS or (key >> 3 == path[0] and (not is_large or (values and len(path) > 1))):
            return None
        if not is_large:
            kept.append(data[begin:stop])
        elif len(path) == 1:
            values.append(data[body:stop])
        else:
            inner = _taken_apart(data, body, stop, path[1:])
            if inner is None:
                return None
            head, values = inner
            kept += (prefix(path[0], sum(map(len, head))), *head)
    return (kept, values) if values else None


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the key of each field of a message, and where it begins, where what it holds does, and where it ends.

    Raises:
        ValueError, IndexError: These are not the bytes of a message.
    """
    while at < end:
        begin = at
        key, at = _read_varint(data, at)
        kind = key & 7
        if kind == _LENGTH_FOLLOWS:
            size, at = _read_varint(data, at)
            stop = at + size
        elif kind == 0:
            stop = _read_varint(data, at)[1]
        else:
            stop = at + _FIXED.get(kind, end)
        if stop > end:
            raise ValueError
        yield key, begin, at, stop
        at = stop


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return a number as the wire has it, and where it ends."""
    number = shift = 0
    for place in range(at, at + _VARINT_BYTES):
        number |= (data[place] & 0x7F) << shift
        if data[place] < 0x80:
            return number, place + 1
        shift += 7
    raise ValueError
