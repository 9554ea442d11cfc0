"""A store as a stream of bytes that any host and any later version reads: export and import.

The stream: `MAGIC`, then frames. A frame is a length (4 bytes, big end first), the CRC-32 of what follows (4 bytes),
and a MessagePack array: first a header, then blocks of [key, value] pairs in the order of the keys, at last the end
with the count of the pairs and the SHA-256 of everything before that frame. A stream without its end is not whole, and
nothing of it is kept. Keys and values are those of the records, so the versions that they bear are the format.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import msgspec

from grpcflow_coordinator.storage.contract import KEY_LIMIT, Batch, Store, StoreDamaged

if TYPE_CHECKING:
    from hashlib import _Hash as Hash  # pyright: ignore[reportPrivateUsage]  # the stub's only name for it

#: What a stream begins with; the digit is the version of the stream.
MAGIC: Final = b"grpcflow store 1\n"

#: Pairs and bytes of one block; whichever is reached first ends it.
_PAIRS: Final = 1_000
_BYTES: Final = 1 << 20

#: Longest frame in bytes that is read: a block of one pair with a large value.
_LONGEST: Final = 256 << 20

_HEAD: Final = struct.Struct(">II")

_Pair = tuple[Annotated[bytes, msgspec.Meta(min_length=1, max_length=KEY_LIMIT)], bytes]


class Origin(msgspec.Struct, frozen=True):
    """Where a stream comes from."""

    #: Format of the folder that was exported.
    format: int
    #: Version of this distribution that wrote the stream.
    version: str


class _Header(msgspec.Struct, array_like=True, tag="header"):
    origin: Origin


class _Block(msgspec.Struct, array_like=True, tag="pairs"):
    pairs: Annotated[list[_Pair], msgspec.Meta(min_length=1)]


class _End(msgspec.Struct, array_like=True, tag="end"):
    count: int
    digest: bytes


_Part = _Header | _Block | _End

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Part).decode


class StreamDamaged(StoreDamaged):
    """The stream is not whole, or of a version that is not known; the message says which."""


def export(store: Store, stream: BinaryIO, *, store_format: int, version: str) -> int:
    """Write all records.

    Args:
        store: what is read; one moment of it, where somebody writes to it meanwhile.
        stream: where to.
        store_format: the format that the store's folder has.
        version: of this distribution, for people.

    Returns:
        How many records it were.
    """
    digest = sha256(MAGIC)
    stream.write(MAGIC)

    def write(part: _Part) -> None:
        body = _encode(part)
        frame = _HEAD.pack(len(body), zlib.crc32(body)) + body
        digest.update(frame)
        stream.write(frame)

    write(_Header(Origin(store_format, version)))
    count = 0
    for block in _blocks(store):
        write(_Block(block))
        count += len(block)
    write(_End(count, digest.digest()))
    stream.flush()
    return count


def _blocks(store: Store) -> Iterator[list[tuple[bytes, bytes]]]:
    block: list[tuple[bytes, bytes]] = []
    size, start = 0, b""
    while page := store.scan(start, b"\xff" * 8, _PAIRS):
        for key, value in page:
            block.append((key, value))
            size += len(key) + len(value)
            if len(block) >= _PAIRS or size >= _BYTES:
                yield block
                block, size = [], 0
        start = page[-1][0] + b"\x00"
    if block:
        yield block


def load(stream: BinaryIO, store: Store, *, newest: int) -> tuple[Origin, int]:
    """Write all records of a stream into an empty store; where it fails, the store is to be thrown away.

    Args:
        stream: what `export` wrote.
        store: where to.
        newest: the newest format of folders that this version knows.

    Returns:
        Where it comes from, and how many records it were.

    Raises:
        StreamDamaged: the stream is not whole.
        StoreError: the store could not be written.
    """
    magic = stream.read(len(MAGIC))
    if magic != MAGIC:
        raise StreamDamaged(
            "this is no export that this version reads: its first line is to be "
            f"{MAGIC.decode().strip()!r}; use the version of grpcflow that wrote it, or a newer one"
        )
    digest, count, last = sha256(magic), 0, b""
    origin = _origin(_next(stream, digest), newest)
    while True:
        before = digest.digest()
        part = _next(stream, digest)
        if isinstance(part, _Block):
            batch = Batch(dict(part.pairs))
            if min(batch.puts) <= last:
                raise StreamDamaged("the export is not in order: it was put together from pieces; export it again")
            last = max(batch.puts)
            store.commit(batch)
            count += len(batch.puts)
        elif part == _End(count, before):
            return origin, count
        else:
            raise StreamDamaged(f"the export does not end as it went on, {count} records were read: export it again")


def _origin(part: _Part, newest: int) -> Origin:
    if not isinstance(part, _Header):
        raise StreamDamaged("the export has no header: export it again")
    if part.origin.format > newest:
        raise StreamDamaged(
            f"the export was made by grpcflow {part.origin.version} in format {part.origin.format}, this version reads "
            f"up to {newest}: use that one, or a newer one"
        )
    return part.origin


def _next(stream: BinaryIO, digest: Hash) -> _Part:
    head = stream.read(_HEAD.size)
    length, checksum = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, 0)
    body = stream.read(length) if 0 < length <= _LONGEST else b""
    if not body or len(body) != length:
        raise StreamDamaged("the export was cut short, or is broken: copy it again, or export it again")
    if zlib.crc32(body) != checksum:
        raise StreamDamaged("the export is broken, a checksum in it is wrong: copy it again, or export it again")
    digest.update(head)
    digest.update(body)
    try:
        part: _Part = _decode(body)
    except msgspec.DecodeError as error:
        raise StreamDamaged(f"the export is broken ({error}): export it again") from error
    return part
