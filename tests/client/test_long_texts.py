"""Long texts are written by another writer: the same bytes, whatever is in them and wherever they are cut."""

import random
import sys
from typing import Any

import msgspec
import pytest

from grpcflow import codec, long_texts, tags
from grpcflow.errors import SerializationError
from grpcflow.long_texts import LONG

write = msgspec.json.Encoder().encode


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pieces that the other writer got."""
    found: list[str] = []
    dumps = long_texts._writer()

    def spy(text: str) -> bytes:
        found.append(text)
        return dumps(text)

    monkeypatch.setattr(long_texts, "_writer", lambda: spy)
    return found


def any_text(rng: random.Random, length: int) -> str:
    kinds = ("".join(map(chr, range(128))), 'é\u2028\x7f\x00"\\/', "\U0001f600\ud7ff\ue000\uffff", "plain")
    return "".join(rng.choices(rng.choice(kinds), k=length))


def test_every_character_is_written_as_by_the_writer_of_short_texts() -> None:
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, sys.maxunicode + 1)]))
    assert codec.encode(every) == write(every)


def test_values_and_calls_are_the_same_bytes(rng: random.Random, pieces: list[str]) -> None:
    plain = [1, -(2**63), 2**64 - 1, 1e16, 1e-7, 0.1, None, True, "short", [1, {"a": "b"}], {}, {"k": [1.5]}]
    for _ in range(20):
        text = any_text(rng, LONG + rng.choice((0, 1, rng.randrange(3 * LONG))))
        args: list[Any] = [*rng.sample(plain, rng.randrange(4)), text, *rng.sample(plain, rng.randrange(4))]
        kwargs = {"x": rng.choice(plain), "y": "z"} if rng.random() < 0.5 else {}
        pieces.clear()
        assert codec.encode(text) == write(text)
        assert codec.encode_call(args, kwargs) == write([args, kwargs])
        assert "".join(pieces) == 2 * text
        assert codec.decode_call(codec.encode_call(tuple(args), kwargs)) == (args, kwargs)


def test_other_content_and_short_texts_go_the_other_way(pieces: list[str]) -> None:
    assert codec.decode(codec.encode("x" * LONG, codec.MSGPACK), codec.MSGPACK) == "x" * LONG
    assert codec.decode_call(codec.encode_call(["x" * LONG], {}, codec.MSGPACK), codec.MSGPACK) == (["x" * LONG], {})
    codec.encode("x" * (LONG - 1))
    codec.encode_call(["x" * (LONG - 1), 1], {"y": "x" * LONG})
    assert pieces == []


def read_again(*args: object) -> object:
    """What comes back of a call, or the path that an error names."""
    try:
        return codec.decode_call(codec.encode_call(args, {}))[0]
    except SerializationError as error:
        return error.path


@pytest.mark.parametrize("beside", [2**70, b"bytes", {tags.TAG: 1}, float("inf"), "\ud800", object(), [[{"a": {1}}]]])
def test_what_needs_a_tag_or_is_refused_is_so_beside_a_long_text(beside: object) -> None:
    text = "x" * LONG
    short = read_again("x", beside)
    assert short == (["x", beside] if isinstance(short, list) else "args[1]")
    assert read_again(text, beside) == ([text, *short[1:]] if isinstance(short, list) else short)


def test_a_long_text_with_lone_surrogates_is_treated_like_a_short_one() -> None:
    text = "x" * (2 * LONG) + "\ud800"
    assert read_again("\ud800") == ["\ud800"]
    assert read_again(text) == [text]
    assert codec.decode(codec.encode(text)) == text
