"""The services over the wire: submit, watch, work, control."""

from __future__ import annotations

import os
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.coordinator.support.serving import BOUND, call, calls, mint, ranges, serving

from grpcflow_coordinator import streams
from grpcflow_coordinator.core.model import Now
from grpcflow_coordinator.engine import system_now
from grpcflow_coordinator.rpc.roles import ROLES
from grpcflow_protos.v1 import (
    client_service_pb2,
    control_service_pb2,
    graph_pb2,
    value_pb2,
    worker_service_pb2,
)

NodeSet = client_service_pb2.NodeSet

# Messages whose fields are given as plain dicts and numbers.
Report: Any = worker_service_pb2.Report
Retry: Any = worker_service_pb2.Retry
Run: Any = graph_pb2.NodeRun
Edge: Any = graph_pb2.Edge
Values = worker_service_pb2.ReportedValues


async def test_there_and_back() -> None:
    async with serving() as wire:
        chunk = calls(3)
        answer = await wire.submit(chunk)
        assert len(answer.ids) == 4
        assert answer.ids[0].replace("-", "") == (chunk.graph + bytes(4)).hex()
        worker = await wire.work()
        await worker.run(3, b"[7]")
        results = {result.node[-1]: result for result in await wire.watch(ranges(chunk.graph, 4))}
        assert [results[index].value.data for index in range(3)] == [b"[7]"] * 3
        assert [one.data for one in results[3].value.list.values] == [b"[7]"] * 3
        await worker.leave()


async def test_get_results_in_every_state() -> None:
    async with serving() as wire:
        chunk = calls(2)
        await wire.submit(chunk)
        nodes = ranges(chunk.graph, 3)

        async def states() -> list[str]:
            answer = await wire.client.GetResults(client_service_pb2.GetResultsRequest(nodes=nodes))
            assert all(result.known for result in answer.results)
            return [value_pb2.State.Name(result.state)[6:] for result in answer.results]

        assert await states() == ["PENDING"] * 3
        worker = await wire.work()
        first, second = await worker.have(2)
        assert await states() == ["RECEIVED", "RECEIVED", "PENDING"]
        await worker.report(reports=[Report(token=first, started={})])
        retry = Retry(countdown_ms=60_000, failure={"type_name": "ValueError"})
        await worker.report(reports=[Report(token=second, retry=retry)])
        assert await states() == ["STARTED", "RETRY", "PENDING"]
        failure = value_pb2.Failure(type_name="ValueError", module="builtins", message="no")
        await worker.report(reports=[Report(token=first, failure=failure)])
        assert await states() == ["FAILURE", "RETRY", "FAILURE"]


async def test_results_of_joins_are_lists_also_of_joins() -> None:
    async with serving() as wire:
        chunk = calls(2)
        chunk.runs[1].children.append(3)
        chunk.runs.append(Run(first=3, count=1, join={"members": [{"first": 2, "count": 1}]}))
        chunk.node_count = 4
        await wire.submit(chunk)
        worker = await wire.work()
        await worker.run(2)
        [watched] = await wire.watch(ranges(chunk.graph, 1, 3))
        request = client_service_pb2.GetResultsRequest(nodes=ranges(chunk.graph, 1, 3))
        [got] = (await wire.client.GetResults(request)).results
        for result in (watched, got):
            [inner] = result.value.list.values
            assert [value.data for value in inner.list.values] == [b"1", b"1"]
        request.states_only = True
        [bare] = (await wire.client.GetResults(request)).results
        assert not bare.HasField("value")


async def test_unknown_nodes_are_pending_and_not_known() -> None:
    async with serving() as wire:
        nodes = NodeSet(ids=["nobody", "00000000-0000-7000-8000-000000000000"])
        answer = await wire.client.GetResults(client_service_pb2.GetResultsRequest(nodes=nodes))
        assert [result.known for result in answer.results] == [False, False]
        assert {result.state for result in answer.results} == {value_pb2.STATE_PENDING}


# The client's session


async def test_a_watch_before_and_after_the_end() -> None:
    async with serving() as wire:
        chunk = calls(3)
        await wire.submit(chunk)
        before = await wire.session()
        await before.say(watches=[ranges(chunk.graph, 4)])
        worker = await wire.work()
        await worker.run(3)
        await before.read(lambda _: len(before.values) == 3 and before.results)
        after = await wire.session()
        await after.say(watches=[ranges(chunk.graph, 4)])
        await after.read(lambda _: len(after.values) == 3 and after.results)
        for session in (before, after):
            assert [result.node for result in session.results] == [chunk.graph + (3).to_bytes(4, "big")]
            assert session.values[chunk.graph, 1] == b"1"


async def test_a_watch_may_come_with_its_submission() -> None:
    async with serving() as wire:
        session = await wire.session()
        chunk = calls(2)
        await session.say(submits=[chunk], watches=[ranges(chunk.graph, 2)])
        await session.read(lambda message: message.accepted)
        worker = await wire.work()
        await worker.run(2)
        await session.read(lambda _: len(session.values) == 2)
        assert not session.refused


async def test_a_watch_that_comes_with_a_refused_submission_ends_with_it() -> None:
    async with serving() as wire:
        session = await wire.session()
        chunk = calls(2)
        chunk.runs[1].children.append(1)
        await session.say(submits=[chunk], watches=[ranges(chunk.graph, 2)])
        await session.read(lambda message: message.refused)
        assert wire.coordinator.home.outbox.watchers.of(chunk.graph) is None


async def test_by_own_id_a_result_says_its_id_before_and_after_the_end() -> None:
    async with serving() as wire:
        chunk = call(id="mine")
        await wire.submit(chunk)
        before = await wire.session()
        await before.say(watches=[NodeSet(ids=["mine"])])
        worker = await wire.work()
        await worker.run(1)
        await before.read(lambda message: message.results)
        after = await wire.session()
        await after.say(watches=[NodeSet(ids=["mine"])])
        await after.read(lambda message: message.results)
        for session in (before, after):
            [result] = session.results
            assert (result.id, result.value.data) == ("mine", b"1")


async def test_of_a_watch_the_unknown_nodes_are_refused_and_the_others_stay() -> None:
    async with serving() as wire:
        chunk = call(id="mine")
        await wire.submit(chunk)
        session = await wire.session()
        await session.say(watches=[NodeSet(ids=["nobody", "mine", "nothing"])])
        await session.read(lambda message: message.refused)
        [refusal] = session.refused
        assert list(refusal.nodes.ids) == ["nobody", "nothing"]
        assert refusal.refusal.code == "UNKNOWN_NODE"
        worker = await wire.work()
        await worker.run(1)
        await session.read(lambda message: message.results)


async def test_what_is_unwatched_is_not_told() -> None:
    async with serving() as wire:
        chunk = calls(2)
        own = call(id="mine")
        for one in (chunk, own):
            await wire.submit(one)
        session = await wire.session()
        await session.say(watches=[ranges(chunk.graph, 3), ranges(chunk.graph, 1, 2), NodeSet(ids=["mine"])])
        await session.say(unwatches=[ranges(chunk.graph, 3), NodeSet(ids=["mine"])])
        await session.say(submits=[call(task="nobody")])
        await session.read(lambda message: message.accepted)
        worker = await wire.work()
        await worker.run(3)
        await session.read(lambda message: message.results)
        assert not session.values
        assert [result.node[-1] for result in session.results] == [2]


async def test_a_session_that_half_closes_hears_what_it_is_owed() -> None:
    async with serving() as wire:
        session = await wire.session()
        chunks = [call() for _ in range(20)]
        await session.say(submits=chunks)
        await session.call.done_writing()
        await session.read(lambda _: False)
        assert session.accepted == [chunk.graph for chunk in chunks]
        assert await session.call.code() is grpc.StatusCode.OK


async def test_pieces_of_graphs_may_alternate_and_a_broken_stream_leaves_nothing() -> None:
    async with serving() as wire:
        session = await wire.session()
        graphs = [_pieces() for _ in range(2)]
        for pieces in zip(*graphs, strict=True):
            await session.say(submits=pieces)
        await session.read(lambda _: len(session.accepted) == 2)
        begun = _pieces()
        await session.say(submits=begun[:1])
        await session.call.done_writing()
        await session.read(lambda _: False)
        await wire.submit(call())
        assert not wire.coordinator.engine.machine.cluster.staging
        assert not wire.coordinator.engine.committed.staged_graphs()


def _pieces() -> list[graph_pb2.GraphChunk]:
    graph = mint()
    runs = [Run(first=index, count=1, payloads=[b"[[],{}]"]) for index in range(3)]
    return [
        graph_pb2.GraphChunk(
            graph=graph,
            sequence=index,
            last=index == 2,
            node_count=3,
            templates=[graph_pb2.Template(task="t")] if index == 0 else [],
            runs=[run],
        )
        for index, run in enumerate(runs)
    ]


async def test_a_client_that_does_not_read_is_not_waited_for() -> None:
    async with serving() as wire:
        deaf = await wire.session()
        chunk = calls(20)
        await deaf.say(submits=[chunk], watches=[ranges(chunk.graph, 21)])
        await deaf.read(lambda message: message.accepted)
        await wire.works()


# Work


async def test_inputs_and_errbacks_reach_the_worker() -> None:
    async with serving() as wire:
        edge, error = Edge(parent=0, mode=1), Edge(parent=1, mode=3)
        runs = [
            Run(first=0, count=1, payloads=[b"[[],{}]"], children=[1]),
            Run(first=1, count=1, payloads=[b"[[2],{}]"], inputs=[edge], children=[2], id="mine"),
            Run(first=2, count=1, payloads=[b"[[3],{}]"], inputs=[error]),
        ]
        template = graph_pb2.Template(task="t", headers=b'{"a":1}')
        chunk = graph_pb2.GraphChunk(graph=mint(), last=True, node_count=3, templates=[template], runs=runs)
        await wire.submit(chunk)
        worker = await wire.work()
        await worker.run(1, b"41")
        [_, token] = await worker.have(2)
        run = worker.runs[1]
        assert (run.id, list(run.payloads), run.inputs[0].data) == ("mine", [b"[[2],{}]"], b"41")
        failure = value_pb2.Failure(type_name="KeyError", message="k", args=b"[1]", traceback="...")
        await worker.report(reports=[Report(token=token, failure=failure)])
        await worker.have(3)
        told = worker.runs[2].inputs[0].failed
        assert told.id == "mine"
        assert (told.failure.type_name, told.failure.args, told.failure.traceback) == ("KeyError", b"[1]", "...")


async def test_a_retry_carries_its_new_arguments() -> None:
    async with serving() as wire:
        await wire.submit(call())
        worker = await wire.work()
        [token] = await worker.have(1)
        retry = Retry(payload=b"\x90", content_type="application/msgpack")
        await worker.report(reports=[Report(token=token, retry=retry)])
        await worker.have(2)
        run = worker.runs[1]
        assert (run.retries, list(run.payloads), run.content_type) == (1, [b"\x90"], "application/msgpack")


async def test_resumption_over_the_wire() -> None:
    async with serving() as wire:
        chunk = calls(3)
        await wire.submit(chunk)
        session = os.urandom(16)
        worker = await wire.work(session=session)
        tokens = list(await worker.have(3))
        worker.call.cancel()
        held = [worker_service_pb2.Held(node=chunk.graph + (1).to_bytes(4, "big"), token=tokens[1])]
        back = await wire.work(session=session, held=held)
        again = await back.have(2)
        assert not set(again) & set(tokens)
        await back.report(values={"tokens": [tokens[1], *again], "values": [b"1"] * 3})
        [result] = await wire.watch(ranges(chunk.graph, 1, 3))
        assert len(result.value.list.values) == 3


async def test_an_idle_stream_carries_signs_of_life() -> None:
    async with serving(heartbeat=0.02, silence=5.0) as wire:
        worker = await wire.work()
        message = await worker.read(lambda message: not message.ListFields())
        assert message is not None


# Control


async def test_an_acknowledgement_travels_with_the_next_task_where_nothing_is_left_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(streams, "LINGER", 600.0)
    async with serving() as wire:
        for _ in range(2):
            await wire.submit(call())
        worker = await wire.work(capacity=2)
        first, second = await worker.have(2)
        await worker.say(values=Values(tokens=[first], values=[b"1"]))
        told = await worker.read(lambda message: message.acknowledged)
        assert told is not None, "it works on: reports may gather behind the acknowledgement"
        await worker.say(values=Values(tokens=[second], values=[b"1"]))
        await wire.submit(call())
        told = await worker.read(lambda message: message.acknowledged or message.runs)
        assert told is not None
        assert (told.acknowledged, len(told.runs)) == (3, 1)


async def test_an_acknowledgement_for_which_there_is_no_task_does_not_wait_long() -> None:
    async with serving(heartbeat=600.0, silence=1_800.0) as wire:
        await wire.submit(call())
        worker = await wire.work()
        await worker.run(1)
        assert worker.acknowledged == 2


async def test_revoke_over_the_wire() -> None:
    async with serving() as wire:
        worker = await wire.work()
        await wire.submit(call(id="running"))
        [token] = await worker.have(1)
        await wire.submit(call(id="queued", task="nobody"))
        request = control_service_pb2.RevokeRequest(ids=["running", "queued", "nothing"], terminate=True)
        answer = await wire.control.Revoke(request)
        assert (answer.revoked, list(answer.unknown)) == (2, ["nothing"])
        if not worker.stops:
            await worker.read(lambda message: message.stops)
        assert (worker.stops[0].token, worker.stops[0].terminate, worker.stops[0].signal) == (token, True, "SIGTERM")
        assert not worker.stops[0].expired
        await worker.report(reports=[Report(token=token, revoked={})])
        results = await wire.watch(NodeSet(ids=["running", "queued"]))
        assert {result.state for result in results} == {value_pb2.STATE_REVOKED}


async def test_a_worker_is_told_that_a_call_is_too_late_to_start() -> None:
    began, moved = system_now(), [0]  # by hand: on a busy machine it may be too late before it was handed out
    async with serving(now=lambda: Now(began.wall_ms + moved[0], began.monotonic + moved[0] / 1_000)) as wire:
        worker = await wire.work()
        late = call(id="late")
        late.templates[0].expires_in.FromMilliseconds(300)
        await wire.submit(late)
        [token] = await worker.have(1)
        moved[0] += 300
        if not worker.stops:
            await worker.read(lambda message: message.stops)
        assert (worker.stops[0].token, worker.stops[0].terminate, worker.stops[0].expired) == (token, False, True)


async def test_workers_and_queues_are_told_without_asking_anybody() -> None:
    async with serving() as wire:
        worker = await wire.work(queues=["default", "b"], tasks=["t"], concurrency=3, host="h", process_id=7)
        await wire.submit(call())
        await worker.have(1)
        await wire.submit(call(task="unknown"))
        elsewhere = call()
        elsewhere.templates[0].queue = "nobody serves it"
        elsewhere.templates[0].priority = 4
        await wire.submit(elsewhere)
        later = call()
        later.templates[0].countdown.FromSeconds(60)
        await wire.submit(later)
        [info] = (await wire.control.ListWorkers(control_service_pb2.ListWorkersRequest())).workers
        assert (info.name, info.held, info.capacity, info.concurrency) == ("w@host", 1, 10, 3)
        assert info.state == control_service_pb2.WORKER_STATE_LIVE
        answer = await wire.control.ListQueues(control_service_pb2.ListQueuesRequest())
        assert answer.scheduled == 1
        lanes = {(lane.queue, lane.task): lane for lane in answer.lanes}
        assert set(lanes) == {("default", "unknown"), ("nobody serves it", "t")}
        assert "knows the task" in lanes["default", "unknown"].blocked
        assert "serves the queue" in lanes["nobody serves it", "t"].blocked
        assert lanes["nobody serves it", "t"].priority == 4
        await worker.say(drain=True)
        await worker.report()
        worker.call.cancel()


# Around the services


async def test_health_and_reflection_answer() -> None:
    async with serving() as wire:
        stub: Any = health_pb2_grpc.HealthStub(wire.channel)
        for name in ("", "grpcflow.v1.ClientService", "grpcflow.v1.WorkerService", "grpcflow.v1.ControlService"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        make_stub: Any = reflection_pb2_grpc.ServerReflectionStub
        reflection = make_stub(wire.channel)
        stream = reflection.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=BOUND
        )
        answers = [answer async for answer in stream]
        names = {service.name for service in answers[0].list_services_response.service}
        assert {"grpcflow.v1.ClientService", "grpc.health.v1.Health"} <= names
        assert names - {"grpc.reflection.v1alpha.ServerReflection"} <= set(ROLES)


async def test_a_stop_is_told_by_health_and_leaves_nothing_open() -> None:
    async with serving() as wire:
        await wire.session()
        await wire.work()
        await wire.coordinator.stop()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await wire.submit(call())
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
