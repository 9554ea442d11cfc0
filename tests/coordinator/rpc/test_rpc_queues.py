"""Queues over the wire: purged, paused, resumed; calls revoked by what they call; and what is refused."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from tests.coordinator.support.serving import BOUND, Wire, call, refused, serving

from grpcflow_coordinator.core.model import Now, text_id
from grpcflow_protos.v1 import client_service_pb2, graph_service_pb2, value_pb2
from grpcflow_protos.v1 import control_service_pb2 as pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT
LONG = "x" * 256


async def ask(wire: Wire, method: str, **given: Any) -> Any:
    """Call an rpc of the control service."""
    return await getattr(wire.control, method)(getattr(pb, f"{method}Request")(**given), timeout=BOUND)


@pytest.mark.parametrize(
    ("method", "given", "code"),
    [
        ("RevokeMatching", {}, "BAD_ARGUMENTS"),
        ("RevokeMatching", {"task": LONG}, "NAME_TOO_LONG"),
        ("RevokeMatching", {"queue": LONG}, "NAME_TOO_LONG"),
        ("RevokeMatching", {"task": "*", "signal": "NONE"}, "UNKNOWN_SIGNAL"),
        *(
            (method, {"queue": name}, "NAME_TOO_LONG")
            for method in ("PurgeQueue", "PauseQueue", "ResumeQueue")
            for name in ("", LONG)
        ),
    ],
)
async def test_what_is_refused(method: str, given: dict[str, Any], code: str) -> None:
    async with serving() as wire:
        assert await refused(ask(wire, method, **given)) == (INVALID, code)
        await wire.works()


async def test_of_each_lane_the_age_of_the_oldest_is_told() -> None:
    time = [0]
    async with serving(now=lambda: Now(1_750_000_000_000 + time[0], time[0] / 1_000)) as wire:
        await wire.submit(call(task="a"))
        time[0] = 40_000
        await wire.submit(call(task="a"))
        await wire.submit(call(task="b"))
        time[0] = 45_000
        lanes = (await ask(wire, "ListQueues")).lanes
        assert [(lane.task, lane.waiting, lane.oldest_ms) for lane in lanes] == [("a", 2, 45_000), ("b", 1, 5_000)]


async def test_a_paused_queue_says_so_and_a_purged_one_is_empty() -> None:
    async with serving() as wire:
        chunk = call()
        await wire.submit(chunk)
        await ask(wire, "PauseQueue", queue="default")
        queues = await ask(wire, "ListQueues")
        assert list(queues.paused) == ["default"]
        assert queues.lanes[0].blocked == "the queue is paused"
        explained = graph_service_pb2.ExplainRequest(id=text_id(chunk.graph, 0))
        assert (await wire.graphs.Explain(explained, timeout=BOUND)).code == "PAUSED"
        assert (await ask(wire, "PurgeQueue", queue="default")).revoked == 1
        await ask(wire, "ResumeQueue", queue="default")
        assert not (await ask(wire, "ListQueues")).paused
        other = call()
        await wire.submit(other)
        assert (await ask(wire, "RevokeMatching", task="t")).revoked == 1


@pytest.mark.parametrize(
    ("service", "method", "request_message"),
    [
        ("control", "RevokeMatching", pb.RevokeMatchingRequest(task="t")),
        ("control", "PurgeQueue", pb.PurgeQueueRequest(queue="default")),
        ("control", "PauseQueue", pb.PauseQueueRequest(queue="default")),
        ("control", "ResumeQueue", pb.ResumeQueueRequest(queue="default")),
        ("graphs", "CancelGraph", graph_service_pb2.CancelGraphRequest(id="mine")),
        ("graphs", "RetryGraph", graph_service_pb2.RetryGraphRequest(id="mine")),
        ("client", "Emit", client_service_pb2.EmitRequest(node=bytes(16), items=[value_pb2.Value(data=b"1")])),
    ],
)
async def test_what_would_write_is_refused_while_the_disk_is_full_and_goes_on_after_it(
    service: str, method: str, request_message: Any
) -> None:
    async with serving() as wire:
        await wire.submit(call(id="mine"))
        engine = wire.coordinator.engine
        engine._short_of_space = True
        asked = getattr(getattr(wire, service), method)
        full = (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORE_FULL")
        assert await refused(asked(request_message, timeout=BOUND)) == full
        engine._short_of_space = False
        nodes = client_service_pb2.NodeSet(ids=["mine"])
        stands = await wire.client.GetResults(client_service_pb2.GetResultsRequest(nodes=nodes), timeout=BOUND)
        assert stands.results[0].state == value_pb2.STATE_PENDING
        await wire.works()
