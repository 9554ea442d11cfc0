"""Messages that are put together from parts: they read as if they had been written whole."""

import pytest

from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_protos.wire_parts import Parted, joined, nested, prefix, whole_of, with_parts

RUNS = pb.WorkResponse.RUNS_FIELD_NUMBER
PAYLOADS = pb.AssignedRun.PAYLOADS_FIELD_NUMBER


@pytest.mark.parametrize("sizes", [(0,), (1,), (127, 128), (70_000,), (1 << 20, 3)])
def test_a_message_with_parts_reads_as_the_whole(sizes: tuple[int, ...]) -> None:
    payloads = [b"p" * size for size in sizes]
    small, large = pb.AssignedRun(first=1, token=2), pb.AssignedRun(first=3, token=1 << 40, id="mine")
    parts = nested(RUNS, large.SerializeToString(), PAYLOADS, payloads)
    sent = with_parts(pb.WorkResponse(acknowledged=7, runs=[small]), parts)
    assert isinstance(sent, Parted)
    large.payloads.extend(payloads)
    assert pb.WorkResponse.FromString(sent.SerializeToString()) == pb.WorkResponse(acknowledged=7, runs=[small, large])
    assert whole_of(sent) == pb.WorkResponse(acknowledged=7, runs=[small])


def test_a_message_without_parts_is_left_as_it_is() -> None:
    message = pb.WorkResponse(acknowledged=1)
    assert with_parts(message, []) is message
    assert whole_of(message) is message


def test_an_encoded_message_is_joined_where_it_is_in_parts() -> None:
    assert joined(b"whole") == b"whole"
    assert joined((b"in ", b"two")) == b"in two"
    assert prefix(3, 300) == b"\x1a\xac\x02"
