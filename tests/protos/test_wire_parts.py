"""Messages that are put together from parts: they read as if they had been written whole."""

import random

import pytest
from google.protobuf.message import DecodeError

from grpcflow_protos.v1 import client_service_pb2, graph_pb2
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_protos.wire_parts import (
    LARGE,
    Apart,
    Parted,
    joined,
    nested,
    opened,
    prefix,
    taken_apart,
    whole_of,
    with_parts,
)

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


#: The way to the payloads of what a client submits.
SUBMITTED = (
    client_service_pb2.SessionRequest.SUBMITS_FIELD_NUMBER,
    graph_pb2.GraphChunk.RUNS_FIELD_NUMBER,
    graph_pb2.NodeRun.PAYLOADS_FIELD_NUMBER,
)


def submitting(*runs: list[bytes], pieces: int = 1) -> client_service_pb2.SessionRequest:
    """Return a request whose pieces have these runs, with other fields before and behind the payloads."""
    made = [graph_pb2.NodeRun(first=number, count=1, payloads=one, id="mine") for number, one in enumerate(runs)]
    piece = graph_pb2.GraphChunk(graph=b"g" * 12, node_count=len(made), runs=made, last=True)
    watches = [client_service_pb2.NodeSet(graph=b"g" * 12)]
    return client_service_pb2.SessionRequest(submits=[piece] * pieces, watches=watches)


@pytest.mark.parametrize("viewed", [False, True], ids=["copied", "viewed"])
@pytest.mark.parametrize("sizes", [(LARGE,), (1 << 20, LARGE + 1)])
def test_large_values_are_taken_out_and_all_else_is_left(sizes: tuple[int, ...], viewed: bool) -> None:
    payloads = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
    data = submitting(payloads).SerializeToString()
    head, values = taken_apart(data, SUBMITTED, viewed=viewed)
    assert values == payloads
    assert {getattr(value, "obj", None) is data for value in values} == {viewed}
    assert client_service_pb2.SessionRequest.FromString(head) == submitting([])


@pytest.mark.parametrize(
    "message",
    [
        submitting([b"p" * (LARGE - 1)]),
        submitting([b"p" * LARGE, b"small"]),
        submitting([b"small", b"p" * LARGE]),
        submitting([b"p" * LARGE], [b"q" * LARGE]),
        submitting([b"p" * LARGE], [b""]),
        submitting([b"p" * LARGE], pieces=2),
        client_service_pb2.SessionRequest(submits=[graph_pb2.GraphChunk(runs=[graph_pb2.NodeRun(id="i" * LARGE)])]),
        client_service_pb2.SessionRequest(watches=[client_service_pb2.NodeSet(ids=["i"] * LARGE)]),
        client_service_pb2.SessionRequest(
            submits=submitting([b"p" * LARGE]).submits, watches=[client_service_pb2.NodeSet()] * 100
        ),
    ],
    ids=["small", "one small", "small first", "runs", "empty run", "pieces", "no value", "no message", "many fields"],
)
def test_a_message_of_another_shape_is_left_as_it_is(message: client_service_pb2.SessionRequest) -> None:
    data = message.SerializeToString()
    assert taken_apart(data, SUBMITTED) == taken_apart(data, SUBMITTED, viewed=True) == (data, [])


def read(data: bytes) -> client_service_pb2.SessionRequest | None:
    """Return a request; None where these are not the bytes of one."""
    try:
        return client_service_pb2.SessionRequest.FromString(data)
    except DecodeError:
        return None


def test_whatever_comes_reads_as_before() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    data = bytearray(submitting([b"p" * LARGE]).SerializeToString())
    places = [place for place in range(len(data)) if data[place] != ord("p")]
    for _ in range(300):
        broken = bytearray(data)
        for place in chance.sample(places, chance.randrange(1, 4)):
            broken[place] = chance.randrange(256)
        broken = broken[: chance.choice((len(broken), chance.randrange(len(broken))))]
        head, values = taken_apart(bytes(broken), SUBMITTED, viewed=chance.random() < 0.5)
        message = read(head)
        if values and message is not None:
            [[run]] = [piece.runs for piece in message.submits]
            run.payloads.extend(map(bytes, values))
        assert message == read(bytes(broken))


def test_what_was_taken_apart_is_opened() -> None:
    message = pb.WorkRequest(sequence=1)
    assert opened(message) == (message, [])
    assert opened(Apart(message, [b"v"])) == (message, [b"v"])
