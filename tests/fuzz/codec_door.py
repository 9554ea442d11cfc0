"""What a client and a worker read of what others sent: values, compressed or not, failures, and assignments."""

from __future__ import annotations

import contextlib
import datetime
import random
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from google.protobuf.message import DecodeError
from tests.fuzz.judging import Finding, judged
from tests.fuzz.making import Maker, bent, junk, text

from grpcflow import codec, compression, failures
from grpcflow.errors import ContentDisallowed, ImproperlyConfigured, SerializationError
from grpcflow_protos import limits
from grpcflow_protos.v1 import value_pb2, worker_service_pb2
from grpcflow_worker import wire

#: What may be read here: all but pickle, which is code and not data.
ACCEPTED: Final = ("json", "msgpack", "yaml")

#: What reading may raise.
REFUSALS: Final = (SerializationError, ContentDisallowed, ImproperlyConfigured)

_PLAIN: Final = tuple(codec.NAMES[name] for name in ACCEPTED)
_VALUES: Final[tuple[Any, ...]] = (
    *(None, 1, "é", [], {}, [[1, 2], {"a": None}], 2**70, 1e300, {1, 2}, b"\0\xff", {(1, 2): "x"}),
    {"when": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), "much": list(range(50))},
)

#: What begins something that holds something, without end.
_OPENED: Final = ((b"[", codec.JSON), (b'{"a":', codec.JSON), (b"\x91", codec.MSGPACK), (b"[", codec.YAML))

#: A megabyte of nothing, made small again and again: what unpacking it comes to has a bound.
_BOMB: Final = bytes(1 << 20)


def _encoded(rng: random.Random) -> tuple[bytes, str]:
    """Returns a value as bytes, and their content type."""
    content = rng.choice(_PLAIN)
    if rng.random() < 0.4:
        content += f"+{rng.choice(limits.COMPRESSIONS)}"
    return _written(rng.randrange(len(_VALUES)), content), content


@cache
def _written(value: int, content: str) -> bytes:
    return codec.encode(_VALUES[value], content)


@cache
def _bomb(packing: str, pieces: int) -> bytes:
    """Returns bytes that come to so many megabytes."""
    return compression.compress(_BOMB * pieces, packing)


def _burst(rng: random.Random) -> tuple[bytes, str]:
    """Returns bytes that come to very many, in one piece or in one after the other."""
    packing = rng.choice(limits.COMPRESSIONS)
    data = _bomb(packing, rng.choice((1, 70))) if packing != "brotli" else _bomb(packing, 1)
    return data * rng.choice((1, 2, 100)), f"{codec.JSON}+{packing}"


def _try_codec(rng: random.Random) -> None:
    data, content = _burst(rng) if rng.random() < 0.0003 else _encoded(rng)
    if rng.random() < 0.8:
        data = bent(rng, data, _encoded(rng)[0])
    if rng.random() < 0.15:
        content = rng.choice((text(rng), f"{content}+gzip", f"+{text(rng)}", f"{text(rng)}+zlib", codec.PICKLE, "+"))
    read: Callable[..., Any] = rng.choice((codec.decode, codec.decode, codec.decode_call))
    with judged(f"{read.__name__} of {content!r} {data[:2_000].hex()}"), contextlib.suppress(*REFUSALS):
        read(data, content, accept=ACCEPTED)


def _try_deep(rng: random.Random) -> None:
    """Read what nests without end."""
    depth = rng.choice((50, 1_000, 100_000))
    opened, content = rng.choice(_OPENED)
    data = opened * (depth if content != codec.YAML else min(depth, 1_000))
    with judged(f"{depth} deep {content}"), contextlib.suppress(*REFUSALS):
        codec.decode(data, content, accept=ACCEPTED)


def _message(rng: random.Random, kind: Any) -> Any:
    """Returns a message of this kind, or None where its bytes are none."""
    fitting: dict[str, Any] = {
        **dict.fromkeys(("data", "args"), lambda rng: _encoded(rng)[0]),
        **dict.fromkeys(("content_type", "args_content_type"), lambda rng: _encoded(rng)[1]),
        "module": lambda rng: rng.choice(("builtins", "os", "grpcflow.errors", "json", "antigravity", "tests", "")),
        "type_name": lambda rng: rng.choice(("ValueError", "OSError", "SystemExit", "system", "ExceptionGroup", "x.y")),
        "reason": lambda rng: rng.choice(("", "CHORD", "EXPIRED", "TOO_LARGE", "TIME_LIMIT")),
    }
    made = Maker(rng, fitting).message(kind.DESCRIPTOR)
    if rng.random() < 0.5:
        return made
    try:
        return kind.FromString(bent(rng, made.SerializeToString()))
    except DecodeError:
        return None


def _try_message(rng: random.Random) -> None:
    kind = rng.choice((value_pb2.Failure, value_pb2.Value, worker_service_pb2.WorkResponse))
    message = _message(rng, kind)
    if message is None:
        return
    with judged(f"a {kind.__name__} {str(message)[:4_000]}"):
        if isinstance(message, value_pb2.Failure):
            if not isinstance(failures.rebuild(message), Exception):
                raise Finding("it became what is no exception of a program's")
            return
        try:
            if isinstance(message, value_pb2.Value):
                codec.decode_value(message, ACCEPTED)
            else:
                wire.runs_of(message)
        except (*REFUSALS, wire.ProtocolError):
            pass


def run(seed: int, first: int, count: int) -> None:
    """Give readers so many inputs.

    Raises:
        Finding: one of them did what none may.
    """
    rng = random.Random(f"{seed} codecs {first}")
    for _ in range(count):
        way = rng.random()
        if way < 0.002:
            _try_deep(rng)
        elif way < 0.2:
            _try_message(rng)
        elif way < 0.23:
            with judged("bytes to all of them"):
                data = junk(rng)
                for content in _PLAIN:
                    with contextlib.suppress(*REFUSALS):
                        codec.decode(data, content, accept=ACCEPTED)
        else:
            _try_codec(rng)
