"""Large inputs from their parts: the same bytes as the message itself would have, at any depth, within a limit."""

from __future__ import annotations

import random

import pytest

from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.inputs import Assembly, BrokenParts, TooLarge

OPEN = value_pb2.ValuePart(kind=value_pb2.PART_KIND_OPEN)
CLOSE = value_pb2.ValuePart(kind=value_pb2.PART_KIND_CLOSE)


def leaf(data: bytes, content_type: str = "") -> value_pb2.ValuePart:
    return value_pb2.ValuePart(kind=value_pb2.PART_KIND_DATA, data=data, content_type=content_type)


def parts_of(value: value_pb2.Value) -> list[value_pb2.ValuePart]:
    kind = value.WhichOneof("kind")
    if kind == "list":
        return [OPEN, *(part for each in value.list.values for part in parts_of(each)), CLOSE]
    if kind == "failed":
        return [value_pb2.ValuePart(kind=value_pb2.PART_KIND_FAILED, failed=value.failed)]
    return [leaf(value.data, value.content_type)]


def any_value(chance: random.Random, depth: int) -> value_pb2.Value:
    pick = chance.random()
    if depth and pick < 0.5:
        members = [any_value(chance, depth - 1) for _ in range(chance.choice([0, 1, 2, 40]))]
        return value_pb2.Value(list=value_pb2.ValueList(values=members))
    if pick < 0.6:
        return value_pb2.Value(failed=value_pb2.FailedNode(id="x", failure=value_pb2.Failure(message="no")))
    data = b"1" * chance.choice([0, 1, 127, 128, 20_000])
    return value_pb2.Value(data=data, content_type=chance.choice(["", "application/msgpack"]))


def text_of(value: value_pb2.Value) -> bytes | None:
    """A value as JSON; None where it is not JSON throughout."""
    if value.WhichOneof("kind") == "list":
        texts = [text_of(member) for member in value.list.values]
        known = [text for text in texts if text is not None]
        return b"[" + b",".join(known) + b"]" if len(known) == len(texts) else None
    return None if value.HasField("failed") or value.content_type else value.data or b"null"


def as_sent(value: value_pb2.Value) -> value_pb2.Value:
    text = text_of(value)
    return value_pb2.Value(data=text) if value.list.values and text is not None else value


def test_random_values_are_put_together_as_they_were() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for _ in range(60):
        values = [any_value(chance, 3) for _ in range(chance.randrange(4))]
        parts = [part for value in values for part in parts_of(value)]
        assembly = Assembly()
        while parts:
            cut = chance.randrange(1, len(parts) + 1)
            assembly.add(parts[:cut])
            del parts[:cut]
        assert [value_pb2.Value.FromString(data) for data in assembly.values()] == [as_sent(value) for value in values]


def test_no_depth_is_too_deep() -> None:
    assembly = Assembly()
    depth = 20_000
    assembly.add([OPEN] * depth)
    assembly.add([leaf(b"7")])
    assembly.add([CLOSE] * depth)
    (data,) = assembly.values()
    assert value_pb2.Value.FromString(data).data == b"[" * depth + b"7" + b"]" * depth
    other = Assembly()
    other.add([OPEN, OPEN, leaf(b"7", "application/msgpack"), CLOSE, CLOSE])
    assert value_pb2.Value.FromString(other.values()[0]).list.values[0].list.values[0].data == b"7"


def test_too_many_bytes_are_refused_as_they_come() -> None:
    assembly = Assembly(limit=1_000)
    assembly.add([OPEN, leaf(b"x" * 900)])
    with pytest.raises(TooLarge, match="more than 1,000 bytes"):
        assembly.add([leaf(b"x" * 100)])


@pytest.mark.parametrize("parts", [[CLOSE], [leaf(b"1"), CLOSE], [OPEN, CLOSE, CLOSE], [value_pb2.ValuePart()]])
def test_parts_that_make_no_value_are_refused(parts: list[value_pb2.ValuePart]) -> None:
    with pytest.raises(BrokenParts):
        Assembly().add(parts)


def test_a_list_without_an_end_is_refused() -> None:
    assembly = Assembly()
    assembly.add([OPEN, leaf(b"1")])
    with pytest.raises(BrokenParts, match="1 lists among the inputs have no end"):
        assembly.values()
