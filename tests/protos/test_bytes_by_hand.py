"""What is put together without a message: lengths; and what the C library is told of freed memory."""

import ctypes
from types import SimpleNamespace

import pytest

from grpcflow_protos import freed_memory
from grpcflow_protos.v1 import value_pb2
from grpcflow_protos.wire_parts import varint


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 16_383, 16_384, 1 << 21])
def test_a_length_is_what_protobuf_writes(size: int) -> None:
    data = b"x" * size
    key = bytes((value_pb2.Value.DATA_FIELD_NUMBER << 3 | 2,))
    assert value_pb2.Value.FromString(key + varint(size) + data).data == data


def test_the_c_library_is_told_each_option(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[int, int] = {}

    def mallopt(number: int, value: int) -> int:
        told[number] = value
        return 1

    fake = SimpleNamespace(mallopt=mallopt)
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: fake)
    assert freed_memory.keep_freed_memory()
    assert told == {-3: 32 << 20, -1: 64 << 20, -2: 64 << 20}


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace())
    assert not freed_memory.keep_freed_memory()
