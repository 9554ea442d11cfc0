"""Values as bytes and back: JSON by default, MessagePack, and YAML or pickle where both sides chose them.

A content type names a serializer and, behind a plus sign, a compression: ``application/json+gzip``.

The promise: whatever is encoded comes back equal (tuples as lists), or is refused with ``SerializationError``
and the path of the part that cannot travel. Nothing is ever changed silently. Imports neither grpc nor
protobuf; it may read protobuf messages that others hand to it.
"""

import pickle
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from grpcflow import compression as compressions
from grpcflow import tags, yaml_text
from grpcflow.errors import ContentDisallowed, ImproperlyConfigured, SerializationError
from grpcflow.long_texts import LONG, write_call, write_text

if TYPE_CHECKING:
    from grpcflow_protos.v1 import value_pb2

__all__ = [
    "DEFAULT_ACCEPT",
    "JSON",
    "MSGPACK",
    "NAMES",
    "PICKLE",
    "YAML",
    "content_type",
    "decode",
    "decode_call",
    "decode_value",
    "encode",
    "encode_call",
    "encode_exact",
]

#: What is read: bytes, or a view of a message that holds them.
Data = bytes | memoryview

#: Content type of JSON; an empty content type on the wire means this one.
JSON: Final = "application/json"

#: Content type of MessagePack.
MSGPACK: Final = "application/msgpack"

#: Content type of Python's pickle: whoever may send it may run any code here, so nobody accepts it unasked.
PICKLE: Final = "application/x-python-pickle"

#: Content type of YAML; read with the safe loader only, and slow.
YAML: Final = "application/x-yaml"

#: The short names that settings and options use.
NAMES: Final[Mapping[str, str]] = {"json": JSON, "msgpack": MSGPACK, "yaml": YAML, "pickle": PICKLE}

#: What is accepted where nothing is said: what cannot run code and needs nothing installed.
DEFAULT_ACCEPT: Final[frozenset[str]] = frozenset({JSON, MSGPACK})

_TAG_BYTES: Final = tags.TAG.encode()
#: Data of so many bytes is looked at before it is searched for tags: lists of so few items, nested so deeply, at most.
_LONG: Final = 4_096
_SHORT: Final = 8
_FLAT_DEPTH: Final = 2
_WRITERS: Final[Mapping[str, Callable[[Any], bytes]]] = {
    JSON: msgspec.json.Encoder().encode,
    MSGPACK: msgspec.msgpack.Encoder().encode,
}
_READERS: Final[Mapping[str, Callable[[Data], Any]]] = {
    JSON: msgspec.json.Decoder().decode,
    MSGPACK: msgspec.msgpack.Decoder(strict=False).decode,
}
_KNOWN: Final = frozenset(NAMES.values())
_write_json: Final = _WRITERS[JSON]
_read_json: Final = _READERS[JSON]
#: What msgspec raises for values that need a tag after all: text with lone surrogates, wide integers.
_NEEDS_TAG: Final = (ValueError, OverflowError, TypeError)


def content_type(name: str, compression: str | None = None) -> str:
    """Return the content type for a short name (``json``), a content type, or nothing (JSON).

    Args:
        name: ``json``, ``msgpack``, ``yaml``, ``pickle``, one of their content types, or empty.
        compression: ``gzip``, ``bzip2``, ``zlib``, ``lzma``, ``brotli`` or ``zstd``; None: that of ``name`` where it
            is a content type with one, or else none.

    Raises:
        ContentDisallowed: There is no such codec, or no such compression.
        ImproperlyConfigured: It needs a package that is not installed.
    """
    serializer, plus, packed = name.partition("+")
    found = NAMES.get(serializer, serializer) or JSON
    if found not in _KNOWN or (plus and not packed):
        raise ContentDisallowed(f"there is no serializer {name!r}: use json, msgpack, yaml or pickle")
    if found == YAML:
        yaml_text.load_package()
    packing = compression or packed
    return f"{found}+{compressions.canonical(packing)}" if packing else found


# --- writing ---------------------------------------------------------------------------------------------


def encode(value: Any, content: str = JSON, *, path: str = "value") -> bytes:
    """Return a value as bytes.

    Args:
        value: What to write: JSON's own types, and datetime, date, time, timedelta, Decimal, UUID, bytes,
            set, frozenset, floats that are no numbers, wide integers, and mappings with any keys of these.
        content: Content type; default JSON.
        path: What errors call the value.

    Raises:
        SerializationError: A part of it would not come back equal; the error's ``path`` tells which.
        ContentDisallowed: There is no such codec.
    """
    write = _write_json if content == JSON else _WRITERS.get(content or JSON)
    if write is None and "+" in content:
        serializer, packing = _parts(content)
        return compressions.compress(encode(value, serializer, path=path), packing)
    if write is not None:
        try:
            if type(value) is str and len(value) >= LONG and write is _write_json:
                return write_text(value)
            if tags.is_plain(value):
                return write(value)
        except (*_NEEDS_TAG, RecursionError):
            pass  # the careful way below finds out what is wrong, and where
    return _encode_carefully(((value, path),), content, single=True)


def encode_call(args: Sequence[Any], kwargs: Mapping[str, Any], content: str = JSON) -> bytes:
    """Return the payload of a call: the two-element list ``[args, kwargs]`` as bytes.

    The same bytes as ``encode([args, kwargs])``; errors name the argument, such as ``args[0]['when']``.

    Args:
        args: The positional arguments: a list or a tuple.
        kwargs: The keyword arguments.
        content: Content type; default JSON.

    Raises:
        SerializationError: An argument would not come back equal; the error's ``path`` tells which.
        ContentDisallowed: There is no such codec.
    """
    write = _write_json if content == JSON else _WRITERS.get(content or JSON)
    if write is None and "+" in content:
        serializer, packing = _parts(content)
        return compressions.compress(encode_call(args, kwargs, serializer), packing)
    if write is not None:
        call = (args, kwargs)
        try:
            if tags.is_plain(call):
                for value in args:
                    if type(value) is str and len(value) >= LONG and write is _write_json:
                        return write_call(args, kwargs, write)
                return write(call)
        except (*_NEEDS_TAG, RecursionError):
            pass  # as in encode()
    return _encode_carefully(((args, "args"), (kwargs, "kwargs")), content, single=False)


def encode_exact(value: Any, *, path: str = "value") -> bytes:
    """Return a value as JSON in which tuples come back as tuples; what exceptions' args are written with.

    Args:
        value: As in ``encode``.
        path: What errors call the value.

    Raises:
        SerializationError: A part of it would not come back equal.
    """
    try:
        return _write_json(tags.tagged(value, path, native_bytes=False, exact=True))
    except RecursionError:
        message = f"{path}: nested too deeply, or a container holds itself; pass it flat"
        raise SerializationError(message, path=path) from None


def _encode_carefully(parts: Sequence[tuple[Any, str]], content: str, *, single: bool) -> bytes:
    """Tag what needs a tag, then write; every error becomes a SerializationError with a path."""
    chosen = content_type(content)
    where = parts[0][1] if single else "args"
    try:
        if chosen == PICKLE:
            values = [value for value, _ in parts]
            return pickle.dumps(values[0] if single else values, protocol=pickle.HIGHEST_PROTOCOL)
        depth = tags.DEPTH_LIMIT - (0 if single else 1)
        native = chosen == MSGPACK
        written = [tags.tagged(value, path, native_bytes=native, depth=depth) for value, path in parts]
        plain = written[0] if single else written
        return yaml_text.write(plain) if chosen == YAML else _WRITERS[chosen](plain)
    except (SerializationError, ImproperlyConfigured):
        raise
    except RecursionError:
        message = f"{where}: nested too deeply for the {chosen} codec, or a container holds itself; pass it flat"
        raise SerializationError(message, path=where) from None
    except Exception as error:
        # pickle calls the user's own code, and msgspec refuses what no wire could carry (2**32 items).
        message = f"{where}: cannot be written as {chosen}: {error}"
        raise SerializationError(message, path=where) from error


# --- reading ---------------------------------------------------------------------------------------------


def decode(data: Data, content: str = JSON, *, accept: Collection[str] = DEFAULT_ACCEPT) -> Any:
    """Return the value that was encoded.

    Args:
        data: The bytes.
        content: Their content type; empty means JSON.
        accept: Content types or short names that may be read; default JSON and MessagePack.

    Raises:
        ContentDisallowed: The content type is not accepted; nothing of the data was read.
        SerializationError: The data is not what its content type says, or comes to more than 64 MiB.
        ImproperlyConfigured: Reading it needs a package that is not installed.
    """
    content = content or JSON
    if content not in accept or content not in _KNOWN:
        if "+" in content:
            serializer, packing = _parts(content)
            _check_accepted(serializer, accept)
            return decode(compressions.decompress(_whole(data), packing), serializer, accept=accept)
        _check_accepted(content, accept)
    try:
        if content == JSON:
            value = _read_json(data)
        elif content == PICKLE:
            return pickle.loads(data)  # noqa: S301 - only where the caller's accept names pickle
        elif content == YAML:
            return tags.untagged(yaml_text.read(_whole(data)))
        else:
            value = _READERS[content](data)
        return tags.untagged(value) if _may_hold_tags(value, data) else value
    except (SerializationError, ImproperlyConfigured):
        raise
    except RecursionError:
        message = f"the {content} data is nested too deeply to be read here"
        raise SerializationError(message) from None
    except Exception as error:
        # A stranger's bytes may fail in any way; the caller gets one kind of error for all of them.
        message = f"the data is not valid {content}: {error}"
        raise SerializationError(message) from error


def _may_hold_tags(value: Any, data: Data) -> bool:
    """Return whether there may be a tag in what was read: a few texts hold none, however long they are."""
    if len(data) > _LONG and _is_flat(value, _FLAT_DEPTH):
        return False
    return _TAG_BYTES in _whole(data)


def _whole(data: Data) -> bytes:
    """Return data for those that read no views."""
    return data if isinstance(data, bytes) else bytes(data)


def _is_flat(value: Any, depth: int) -> bool:
    """Return whether a value is a scalar, or a short list of such to this depth."""
    if type(value) is list:
        return depth > 0 and len(value) <= _SHORT and all(_is_flat(item, depth - 1) for item in value)
    return value == {} or type(value) is not dict


def _parts(content: str) -> tuple[str, str]:
    """Return serializer and compression of a content type that names both; an empty serializer is JSON."""
    serializer, _, packing = content.partition("+")
    return serializer or JSON, packing


def _check_accepted(content: str, accept: Collection[str]) -> None:
    """Raise ContentDisallowed unless ``accept`` holds the content type, as itself or by its short name."""
    for name in accept:
        if NAMES.get(name, name).partition("+")[0] == content and content in _KNOWN:
            return
    names = ", ".join(sorted(accept)) or "nothing"
    settings = "see the settings accept_content and result_accept_content"
    message = f"data of content type {content} is not accepted here, only {names}; {settings}"
    raise ContentDisallowed(message)


def decode_call(
    data: Data, content: str = JSON, *, accept: Collection[str] = DEFAULT_ACCEPT
) -> tuple[list[Any], dict[str, Any]]:
    """Return the arguments and keyword arguments of a call's payload.

    Args:
        data: The payload: an encoded ``[args, kwargs]``.
        content: Its content type; empty means JSON.
        accept: As in ``decode``.

    Raises:
        ContentDisallowed: The content type is not accepted.
        SerializationError: The data is no call.
    """
    call = decode(data, content, accept=accept)
    if type(call) in (list, tuple) and len(call) == 2:
        args, kwargs = call
        if isinstance(args, (list, tuple)) and isinstance(kwargs, dict) and all(type(key) is str for key in kwargs):
            return list(args), kwargs
    message = "the payload of a call must be [list of arguments, mapping of keyword arguments]"
    raise SerializationError(message)


def decode_value(value: "value_pb2.Value", accept: Collection[str] = DEFAULT_ACCEPT) -> Any:
    """Return what a value on the wire stands for.

    Bytes are decoded; the list of a join becomes a list; a failed node is returned as its protobuf message;
    a value that holds nothing is None. Any depth.

    Args:
        value: The ``Value`` message.
        accept: As in ``decode``.

    Raises:
        ContentDisallowed: A content type in it is not accepted.
        SerializationError: A part of it is not what its content type says.
    """
    whole: list[Any] = []
    open_lists: list[tuple[Iterator[value_pb2.Value], list[Any]]] = [(iter((value,)), whole)]
    while open_lists:
        items, decoded = open_lists[-1]
        for item in items:
            kind = item.WhichOneof("kind")
            if kind == "list":
                inner: list[Any] = []
                decoded.append(inner)
                open_lists.append((iter(item.list.values), inner))
                break
            if kind == "data":
                decoded.append(decode(item.data, item.content_type, accept=accept))
            else:
                decoded.append(item.failed if kind == "failed" else None)
        else:
            open_lists.pop()
    return whole[0]
