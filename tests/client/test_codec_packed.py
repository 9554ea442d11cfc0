"""YAML and compression: what is written comes back, and what a stranger sends cannot burst, run or hang anything."""

import bz2
import gzip
import lzma
import sys
import zlib
from typing import Any

import brotli  # type: ignore[import-untyped]
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from grpcflow import ImproperlyConfigured, SerializationError, codec, compression
from grpcflow.errors import ContentDisallowed
from grpcflow_protos import limits

EVERY = tuple(limits.COMPRESSIONS)
ZEROS = b"\0" * 1_000_000
PACKED = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "zlib": zlib.compress,
    "lzma": lzma.compress,
    "brotli": brotli.compress,
    "zstd": zstandard.compress,
}

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.dates() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from(["<<", "=", "~", "no"]), inner)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(plain)
def test_yaml_gives_back_what_was_written(value: Any) -> None:
    assert codec.decode(codec.encode(value, codec.YAML), codec.YAML, accept=["yaml"]) == value


def test_yaml_is_text_that_people_can_read() -> None:
    assert codec.encode({"a": [1, "yes"]}, codec.YAML) == b"a:\n- 1\n- 'yes'\n"


def test_yaml_is_read_only_where_accept_names_it() -> None:
    with pytest.raises(ContentDisallowed):
        codec.decode(b"1", codec.YAML)


@pytest.mark.parametrize(
    "text",
    [
        b"!!python/object/apply:os.system ['true']",
        b"!!python/name:os.system",
        b"a: &a [1]\nb: *a",
        b"&a [*a]",
        b"{[1]: 2}",
        b"[" * 2_000,
        b"a: b: c",
        b"\xff\xfe\x00",
    ],
)
def test_yaml_of_strangers_is_refused(text: bytes) -> None:
    with pytest.raises(SerializationError):
        codec.decode(text, codec.YAML, accept=["yaml"])


def test_what_stands_twice_in_a_value_is_written_twice() -> None:
    part = [1, 2]
    back = codec.decode(codec.encode([part, part], codec.YAML), codec.YAML, accept=["yaml"])
    assert back == [part, part]
    assert back[0] is not back[1]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("serializer", ["json", "msgpack", "yaml", "pickle"])
def test_every_combination_comes_back_and_is_known_to_the_coordinator(serializer: str, name: str) -> None:
    content = codec.content_type(serializer, name)
    assert content in limits.CONTENT_TYPES
    assert codec.content_type(content) == content
    data = codec.encode_call([1, "x" * 1_000], {"k": b"\x00"}, content)
    assert len(data) < 300
    assert data == codec.encode_call([1, "x" * 1_000], {"k": b"\x00"}, content)
    assert codec.decode_call(data, content, accept=[serializer]) == ([1, "x" * 1_000], {"k": b"\x00"})
    assert codec.decode(codec.encode([1], content), content, accept=[content]) == [1]


def test_the_coordinator_knows_nothing_else() -> None:
    assert set(limits.SERIALIZERS) == set(codec.NAMES.values())
    assert len(set(limits.CONTENT_TYPES)) == len(limits.CONTENT_TYPES) == 4 * (1 + len(EVERY))


def test_celerys_other_names_for_a_compression() -> None:
    for alias, name in compression.ALIASES.items():
        assert codec.content_type("json", alias) == f"application/json+{name}"


@pytest.mark.parametrize("name", EVERY)
def test_what_is_accepted_is_asked_of_the_serializer(name: str) -> None:
    content = codec.content_type("pickle", name)
    with pytest.raises(ContentDisallowed):
        codec.decode(codec.encode([1], content), content)


@pytest.mark.parametrize("name", EVERY)
def test_data_that_bursts_is_refused_before_it_does(name: str) -> None:
    packed = PACKED[name](ZEROS)
    assert compression.decompress(packed, name, limit=len(ZEROS)) == ZEROS
    with pytest.raises(SerializationError, match="comes to more than 999,999 bytes"):
        compression.decompress(packed, name, limit=len(ZEROS) - 1)


@pytest.mark.parametrize("name", EVERY)
def test_the_limit_holds_in_the_codec_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression.decompress, "__defaults__", (1_000,))
    content = codec.content_type("json", name)
    with pytest.raises(SerializationError, match="comes to more than 1,000 bytes"):
        codec.decode(codec.encode("x" * 1_000, content), content)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("spoil", ["cut", "cut by one", "more", "other", "empty"])
def test_spoiled_data_is_refused(name: str, spoil: str) -> None:
    packed = compression.compress(bytes(range(256)) * 40, name)
    spoiled = {
        "cut": packed[: len(packed) // 2],
        "cut by one": packed[:-1],
        "more": packed + b"more" * 300,
        "other": b"no such data",
        "empty": b"",
    }[spoil]
    with pytest.raises(SerializationError):
        compression.decompress(spoiled, name)


def test_a_dictionary_that_takes_too_much_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "_WORK_MEMORY", 1_000_000)
    greedy = lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 4_000_000}])
    with pytest.raises(SerializationError, match=r"[Mm]emory"):
        compression.decompress(greedy, "lzma")


def test_an_unknown_compression_is_refused() -> None:
    with pytest.raises(ContentDisallowed, match="there is no compression 'rar': use one of gzip"):
        codec.content_type("json", "rar")
    with pytest.raises(ContentDisallowed):
        codec.decode(b"", "application/json+rar")


@pytest.mark.parametrize(
    ("package", "extra", "content"),
    [
        ("yaml", "yaml", "application/x-yaml"),
        ("brotli", "brotli", "application/json+brotli"),
        ("zstandard", "zstd", "application/json+zstd"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(
    package: str, extra: str, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    for act in (
        lambda: codec.content_type(content),
        lambda: codec.encode([1], content),
        lambda: codec.decode(b"1", content, accept=["yaml", "json"]),
    ):
        with pytest.raises(ImproperlyConfigured, match=rf"pip install 'grpcflow\[{extra}\]'"):
            act()
