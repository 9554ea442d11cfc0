"""Parts of messages as protobuf writes them: what is large is put together without having a message made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.message import Message

    M = TypeVar("M", bound=Message)

__all__ = ["Parted", "Piece", "joined", "nested", "prefix", "varint", "whole_of", "with_parts"]

#: An encoded message, or its parts, which are joined when it leaves.
Piece = bytes | tuple[bytes, ...]

#: How the wire marks a field whose length stands before it.
_LENGTH_FOLLOWS: Final = 2


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


def whole_of(message: M | Parted) -> M:
    """Return the message itself of what `with_parts` returned."""
    return cast("M", message.message) if isinstance(message, Parted) else message


def with_parts(message: M, parts: list[bytes]) -> M:
    """Return what a stream sends as the message with its parts: the message itself where there are none."""
    return cast("M", Parted(message, parts)) if parts else message
