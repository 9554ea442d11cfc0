"""Namespaces: the same names and ids in two of them do not meet, and who may act in which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.coordinator.security.token_files import caller, give
from tests.coordinator.support.serving import call, ranges, reason, refused, serving

from grpcflow_coordinator.security.token_file import Role
from grpcflow_protos.v1 import (
    client_service_pb2,
    control_service_pb2,
    graph_service_pb2,
)

pytestmark = pytest.mark.usefixtures("quick_looks")


# --- they do not meet ----------------------------------------------------------------------------------------------


async def test_the_same_ids_and_queues_in_two_namespaces_do_not_meet(tokens: Path) -> None:
    ours, theirs = (give(tokens, Role, namespace=name) for name in ("ours", "theirs"))
    async with serving(tokens=str(tokens)) as wire:
        sides = caller(wire, ours), caller(wire, theirs), caller(wire, give(tokens, Role))
        chunk, alone = call(id="order-17"), call()
        await sides[0].submit(alone)
        for side in sides[:2]:
            await side.submit(chunk)
        workers = [await side.work(name="w@host") for side in sides[:2]]
        await workers[0].have(2)
        await workers[1].have(1)
        assert {run.graph for run in workers[1].runs} == {chunk.graph}
        await workers[0].run(2, b'"ours"')
        await workers[1].run(1, b'"theirs"')
        for side, value in zip(sides, (b'"ours"', b'"theirs"'), strict=False):
            for nodes in (ranges(chunk.graph, 1), client_service_pb2.NodeSet(ids=["order-17"])):
                assert [one.value.data for one in await side.watch(nodes)] == [value]
        # The worker of the second one has answered all that it was given, and is given what comes there next.
        await sides[1].submit(call())
        await workers[1].have(2)
        assert len(workers[0].tokens) == 2


async def test_limits_pauses_schedules_and_workers_are_of_one_namespace(tokens: Path) -> None:
    ours, theirs = (give(tokens, Role, namespace=name) for name in ("ours", "theirs"))
    async with serving(tokens=str(tokens)) as wire:
        side, other = caller(wire, ours), caller(wire, theirs)
        await side.control.PauseQueue(control_service_pb2.PauseQueueRequest(queue="default"))
        limit = control_service_pb2.SetLimitRequest(name="default", scope=control_service_pb2.SCOPE_QUEUE)
        limit.limit.concurrency = 1
        await side.control.SetLimit(limit)
        await side.work()
        await other.submit(call())
        worker = await other.work()
        await worker.have(1)  # neither paused nor limited there
        lists: list[tuple[Any, Any]] = [
            ("ListLimits", control_service_pb2.ListLimitsRequest()),
            ("ListWorkers", control_service_pb2.ListWorkersRequest()),
        ]
        for name, request in lists:
            mine, foreign = [await getattr(one.control, name)(request) for one in (side, other)]
            assert mine != foreign, name
        assert not (await other.control.ListLimits(control_service_pb2.ListLimitsRequest())).limits


# --- who may act where ---------------------------------------------------------------------------------------------


async def test_an_admin_of_the_default_namespace_acts_in_others_and_the_audit_log_says_where(
    tokens: Path, tmp_path: Path
) -> None:
    audit = tmp_path / "audit.jsonl"
    chief, inside = give(tokens, [Role.ADMIN], name="chief"), give(tokens, Role, name="inside", namespace="ours")
    async with serving(tokens=str(tokens), audit_log=str(audit)) as wire:
        request = control_service_pb2.PauseQueueRequest(queue="mail")
        for token, namespace in ((chief, "ours"), (chief, ""), (inside, ""), (inside, "nowhere")):
            pausing = caller(wire, token, namespace).control.PauseQueue(request)
            await (refused(pausing) if namespace == "nowhere" else pausing)
        assert {name: one.machine.cluster.paused for name, one in wire.coordinator.realms.engines.items()} == {
            "": {"mail"},
            "ours": {"mail"},
        }
        graph = call()
        await caller(wire, chief, "ours").submit(graph)
        found = caller(wire, inside).graphs.GetGraph(graph_service_pb2.GetGraphRequest(id=graph.graph.hex()))
        assert (await found.read()) is not grpc.aio.EOF
    lines = [json.loads(line) for line in audit.read_text().splitlines()]
    assert [(one["name"], one["namespace"], one["status"]) for one in lines] == [
        ("chief", "ours", "OK"),
        ("chief", "", "OK"),
        ("inside", "ours", "OK"),
        ("inside", "ours", "NAMESPACE_FORBIDDEN"),
    ]


async def test_without_tokens_there_is_the_default_namespace_and_the_refusal_says_what_to_do() -> None:
    async with serving() as wire:
        asked = caller(wire, "", "ours").control.ListQueues(control_service_pb2.ListQueuesRequest())
        with pytest.raises(grpc.aio.AioRpcError, match="--tokens FILE") as caught:
            await asked
        assert reason(caught.value) == (grpc.StatusCode.FAILED_PRECONDITION, "NAMESPACES_OFF")
        await wire.control.ListQueues(control_service_pb2.ListQueuesRequest())


async def test_a_stream_ends_when_its_token_moves_to_another_namespace(tokens: Path) -> None:
    token = give(tokens, [Role.WORK], namespace="ours")
    async with serving(tokens=str(tokens)) as wire:
        worker = await caller(wire, token).work()
        tokens.write_text(tokens.read_text().replace('"ours"', '"theirs"'))
        assert await worker.end() == (grpc.StatusCode.UNAVAILABLE, "TOKEN_ENDED")
