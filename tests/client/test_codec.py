"""Values: what is encoded comes back equal or is refused with the path of the part, never changed."""

import collections
import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import math
import pickle
import uuid
import zoneinfo
from typing import Any, NamedTuple

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st

from grpcflow import codec, tags
from grpcflow.errors import ContentDisallowed, SerializationError

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
BOTH = pytest.mark.parametrize("content", [codec.JSON, codec.MSGPACK])


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 1


class Name(enum.StrEnum):
    ADA = "ada"


class Point(NamedTuple):
    x: int


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Plain(dict[str, Any]):
    __grpcflow_plain__ = True


class Mapping(dict[str, Any]):
    pass


class Zone(dt.tzinfo):
    def dst(self, when: dt.datetime | None) -> None:
        return None

    def tzname(self, when: dt.datetime | None) -> str:
        return "somewhere"


class Moment(dt.datetime):
    pass


@dataclasses.dataclass
class Record:
    x: int


class Struct(msgspec.Struct):
    x: int


def same(left: Any, right: Any) -> bool:
    """Returns whether two values are equal, types and signs included; tuples count as lists outside of sets."""
    if isinstance(left, tuple) and isinstance(right, list):
        left = list(left)
    if isinstance(left, (collections.OrderedDict, collections.defaultdict)):
        left = dict(left)
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return (math.isnan(left) and math.isnan(right)) or (left == right and repr(left) == repr(right))
    if isinstance(left, decimal.Decimal):
        return str(left) == str(right)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        # The keys' order is kept, so that keys that are no numbers can be compared too.
        return len(left) == len(right) and all(
            same_hashable(a, b) and same(left[a], right[b]) for a, b in zip(left, right, strict=True)
        )
    if isinstance(left, (set, frozenset)):
        return len(left) == len(right) and all(any(same_hashable(a, b) for b in right) for a in left)
    if isinstance(left, dt.datetime):
        return bool(left == right and left.fold == right.fold and left.utcoffset() == right.utcoffset())
    return bool(left == right)


def same_hashable(left: Any, right: Any) -> bool:
    if isinstance(left, tuple):
        return isinstance(right, tuple) and len(left) == len(right) and all(map(same_hashable, left, right))
    return same(left, right)


def trip(value: Any, content: str = codec.JSON) -> Any:
    return codec.decode(codec.encode(value, content), content)


zones = st.one_of(
    st.none(),
    st.just(dt.UTC),
    st.sampled_from([BERLIN, zoneinfo.ZoneInfo("America/New_York"), zoneinfo.ZoneInfo("UTC")]),
    st.integers(-80_000, 80_000).map(lambda seconds: dt.timezone(dt.timedelta(seconds=seconds))),
)
hashables: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(codec="utf-8") | st.characters(categories=["Cs"])),
        st.binary(),
        st.datetimes(timezones=zones, allow_imaginary=True),
        st.dates(),
        st.times(timezones=zones),
        st.timedeltas(),
        st.decimals(),
        st.uuids(),
        st.sampled_from([tags.TAG, 2**64, -(2**64), 10**400, -0.0, "\ud800", b""]),
    ).filter(lambda value: not (isinstance(value, decimal.Decimal) and value.is_snan())),
    lambda inner: st.frozensets(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)
refused = st.sampled_from(
    [Color.RED, Level.HIGH, Name.ADA, Point(1), Text("x"), Number(1), Record(1), Struct(1), Mapping(a=1), object(), 1j]
)
good: st.SearchStrategy[Any] = st.recursive(
    hashables,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(hashables, inner, max_size=4),
        st.dictionaries(st.text() | st.just(tags.TAG), inner, max_size=4),
        st.dictionaries(st.text(), inner, max_size=2).map(collections.OrderedDict),
        st.sets(hashables, max_size=4),
    ),
    max_leaves=20,
)


@BOTH
@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(value=good)
def test_whatever_is_encoded_comes_back_equal(content: str, value: Any) -> None:
    assert same(value, trip(value, content))


@BOTH
@hypothesis.settings(deadline=None, max_examples=80)
@hypothesis.given(
    value=st.recursive(good | refused, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
)
def test_anything_at_all_comes_back_equal_or_is_refused_with_its_path(content: str, value: Any) -> None:
    refusal, data = None, b""
    try:
        data = codec.encode_call((value,), {}, content)
    except SerializationError as error:
        refusal = error
    if refusal is not None:
        assert refusal.path.startswith("args[0]")
        assert refusal.path in str(refusal)
    else:
        (back,), _ = codec.decode_call(data, content)
        assert same(value, back)


@pytest.mark.parametrize(
    ("value", "path", "cure"),
    [
        (Color.RED, "args[0]", ".value"),
        (Level.HIGH, "args[0]", ".value"),
        (Name.ADA, "args[0]", ".value"),
        (Point(1), "args[0]", "_asdict"),
        (Text("x"), "args[0]", "subclass of str"),
        (Number(1), "args[0]", "subclass of int"),
        (Moment(2024, 1, 1), "args[0]", "subclass of date"),
        ({"when": [Record(1)]}, "args[0]['when'][0]", "asdict"),
        (Struct(1), "args[0]", "plain values"),
        (Mapping(a=1), "args[0]", "subclass of dict"),
        ({1: object()}, "args[0][1]", "object"),
        ({Color.RED: 1}, "args[0].key(Color)", ".value"),
        ({(1, Color.RED): 1}, "args[0].key(tuple)[1]", ".value"),
        ({frozenset([Color.RED])}, "args[0].member.member", ".value"),
        (bytearray(b"x"), "args[0]", "bytearray"),
    ],
)
@BOTH
def test_what_cannot_travel_is_refused_with_its_path_and_a_cure(content: str, value: Any, path: str, cure: str) -> None:
    with pytest.raises(SerializationError) as caught:
        codec.encode_call((value,), {}, content)
    assert caught.value.path == path
    assert cure in str(caught.value)
    with pytest.raises(SerializationError) as caught:
        codec.encode_call((), {"k": value}, content)
    assert caught.value.path == path.replace("args[0]", "kwargs['k']")


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("content", [codec.JSON, codec.MSGPACK, codec.PICKLE])
def test_a_depth_of_5000_is_refused(content: str) -> None:
    with pytest.raises(SerializationError, match=r"nested|recursion") as caught:
        codec.encode_call((nested(5_000),), {}, content)
    assert caught.value.path.startswith("args")
    assert len(str(caught.value)) < 500


@BOTH
def test_what_is_deep_and_still_allowed_comes_back(content: str) -> None:
    value = nested(tags.DEPTH_LIMIT - 1)
    assert trip(value, content) == value
    tagged = [dt.date(2024, 1, 1)]
    for _ in range(tags.DEPTH_LIMIT - 4):
        tagged = [tagged]  # type: ignore[list-item]
    assert trip(tagged, content) == tagged


@BOTH
def test_a_container_that_holds_itself_is_refused(content: str) -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(SerializationError, match="holds itself"):
        codec.encode(loop, content)


def test_data_nested_beyond_what_can_be_read_is_refused() -> None:
    with pytest.raises(SerializationError, match="nested"):
        codec.decode(b"[" * 100_000 + b"]" * 100_000)


@BOTH
def test_a_value_with_a_broken_time_zone_is_refused(content: str) -> None:
    class Broken(Zone):
        def utcoffset(self, when: dt.datetime | None) -> dt.timedelta:
            raise SystemError("no offset today")

    class Nowhere(Zone):
        def utcoffset(self, when: dt.datetime | None) -> None:
            return None

    for zone in (Broken(), Nowhere()):
        with pytest.raises(SerializationError, match=r"time zone|no offset"):
            codec.encode([dt.datetime(2024, 1, 1, tzinfo=zone)], content)
        with pytest.raises(SerializationError, match=r"time zone|no offset"):
            codec.encode([dt.time(1, tzinfo=zone)], content)


def test_an_offset_below_a_second_is_refused_where_it_would_change() -> None:
    zone = dt.timezone(dt.timedelta(microseconds=1))
    for value in (dt.datetime(2024, 1, 1, tzinfo=zone), dt.time(1, tzinfo=zone)):
        with pytest.raises(SerializationError, match="whole seconds"):
            codec.encode(value)
    fine = dt.datetime(2024, 1, 1, tzinfo=dt.timezone(dt.timedelta(seconds=5, microseconds=1)))
    assert trip(fine).utcoffset() == fine.utcoffset()


def test_a_zone_of_another_kind_travels_as_its_offset() -> None:
    class Fixed(Zone):
        def utcoffset(self, when: dt.datetime | None) -> dt.timedelta:
            return dt.timedelta(hours=5, minutes=30)

    value = dt.datetime(2024, 1, 1, tzinfo=Fixed())
    assert trip(value) == value
    assert trip(value).utcoffset() == dt.timedelta(hours=5, minutes=30)


def test_a_named_zone_keeps_its_name_and_its_fold() -> None:
    first = dt.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN)
    second = first.replace(fold=1)
    assert trip(first).utcoffset() != trip(second).utcoffset()
    assert trip(second).tzinfo is BERLIN
    assert trip(dt.time(2, 30, tzinfo=BERLIN)).tzinfo is BERLIN


def test_a_datetime_of_a_zone_that_is_unknown_here_is_the_same_moment() -> None:
    data = codec.encode(dt.datetime(2024, 7, 1, tzinfo=BERLIN)).replace(b"Europe/Berlin", b"Moon/Basin")
    assert codec.decode(data) == dt.datetime(2024, 6, 30, 22, tzinfo=dt.UTC)
    data = codec.encode(dt.time(2, tzinfo=BERLIN)).replace(b"Europe/Berlin", b"Moon/Basin")
    with pytest.raises(SerializationError, match="Moon/Basin"):
        codec.decode(data)


def test_plain_values_are_written_as_plain_json() -> None:
    assert codec.encode([[1, "a", None, True, 1.5], {"k": (1, 2)}]) == b'[[1,"a",null,true,1.5],{"k":[1,2]}]'
    assert codec.encode_call((1,), {"a": Plain(b=Plain())}) == b'[[1],{"a":{"b":{}}}]'
    assert codec.encode_call((1,), {}) == codec.encode([[1], {}])


def test_a_mapping_that_looks_like_a_tag_stays_a_mapping() -> None:
    for value in ({tags.TAG: ["date", "2024-01-01"]}, {tags.TAG: 1, "x": 2}, [{tags.TAG: {tags.TAG: None}}]):
        assert trip(value) == value


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"nul",
        b"[1]]",
        b'{"__grpcflow__": 1}',
        b'{"__grpcflow__": []}',
        b'{"__grpcflow__": [1]}',
        b'{"__grpcflow__": ["date", "2024-01-01"], "x": 1}',
        b'{"__grpcflow__": ["os.system", "true"]}',
        b'{"__grpcflow__": ["date"]}',
        b'{"__grpcflow__": ["date", "soon"]}',
        b'{"__grpcflow__": ["date", "2024-01-01", 1]}',
        b'{"__grpcflow__": ["set", [[1]]]}',
        b'{"__grpcflow__": ["dict", [[1]]]}',
        b'{"__grpcflow__": ["float", "1.5"]}',
        b'{"__grpcflow__": ["bytes", "?"]}',
        b'{"__grpcflow__": ["int", "zz"]}',
        b'{"__grpcflow__": ["decimal", "one"]}',
        b'{"__grpcflow__": ["timedelta", 1e400, 0, 0]}',
        b'{"__grpcflow__": ["datetime", "2024-01-01", "../../etc/passwd", 0]}',
    ],
)
def test_a_strangers_bytes_give_one_kind_of_error(data: bytes) -> None:
    with pytest.raises(SerializationError):
        codec.decode(data)


@hypothesis.settings(deadline=None, max_examples=100)
@hypothesis.given(data=st.binary(max_size=50), content=st.sampled_from([codec.JSON, codec.MSGPACK, codec.PICKLE]))
def test_any_bytes_are_read_or_refused(data: bytes, content: str) -> None:
    with contextlib.suppress(SerializationError):
        codec.decode(data, content, accept=["json", "msgpack"])


def test_pickle_is_read_only_where_accept_names_it() -> None:
    data = codec.encode(Point(1), codec.PICKLE)
    for accept in (codec.DEFAULT_ACCEPT, ["json"], [], frozenset({codec.JSON})):
        with pytest.raises(ContentDisallowed, match="accept_content"):
            codec.decode(data, codec.PICKLE, accept=accept)
    for allowed in (["pickle"], [codec.PICKLE]):
        assert codec.decode(data, codec.PICKLE, accept=allowed) == Point(1)
    with pytest.raises(SerializationError):
        codec.decode(b"junk", codec.PICKLE, accept=["pickle"])
    with pytest.raises(SerializationError) as caught:
        codec.encode(lambda: None, codec.PICKLE)
    assert isinstance(caught.value.__cause__, (pickle.PicklingError, AttributeError))


def test_json_is_refused_where_accept_leaves_it_out() -> None:
    with pytest.raises(ContentDisallowed):
        codec.decode(b"1", accept=["msgpack"])
    assert codec.decode(b"1", "", accept=["json"]) == 1


@pytest.mark.parametrize("content", ["text/plain", "toml", "application/json+", "json+rar"])
def test_an_unknown_content_type_is_refused(content: str) -> None:
    with pytest.raises(ContentDisallowed):
        codec.encode(1, content)
    with pytest.raises(ContentDisallowed):
        codec.decode(b"1", content, accept=[content])
    with pytest.raises(ContentDisallowed):
        codec.content_type(content)


def test_short_names_stand_for_content_types() -> None:
    assert [codec.content_type(name) for name in ("", "json", codec.MSGPACK, "pickle")] == [
        codec.JSON,
        codec.JSON,
        codec.MSGPACK,
        codec.PICKLE,
    ]


@pytest.mark.parametrize("data", [b"1", b"[]", b"[[]]", b"[[],{},1]", b"[{},[]]", b'["a",{}]'])
def test_a_payload_that_is_no_call_is_refused(data: bytes) -> None:
    with pytest.raises(SerializationError, match="payload of a call"):
        codec.decode_call(data)


def test_keyword_arguments_must_be_named_by_text() -> None:
    with pytest.raises(SerializationError, match="payload of a call"):
        codec.decode_call(codec.encode([[], {1: 2}]))


def test_exact_encoding_keeps_tuples() -> None:
    value = [(1, [(2,)]), {"a": (3,)}, "x"]
    assert codec.decode(codec.encode_exact(value)) == value
    with pytest.raises(SerializationError):
        codec.encode_exact(nested(5_000))


def test_a_value_of_the_wire_is_read_whole() -> None:
    from grpcflow_protos.v1 import value_pb2

    value = value_pb2.Value()
    value.list.values.add(data=b"1")
    value.list.values.add(data=codec.encode({1}, codec.MSGPACK), content_type=codec.MSGPACK)
    value.list.values.add().list.SetInParent()
    value.list.values.add()
    assert codec.decode_value(value) == [1, {1}, [], None]
    with pytest.raises(ContentDisallowed):
        codec.decode_value(value, ["json"])
    failed = value_pb2.Value(failed=value_pb2.FailedNode(id="x"))
    assert codec.decode_value(failed).id == "x"


@pytest.mark.parametrize("content", ["json", "msgpack", "yaml", "pickle", "json+zstd", "msgpack+gzip"])
@pytest.mark.parametrize("value", ["x" * 5_000, ["y" * 5_000, b"bytes"], [{"when": uuid.UUID(int=7)}] * 200], ids=type)
def test_views_are_read_like_bytes(content: str, value: object) -> None:
    chosen = codec.content_type(content)
    view = memoryview(b"<" + codec.encode(value, chosen) + b">")[1:-1]
    found = codec.decode(view, chosen, accept={*codec.DEFAULT_ACCEPT, codec.YAML, codec.PICKLE})
    assert found == value
    assert type(found) is type(value)
