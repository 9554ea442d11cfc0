"""How values that JSON and MessagePack do not know are written as values that they do know, and read back.

A tagged value is a mapping with the one key ``__grpcflow__`` whose value is ``[kind, data...]``. A user's own
mapping that holds this key is written as a tagged list of pairs, so that nothing a user passes can be taken
for a tag. Pure; imports nothing of grpcflow but its errors; never imports or calls a name that came in.
"""

import base64
import binascii
import collections
import datetime
import decimal
import math
import uuid
import zoneinfo
from collections.abc import Callable, Mapping
from typing import Any, Final

from grpcflow.errors import SerializationError

__all__ = ["DEPTH_LIMIT", "TAG", "is_plain", "tagged", "untagged"]

#: The key that marks a tagged value.
TAG: Final = "__grpcflow__"

#: Most levels of nesting in what is written; a tag counts for its own levels. A level takes up to three of the
#: 1,000 frames that Python allows, the caller has some already, and the other side must be able to read it.
DEPTH_LIMIT: Final = 200

#: Levels that a tagged scalar, a tagged sequence and tagged pairs take.
_SCALAR_LEVELS: Final = 2
_MEMBERS_LEVELS: Final = 3
_PAIRS_LEVELS: Final = 4

_NONE: Final = type(None)
_INT_LOW: Final = -(1 << 63)
_INT_HIGH: Final = (1 << 64) - 1
#: Mappings beside dict that compare equal to the dict they become.
_DICT_LIKE: Final = frozenset({collections.OrderedDict, collections.defaultdict})


def is_plain(value: Any, depth: int = DEPTH_LIMIT) -> bool:
    """Return whether msgspec writes ``value`` so that it is read back equal, with no tag in it.

    The hot path of every call: exact types only, one pass, nothing made. Text and integers that msgspec
    refuses count as plain here; it then says so, and the caller tags them.

    Args:
        value: What is to be written.
        depth: Levels of nesting that are still allowed.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or kind is _NONE:
        return True
    if kind is float:
        return math.isfinite(value)
    if kind is list or kind is tuple:
        if depth <= 0:
            return False
        for item in value:
            kind = type(item)
            if kind is not int and kind is not str and not is_plain(item, depth - 1):
                return False
        return True
    if kind is dict or getattr(kind, "__grpcflow_plain__", False) is True:
        return depth > 0 and (not value or _is_plain_mapping(value, depth - 1))
    return False


def _is_plain_mapping(value: Mapping[Any, Any], depth: int) -> bool:
    """Return whether all keys are text, none is the tag, and all values are plain."""
    for key, item in value.items():
        if type(key) is not str or key == TAG:
            return False
        kind = type(item)
        if kind is not int and kind is not str and not is_plain(item, depth):
            return False
    return True


# --- writing ---------------------------------------------------------------------------------------------


def tagged(value: Any, path: str, *, native_bytes: bool, depth: int = DEPTH_LIMIT, exact: bool = False) -> Any:
    """Return ``value`` as plain data in which everything unusual is tagged; the value itself is not touched.

    Args:
        value: What is to be written.
        path: Where it stands, for errors, such as ``args[0]``.
        native_bytes: True where the format knows bytes, so that they need no tag.
        depth: Levels of nesting that are still allowed.
        exact: True where tuples must come back as tuples: inside a set, a key, or an exception's args.

    Raises:
        SerializationError: The value cannot travel unchanged; ``path`` tells where it stands.
    """
    kind = type(value)
    if kind is int:
        return value if _INT_LOW <= value <= _INT_HIGH else {TAG: ["int", f"{value:x}"]}
    if kind is str:
        return value if _is_unicode(value) else {TAG: ["text", _base64(value.encode("utf-8", "surrogatepass"))]}
    if kind is bool or value is None:
        return value
    if kind is float:
        return value if math.isfinite(value) else {TAG: ["float", repr(value)]}
    if kind is bytes and native_bytes:
        return value
    if depth <= 0:
        raise _too_deep(path)
    if kind is dict or kind in _DICT_LIKE or getattr(kind, "__grpcflow_plain__", False) is True:
        return _tagged_mapping(value, path, native_bytes, depth, exact)
    if kind is list or (kind is tuple and not exact):
        return _members(value, path, native_bytes, depth - 1, exact)
    if kind is tuple or kind is set or kind is frozenset:
        return {TAG: [kind.__name__, _members(value, path, native_bytes, depth - _MEMBERS_LEVELS, exact=True)]}
    return _tagged_scalar(value, path, depth)


def _members(value: Any, path: str, native_bytes: bool, depth: int, exact: bool) -> list[Any]:
    """Return the members of a list, a tuple or a set, each tagged where it must be."""
    if type(value) is list or type(value) is tuple:
        return [
            tagged(item, f"{path}[{index}]", native_bytes=native_bytes, depth=depth, exact=exact)
            for index, item in enumerate(value)
        ]
    return [tagged(item, f"{path}.member", native_bytes=native_bytes, depth=depth, exact=exact) for item in value]


def _tagged_mapping(value: Mapping[Any, Any], path: str, native_bytes: bool, depth: int, exact: bool) -> dict[str, Any]:
    """Return a mapping as a mapping, or as tagged pairs where a key is no plain text or is the tag."""
    if all(type(key) is str and key != TAG and _is_unicode(key) for key in value):
        return {
            key: tagged(item, f"{path}[{key!r}]", native_bytes=native_bytes, depth=depth - 1, exact=exact)
            for key, item in value.items()
        }
    inner = depth - _PAIRS_LEVELS
    pairs: list[list[Any]] = []
    for key, item in value.items():
        name = _key_text(key)
        written = tagged(key, f"{path}.key({name})", native_bytes=native_bytes, depth=inner, exact=True)
        pairs.append([written, tagged(item, f"{path}[{name}]", native_bytes=native_bytes, depth=inner, exact=exact)])
    return {TAG: ["dict", pairs]}


def _tagged_scalar(value: Any, path: str, depth: int) -> dict[str, list[Any]]:
    """Return a value of one of the other known types as a tag, or refuse it."""
    writer = _WRITERS.get(type(value))
    if writer is None:
        raise SerializationError(_refusal(value, path), path=path)
    if depth < _SCALAR_LEVELS:
        raise _too_deep(path)
    try:
        written = writer(value)
    except Exception as error:  # a tzinfo is a user's code and may raise anything
        message = f"{path}: this {type(value).__name__} cannot be written: {error}"
        raise SerializationError(message, path=path) from error
    if written is None:
        message = (
            f"{path}: its time zone cannot be written; use zoneinfo.ZoneInfo or a datetime.timezone of whole seconds"
        )
        raise SerializationError(message, path=path)
    return {TAG: written}


def _refusal(value: object, path: str) -> str:
    """Say what cannot travel and what to pass instead."""
    kind = type(value)
    cure = "pass its parts as plain values"
    if "__dataclass_fields__" in kind.__dict__:
        cure = "pass dataclasses.asdict(value)"
    elif hasattr(kind, "__members__") and hasattr(value, "value"):
        cure = "pass its .value"
    elif isinstance(value, tuple):
        cure = "pass tuple(value) or value._asdict()"
    elif isinstance(value, (str, int, float, bytes, dict, list, set, datetime.date)):
        cure = f"it is a subclass of {kind.__mro__[-2].__name__}: convert it to the type itself"
    return f"{path}: a {kind.__module__}.{kind.__qualname__} would not come back equal; {cure}"


def _too_deep(path: str) -> SerializationError:
    """Say that a value is nested too deeply, with a path that can be read."""
    short = path if len(path) <= 80 else f"{path[:60]}..."
    message = f"{short}: nested deeper than {DEPTH_LIMIT} levels, or a container holds itself; pass it flat"
    return SerializationError(message, path=short)


def _key_text(key: object) -> str:
    """Return a key for a path: plain keys as they are, others by their type, since their repr may raise."""
    text = repr(key) if type(key) in (str, int, bool, float, bytes, _NONE) else type(key).__name__
    return text if len(text) <= 40 else f"{text[:36]}..."


def _is_unicode(text: str) -> bool:
    """Return whether text can be written as UTF-8: no lone surrogates."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _write_datetime(value: datetime.datetime) -> list[Any] | None:
    """Write ISO text, and for a named zone its key and the fold; a zone of another kind as its offset."""
    zone = value.tzinfo
    if isinstance(zone, zoneinfo.ZoneInfo) and zone.key:
        return ["datetime", value.isoformat(), zone.key, value.fold]
    if zone is not None:
        back = datetime.datetime.fromisoformat(value.isoformat())
        # A zone of an unknown kind, times that its offset alone does not tell, offsets below a second.
        if back.utcoffset() is None or back != value or back.utcoffset() != value.utcoffset():
            return None
    return ["datetime", value.isoformat(), "", value.fold]


def _write_time(value: datetime.time) -> list[Any] | None:
    """Write ISO text likewise; a time of a named zone has no offset of its own."""
    zone = value.tzinfo
    if isinstance(zone, zoneinfo.ZoneInfo) and zone.key:
        return ["time", value.replace(tzinfo=None).isoformat(), zone.key, value.fold]
    if zone is not None:
        offset = value.utcoffset()
        if offset is None or datetime.time.fromisoformat(value.isoformat()).utcoffset() != offset:
            return None
    return ["time", value.isoformat(), "", value.fold]


_WRITERS: Final[dict[type, Callable[[Any], list[Any] | None]]] = {
    datetime.datetime: _write_datetime,
    datetime.date: lambda value: ["date", value.isoformat()],
    datetime.time: _write_time,
    datetime.timedelta: lambda value: ["timedelta", value.days, value.seconds, value.microseconds],
    decimal.Decimal: lambda value: ["decimal", str(value)],
    uuid.UUID: lambda value: ["uuid", value.hex],
    bytes: lambda value: ["bytes", _base64(value)],
}


# --- reading ---------------------------------------------------------------------------------------------


def untagged(value: Any) -> Any:
    """Return data as it came from the wire with every tag read; lists and mappings are changed in place.

    Args:
        value: What msgspec decoded.

    Raises:
        SerializationError: A tag is of an unknown kind or holds what it cannot hold.
    """
    kind = type(value)
    if kind is list:
        for index, item in enumerate(value):
            if type(item) in (list, dict):
                value[index] = untagged(item)
        return value
    if kind is not dict:
        return value
    if TAG in value:
        return _read(value)
    for key, item in value.items():
        if type(item) in (list, dict):
            value[key] = untagged(item)
    return value


def _read(holder: dict[Any, Any]) -> Any:
    """Read one tagged value."""
    parts = holder[TAG]
    if len(holder) != 1 or type(parts) is not list or not parts or type(parts[0]) is not str:
        message = f"the data holds a malformed {TAG} tag: it was not written by grpcflow"
        raise SerializationError(message)
    reader = _READERS.get(parts[0])
    if reader is None:
        message = f"the data holds a tag of the unknown kind {parts[0]!r}: use a newer grpcflow to read it"
        raise SerializationError(message)
    try:
        return reader(*parts[1:])
    except SerializationError:
        raise
    except (TypeError, ValueError, ArithmeticError, LookupError, binascii.Error) as error:
        message = f"the data holds a tag of kind {parts[0]!r} that cannot be read: {error}"
        raise SerializationError(message) from error


def _read_pairs(pairs: list[list[Any]]) -> dict[Any, Any]:
    return {untagged(key): untagged(item) for key, item in pairs}


def _zone(key: str) -> datetime.tzinfo | None:
    """Return the zone of this name, or None where this machine does not know it."""
    try:
        return zoneinfo.ZoneInfo(key)
    except (zoneinfo.ZoneInfoNotFoundError, OSError):
        return None


def _read_datetime(text: str, key: str, fold: int) -> datetime.datetime:
    """Read a datetime; where this machine lacks its zone, the offset keeps it the same moment."""
    value = datetime.datetime.fromisoformat(text).replace(fold=fold)
    zone = _zone(key) if key else None
    return value if zone is None else value.replace(tzinfo=zone)


def _read_time(text: str, key: str, fold: int) -> datetime.time:
    value = datetime.time.fromisoformat(text).replace(fold=fold)
    if not key:
        return value
    zone = _zone(key)
    if zone is None:
        message = f"this machine does not know the time zone {key!r}: install the tzdata package"
        raise SerializationError(message)
    return value.replace(tzinfo=zone)


def _read_float(text: str) -> float:
    if text not in ("nan", "inf", "-inf"):
        message = f"{text!r} is no float that needs a tag"
        raise ValueError(message)
    return float(text)


_READERS: Final[dict[str, Callable[..., Any]]] = {
    "datetime": _read_datetime,
    "date": datetime.date.fromisoformat,
    "time": _read_time,
    "timedelta": datetime.timedelta,
    "decimal": lambda text: decimal.Decimal(str(text)),
    "uuid": lambda text: uuid.UUID(hex=text),
    "bytes": lambda text: base64.b64decode(text, validate=True),
    "text": lambda text: base64.b64decode(text, validate=True).decode("utf-8", "surrogatepass"),
    "int": lambda text: int(text, 16),
    "float": _read_float,
    "tuple": lambda members: tuple(untagged(members)),
    "set": lambda members: set(untagged(members)),
    "frozenset": lambda members: frozenset(untagged(members)),
    "dict": _read_pairs,
}
