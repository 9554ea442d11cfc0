"""What is refused for its length is let go as soon as it is read: objects take a hundred times the bytes."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from tests.coordinator.support import serving
from tests.coordinator.support.serving import call, refused

from grpcflow_coordinator.rpc.shortening import SMALL, shortened
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2, graph_pb2

ClientMessage: Any = client_service_pb2.SessionRequest

#: Of a piece of half a MiB: more than it may have.
TOO_MANY = 250_000


def long_piece(field: str) -> graph_pb2.GraphChunk:
    """Returns a piece that has nothing, very often."""
    chunk = call()
    nothing: Any = graph_pb2.Template() if field == "templates" else graph_pb2.NodeRun()
    getattr(chunk, field).extend([nothing] * TOO_MANY)
    return chunk


@pytest.mark.parametrize("field", ["templates", "runs"])
def test_of_a_piece_that_is_too_long_just_so_much_is_kept(field: str) -> None:
    fine, long = call(b"x" * SMALL), long_piece(field)
    watch = client_service_pb2.NodeSet(graph=fine.graph, ids=["a"])
    message = ClientMessage(submits=[fine, long], watches=[watch], hello={"revision": 1})
    kept = shortened(message)
    assert kept is not message
    assert (kept.hello, list(kept.watches), kept.submits[0]) == (message.hello, [watch], fine)
    assert len(getattr(kept.submits[1], field)) == limits.CHUNK_RUNS_MOST + 1
    told = ("graph", "sequence", "last", "node_count")
    assert [getattr(kept.submits[1], name) for name in told] == [getattr(long, name) for name in told]


def test_a_message_of_pieces_that_may_be_is_left_as_it_is() -> None:
    message = ClientMessage(submits=[call(b"x" * SMALL)])
    assert shortened(message) is message
    other: Any = client_service_pb2.WatchRequest(nodes=client_service_pb2.NodeSet(ids=["x" * 200] * 1_000))
    assert shortened(other) is other


@pytest.mark.parametrize("field", ["templates", "runs"])
async def test_it_is_refused_as_before_and_its_memory_is_not_held(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    long = long_piece(field)
    async with serving.serving() as wire:
        service, lengths = wire.coordinator.home.clients, list[int]()
        through = service._gate.through

        def noted(visitor: Any, pieces: Any, apart: int = 0) -> Any:
            lengths.extend(len(getattr(piece, field)) for piece in pieces)
            return through(visitor, pieces, apart)

        monkeypatch.setattr(service._gate, "through", noted)
        expected = (grpc.StatusCode.INVALID_ARGUMENT, "CHUNK_TOO_LONG")
        submitted = wire.client.Submit(client_service_pb2.SubmitRequest(chunks=[long]), timeout=serving.BOUND)
        assert await refused(submitted) == expected
        session = await wire.session()
        await session.say(submits=[long])
        answer = await session.read(lambda message: message.refused)
        assert [one.refusal.code for one in answer.refused] == ["CHUNK_TOO_LONG"]
        assert lengths == [limits.CHUNK_RUNS_MOST + 1] * 2
        await wire.works()
