"""Bytes made smaller and back: what the suffix of a content type, as in ``application/json+gzip``, stands for.

Whoever sends bytes may have made them to burst: nothing is unpacked beyond a limit, and never more than that is held.
It knows no values and may import nothing of grpcflow but its errors and the limits of the wire.
"""

import bz2
import importlib
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from grpcflow.errors import ContentDisallowed, ImproperlyConfigured, SerializationError
from grpcflow_protos.limits import COMPRESSIONS

__all__ = ["ALIASES", "UNPACKED_LIMIT", "canonical", "compress", "decompress"]

#: Most bytes that compressed data may come to.
UNPACKED_LIMIT: Final = 64 * 1024 * 1024

#: Memory that one unpacking may take beside its output, in bytes: dictionaries and windows.
_WORK_MEMORY: Final = 128 * 1024 * 1024

#: Celery's other names.
ALIASES: Final[Mapping[str, str]] = {
    "application/x-gzip": "gzip",
    "application/x-bz2": "bzip2",
    "application/x-brotli": "brotli",
    "application/zstd": "zstd",
    "bz2": "bzip2",
    "bzip": "bzip2",
    "xz": "lzma",
    "zstandard": "zstd",
}

#: Modules of the compressions that Python itself does not bring, and the extras that install them.
_EXTRAS: Final[Mapping[str, str]] = {"brotli": "brotli", "zstd": "zstandard"}

_GZIP_BITS: Final = 31
_ZLIB_BITS: Final = 15


class _Unpacker(Protocol):
    """What zlib's, bz2's and lzma's objects have in common."""

    @property
    def eof(self) -> bool:
        """True once the end of the data was met."""
        ...

    @property
    def unused_data(self) -> bytes:
        """What stood behind the end."""
        ...


def canonical(name: str) -> str:
    """Return the name of a compression as content types write it, for any name that Celery has for it.

    Raises:
        ContentDisallowed: There is no such compression.
        ImproperlyConfigured: It needs a package that is not installed.
    """
    found = ALIASES.get(name, name)
    if found not in COMPRESSIONS:
        raise ContentDisallowed(f"there is no compression {name!r}: use one of {', '.join(COMPRESSIONS)}, or None")
    if found in _EXTRAS:
        _module(found)
    return found


def compress(data: bytes, name: str) -> bytes:
    """Return data made smaller; the same bytes for the same data.

    Args:
        data: Any bytes.
        name: A compression.

    Raises:
        ContentDisallowed: There is no such compression.
        ImproperlyConfigured: It needs a package that is not installed.
    """
    match canonical(name):
        case "gzip":
            packer = zlib.compressobj(wbits=_GZIP_BITS)
            return packer.compress(data) + packer.flush()
        case "zlib":
            return zlib.compress(data)
        case "bzip2":
            return bz2.compress(data)
        case "lzma":
            return lzma.compress(data)
        case other:
            module = _module(other)
            packed: bytes = module.compress(data)
            return packed


def decompress(data: bytes, name: str, limit: int = UNPACKED_LIMIT) -> bytes:
    """Return data as it was before it was made smaller.

    Args:
        data: The compressed bytes, from whomever.
        name: The compression.
        limit: Most bytes that it may come to; default 64 MiB.

    Raises:
        ContentDisallowed: There is no such compression.
        ImproperlyConfigured: It needs a package that is not installed.
        SerializationError: The data is not what it says, cut short, or comes to more than the limit.
    """
    unpack = _UNPACKERS[canonical(name)]
    try:
        unpacked = unpack(data, limit)
    except SerializationError:
        raise
    except Exception as error:
        # A stranger's bytes may fail in any way; the caller gets one kind of error for all of them.
        raise SerializationError(f"the data is not valid {name}: {error}") from error
    if len(unpacked) > limit:
        message = f"the {name} data comes to more than {limit:,} bytes; store it elsewhere and send where it is"
        raise SerializationError(message, code="UNPACKED_TOO_LARGE")
    return unpacked


def _whole(unpacker: _Unpacker, unpacked: bytes, limit: int) -> bytes:
    """Return what was unpacked, unless the data ends too early or too late."""
    if len(unpacked) <= limit:
        if not unpacker.eof:
            raise SerializationError("the compressed data is cut short")
        if unpacker.unused_data:
            raise SerializationError("there is more behind the end of the compressed data")
    return unpacked


def _unzip(bits: int) -> Callable[[bytes, int], bytes]:
    """Return what unpacks one of zlib's formats."""

    def unpack(data: bytes, limit: int) -> bytes:
        unpacker = zlib.decompressobj(wbits=bits)
        return _whole(unpacker, unpacker.decompress(data, limit + 1), limit)

    return unpack


def _unpack_bzip2(data: bytes, limit: int) -> bytes:
    unpacker = bz2.BZ2Decompressor()
    return _whole(unpacker, unpacker.decompress(data, limit + 1), limit)


def _unpack_lzma(data: bytes, limit: int) -> bytes:
    unpacker = lzma.LZMADecompressor(memlimit=_WORK_MEMORY)
    return _whole(unpacker, unpacker.decompress(data, limit + 1), limit)


def _unpack_brotli(data: bytes, limit: int) -> bytes:
    unpacker = _module("brotli").Decompressor()
    pieces: list[bytes] = [unpacker.process(data, output_buffer_limit=limit + 1)]
    size = len(pieces[0])
    while size <= limit and not unpacker.is_finished():
        piece = unpacker.process(b"", output_buffer_limit=limit + 1 - size)
        if not piece:
            raise SerializationError("the compressed data is cut short")
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)


def _unpack_zstd(data: bytes, limit: int) -> bytes:
    module = _module("zstd")
    unpacker = module.ZstdDecompressor(max_window_size=_WORK_MEMORY).decompressobj(read_across_frames=False)
    pieces: list[bytes] = []
    size = 0
    # Fed by the slice, and each slice's output is bounded by the blocks in it: 128 KiB for every 4 bytes at most.
    for start in range(0, len(data), _ZSTD_SLICE):
        piece = unpacker.decompress(data[start : start + _ZSTD_SLICE])
        pieces.append(piece)
        size += len(piece)
        if size > limit:
            break
        if unpacker.eof and start + _ZSTD_SLICE < len(data):
            raise SerializationError("there is more behind the end of the compressed data")
    return _whole(unpacker, b"".join(pieces), limit)


#: Bytes of zstd data that are unpacked at a time; at most 32,768 times as many come out.
_ZSTD_SLICE: Final = 256

_UNPACKERS: Final[Mapping[str, Callable[[bytes, int], bytes]]] = {
    "gzip": _unzip(_GZIP_BITS),
    "zlib": _unzip(_ZLIB_BITS),
    "bzip2": _unpack_bzip2,
    "lzma": _unpack_lzma,
    "brotli": _unpack_brotli,
    "zstd": _unpack_zstd,
}


def _module(name: str) -> Any:
    """Return the module of a compression that Python itself does not bring."""
    package = _EXTRAS[name]
    try:
        return importlib.import_module(package)
    except ImportError as error:
        message = f"the compression {name} needs the package {package}: pip install 'grpcflow[{name}]'"
        raise ImproperlyConfigured(message, code="MISSING_EXTRA") from error
