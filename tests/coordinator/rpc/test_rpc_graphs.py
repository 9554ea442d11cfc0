"""Graphs over the wire: listed, shown in pages, cancelled, retried, explained; and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from tests.coordinator.support.serving import BOUND, Wire, call, calls, mint, refused, serving

from grpcflow_coordinator.core.model import text_id
from grpcflow_coordinator.rpc import client
from grpcflow_protos.v1 import client_service_pb2, control_service_pb2, graph_pb2, value_pb2, worker_service_pb2
from grpcflow_protos.v1 import graph_service_pb2 as pb

INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
LONG = "x" * 256
Run, Edge = graph_pb2.NodeRun, graph_pb2.Edge


async def ask(wire: Wire, method: str, request: Any) -> Any:
    """Call a unary rpc of the graphs' service."""
    return await getattr(wire.graphs, method)(request, timeout=BOUND)


async def shown(wire: Wire, text: str, **wanted: Any) -> tuple[pb.GraphSummary, list[pb.RunView]]:
    """Return a graph's summary and its runs."""
    pages = [page async for page in wire.graphs.GetGraph(pb.GetGraphRequest(id=text, **wanted), timeout=BOUND)]
    assert pages[0].HasField("summary")
    return pages[0].summary, [run for page in pages for run in page.runs]


async def explained(wire: Wire, text: str) -> pb.ExplainResponse:
    """Return why a node is where it is."""
    answer: pb.ExplainResponse = await ask(wire, "Explain", pb.ExplainRequest(id=text))
    assert answer.sentence.endswith(".")
    return answer


def steps(*, task: str = "t", errback: bool = False) -> graph_pb2.GraphChunk:
    """Return a graph of two calls, one behind the other, perhaps with an errback of the first."""
    value = Edge(parent=0, mode=graph_pb2.EDGE_MODE_VALUE, on_failure=graph_pb2.FAILURE_MODE_PASS)
    error = Edge(parent=0, mode=graph_pb2.EDGE_MODE_ERROR, on_failure=graph_pb2.FAILURE_MODE_PASS)
    runs = [
        Run(count=1, payloads=[b"[[],{}]"], children=[1, 2] if errback else [1]),
        Run(first=1, count=1, payloads=[b"[[],{}]"], inputs=[value]),
    ]
    if errback:
        runs.append(Run(first=2, count=1, payloads=[b"[[],{}]"], inputs=[error]))
    templates = [graph_pb2.Template(task=task)]
    return graph_pb2.GraphChunk(
        graph=mint(), last=True, node_count=len(runs), templates=templates, runs=runs, outcome=2
    )


def failure(message: str = "boom") -> value_pb2.Failure:
    return value_pb2.Failure(type_name="ValueError", module="builtins", message=message)


async def fail(worker: Any, token: int) -> None:
    """Let a worker report a failure and see it durable."""
    await worker.report(reports=[worker_service_pb2.Report(token=token, failure=failure())])


@pytest.mark.parametrize(
    ("method", "request_message", "status"),
    [
        ("ListGraphs", pb.ListGraphsRequest(task=LONG), (INVALID, "NAME_TOO_LONG")),
        ("ListGraphs", pb.ListGraphsRequest(limit=1_001), (INVALID, "BAD_ARGUMENTS")),
        ("ListGraphs", pb.ListGraphsRequest(after=b"short"), (INVALID, "BAD_ARGUMENTS")),
        ("CancelGraph", pb.CancelGraphRequest(id="nobody"), (NOT_FOUND, "UNKNOWN_GRAPH")),
        ("CancelGraph", pb.CancelGraphRequest(id="z" * 24), (NOT_FOUND, "UNKNOWN_GRAPH")),
        ("CancelGraph", pb.CancelGraphRequest(id=LONG), (INVALID, "ID_TOO_LONG")),
        ("CancelGraph", pb.CancelGraphRequest(id="a", signal="NONE"), (INVALID, "UNKNOWN_SIGNAL")),
        ("RetryGraph", pb.RetryGraphRequest(id="00" * 12), (NOT_FOUND, "UNKNOWN_GRAPH")),
        ("RetryGraph", pb.RetryGraphRequest(id=LONG), (INVALID, "ID_TOO_LONG")),
        ("Explain", pb.ExplainRequest(id="nobody"), (NOT_FOUND, "UNKNOWN_NODE")),
        ("Explain", pb.ExplainRequest(id=LONG), (INVALID, "ID_TOO_LONG")),
    ],
)
async def test_what_is_refused(method: str, request_message: Any, status: tuple[grpc.StatusCode, str]) -> None:
    async with serving() as wire:
        assert await refused(ask(wire, method, request_message)) == status
        await wire.works()


async def test_a_graph_that_is_not_there_is_not_shown() -> None:
    async with serving() as wire:
        assert await refused(shown(wire, "nobody")) == (NOT_FOUND, "UNKNOWN_GRAPH")
        assert await refused(shown(wire, LONG)) == (INVALID, "ID_TOO_LONG")


async def test_an_outcome_that_the_graph_does_not_have_is_refused() -> None:
    async with serving() as wire:
        chunk = call()
        chunk.outcome = 2
        assert await refused(wire.submit(chunk)) == (INVALID, "DANGLING_EDGE")


async def test_a_graph_is_shown_by_any_id_of_it_with_what_ran_and_what_failed() -> None:
    async with serving() as wire:
        chunk = steps()
        chunk.runs[0].id = "mine"
        await wire.submit(chunk)
        for text in ("mine", text_id(chunk.graph, 1), chunk.graph.hex()):
            summary, runs = await shown(wire, text)
            assert (summary.graph, summary.id) == (chunk.graph, text_id(chunk.graph, 1))
            assert (summary.state, summary.task, summary.ended) == (value_pb2.STATE_PENDING, "t", False)
            assert [(node.state, node.waiting) for run in runs for node in run.nodes] == [
                ("PENDING", False),
                ("PENDING", True),
            ]
            assert runs[1].inputs[0].parent == 0
        worker = await wire.work()
        [token] = await worker.have(1)
        summary, runs = await shown(wire, "mine")
        assert (summary.state, summary.tally.running, summary.tally.unsettled) == (value_pb2.STATE_STARTED, 1, 2)
        assert (runs[0].nodes[0].state, runs[0].nodes[0].worker) == ("RECEIVED", "w@host")
        assert runs[0].nodes[0].started_at_ms >= summary.created_at_ms
        await fail(worker, token)
        summary, runs = await shown(wire, "mine")
        assert (summary.state, summary.tally.failed, summary.ended) == (value_pb2.STATE_FAILURE, 2, True)
        assert [run.nodes[0].error for run in runs] == ["ValueError: boom"] * 2
        assert [run.nodes[0].origin for run in runs] == ["", "mine"]
        assert runs[0].nodes[0].settled_at_ms >= runs[0].nodes[0].started_at_ms


async def test_a_large_graph_comes_in_pages_folded_with_the_nodes_that_failed() -> None:
    async with serving() as wire:
        chunk = calls(450)
        await wire.submit(chunk)
        worker = await wire.work(capacity=1_000)
        tokens = await worker.have(450)
        await fail(worker, tokens[7])
        values = worker_service_pb2.ReportedValues(tokens=tokens[100:200], values=[b"1"] * 100)
        await worker.report(values=values)
        summary, runs = await shown(wire, chunk.graph.hex())
        assert (summary.tally.succeeded, summary.tally.failed, summary.tally.unsettled) == (100, 2, 349)
        assert (runs[0].tally.nodes, runs[0].tally.failed, runs[0].tally.running) == (450, 1, 349)
        assert [node.index for node in runs[0].nodes] == [7]
        assert runs[1].join
        assert [(one.first, one.count) for one in runs[1].members] == [(0, 450)]
        _, runs = await shown(wire, chunk.graph.hex(), every_node=True)
        assert [node.index for run in runs for node in run.nodes] == list(range(451))
        _, runs = await shown(wire, chunk.graph.hex(), first=450)
        assert [run.first for run in runs] == [450]
        summary, runs = await shown(wire, chunk.graph.hex(), summary_only=True)
        assert not runs


async def test_graphs_are_listed_newest_first_in_pages_and_filtered() -> None:
    async with serving() as wire:
        chunks = [steps(task=f"app.task{number % 3}") for number in range(9)]
        for chunk in chunks:
            await wire.submit(chunk)
        order = sorted((chunk.graph for chunk in chunks), reverse=True)
        answer = await ask(wire, "ListGraphs", pb.ListGraphsRequest())
        assert [summary.graph for summary in answer.graphs] == order
        assert not answer.next
        found, after = [], b""
        for _ in range(3):
            answer = await ask(wire, "ListGraphs", pb.ListGraphsRequest(limit=4, after=after))
            found += [summary.graph for summary in answer.graphs]
            after = answer.next
        assert found == order
        assert not after
        answer = await ask(wire, "ListGraphs", pb.ListGraphsRequest(task="app.*1"))
        assert {summary.task for summary in answer.graphs} == {"app.task1"}
        await ask(wire, "CancelGraph", pb.CancelGraphRequest(id=chunks[4].graph.hex()))
        answer = await ask(wire, "ListGraphs", pb.ListGraphsRequest(states=[value_pb2.STATE_REVOKED]))
        [summary] = answer.graphs
        assert (summary.graph, summary.cancelled, summary.tally.revoked) == (chunks[4].graph, True, 2)
        assert not (await ask(wire, "ListGraphs", pb.ListGraphsRequest(until_ms=1))).graphs
        assert not (await ask(wire, "ListGraphs", pb.ListGraphsRequest(since_ms=1 << 45))).graphs


async def test_cancelled_again_retried_while_it_runs_and_after() -> None:
    async with serving() as wire:
        chunk = steps()
        text = chunk.graph.hex()
        await wire.submit(chunk)
        assert await refused(ask(wire, "RetryGraph", pb.RetryGraphRequest(id=text))) == (PRECONDITION, "STILL_RUNNING")
        answer = await ask(wire, "CancelGraph", pb.CancelGraphRequest(id=text))
        assert (answer.cancelled, answer.running, answer.had_ended) == (2, 0, False)
        answer = await ask(wire, "CancelGraph", pb.CancelGraphRequest(id=text))
        assert (answer.cancelled, answer.had_ended) == (0, True)
        assert (await explained(wire, text_id(chunk.graph, 0))).code == "REVOKED"
        answer = await ask(wire, "RetryGraph", pb.RetryGraphRequest(id=text))
        assert (answer.retried, list(answer.unknown_tasks)) == (2, ["t"])
        worker = await wire.work()
        await worker.run(1)
        await worker.have(2)
        await worker.report(values=worker_service_pb2.ReportedValues(tokens=worker.tokens[1:], values=[b"2"]))
        summary, _ = await shown(wire, text)
        assert (summary.state, summary.cancelled) == (value_pb2.STATE_SUCCESS, False)


async def test_every_place_where_a_node_can_be_is_explained() -> None:
    async with serving() as wire:
        chunk = steps(errback=True)
        first, second, errback = (text_id(chunk.graph, index) for index in range(3))
        await wire.submit(chunk)
        answer = await explained(wire, first)
        assert (answer.code, answer.queue, answer.task) == ("NO_WORKER", "default", "t")
        answer = await explained(wire, second)
        assert (answer.code, list(answer.waits_for), answer.waiting_count) == ("WAITING_FOR_PARENTS", [first], 1)
        answer = await explained(wire, errback)
        assert (answer.code, list(answer.waits_for)) == ("WAITING_FOR_ERROR", [first])
        other = await wire.work(name="other@host", tasks=["another"])
        assert (await explained(wire, first)).code == "UNKNOWN_TASK"
        await other.leave()
        worker = await wire.work(capacity=1)
        [token] = await worker.have(1)
        assert ((await explained(wire, first)).code, (await explained(wire, first)).worker) == ("HANDED_OUT", "w@host")
        full = call()
        await wire.submit(full)
        assert (await explained(wire, text_id(full.graph, 0))).code == "WORKERS_FULL"
        await worker.say(reports=[worker_service_pb2.Report(token=token, started=worker_service_pb2.Started())])
        retry = worker_service_pb2.Retry(countdown_ms=60_000, failure=failure())
        await worker.report(reports=[worker_service_pb2.Report(token=token, retry=retry)])
        answer = await explained(wire, first)
        assert (answer.code, "ValueError: boom" in answer.sentence, answer.due_at_ms > 0) == ("RETRYING", True, True)
        await wire.control.Revoke(control_service_pb2.RevokeRequest(ids=[first]), timeout=BOUND)
        assert (await explained(wire, first)).code == "REVOKED"
        answer = await explained(wire, second)
        assert (answer.code, list(answer.waits_for)) == ("FAILED_BEFORE", [first])


async def test_joins_times_and_ends_are_explained() -> None:
    async with serving() as wire:
        group, late = calls(30), call()
        late.templates[0].countdown.seconds = 3_600
        await wire.submit(group)
        await wire.submit(late)
        answer = await explained(wire, text_id(group.graph, 30))
        assert (answer.code, answer.waiting_count, len(answer.waits_for)) == ("WAITING_FOR_MEMBERS", 30, 10)
        assert "20 more" in answer.sentence
        answer = await explained(wire, text_id(late.graph, 0))
        assert (answer.code, "in 1.0 h" in answer.sentence or "in 60" in answer.sentence) == ("SCHEDULED", True)
        worker = await wire.work(capacity=100)
        tokens = await worker.have(30)
        await worker.report(values=worker_service_pb2.ReportedValues(tokens=tokens, values=[b"1"] * 30))
        assert (await explained(wire, text_id(group.graph, 0))).code == "SUCCEEDED"
        assert (await explained(wire, text_id(group.graph, 30))).code == "SUCCEEDED"
        for how, code in (("ignored", "IGNORED"), ("rejected", "REJECTED"), ("failure", "FAILED")):
            worker.tokens = []
            chunk = steps(errback=True)
            await wire.submit(chunk)
            [token] = await worker.have(1)
            report = worker_service_pb2.Report(token=token)
            getattr(report, how).SetInParent()
            worker.tokens = []
            await worker.report(reports=[report])
            assert (await explained(wire, text_id(chunk.graph, 0))).code == code
            if how == "ignored":
                assert (await explained(wire, text_id(chunk.graph, 2))).code == "SPARED"
            if how != "ignored":
                await worker.run(1)


async def test_a_graph_that_expires_while_it_is_read_says_so() -> None:
    async with serving() as wire:
        chunk = calls(450)
        chunk.ClearField("runs")
        chunk.node_count = 600
        chunk.runs.extend(Run(first=index, count=1, payloads=[b"[[],{}]"]) for index in range(600))
        await wire.submit(chunk)
        stream = wire.graphs.GetGraph(pb.GetGraphRequest(id=chunk.graph.hex()), timeout=BOUND)
        await stream.read()
        records = wire.coordinator.engine.committed
        whole = records.graph
        records.graph = lambda graph: None if graph == chunk.graph else whole(graph)  # type: ignore[method-assign]

        async def to_the_end() -> None:
            while await stream.read() is not grpc.aio.EOF:
                pass

        assert await refused(to_the_end()) == (NOT_FOUND, "UNKNOWN_GRAPH")


async def test_unknown_ids_of_a_watch_are_none_of_a_graph() -> None:
    async with serving() as wire:
        nodes = client_service_pb2.NodeSet(ids=["nobody"])
        stream = wire.client.Watch(client_service_pb2.WatchRequest(nodes=nodes), timeout=BOUND)
        assert await refused(stream.read()) == (NOT_FOUND, "UNKNOWN_NODE")


async def test_a_watch_of_what_expired_as_it_began_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LOOK_AGAIN", 0.01)
    async with serving() as wire:
        chunk = call()
        await wire.submit(chunk)
        nodes = client_service_pb2.NodeSet(graph=chunk.graph, ranges=[graph_pb2.Range(count=1)])
        stream = wire.client.Watch(client_service_pb2.WatchRequest(nodes=nodes), timeout=BOUND)
        reading = asyncio.ensure_future(refused(stream.read()))
        watchers = wire.coordinator.home.outbox.watchers
        async with asyncio.timeout(BOUND):
            while not watchers._graphs:
                await asyncio.sleep(0)
        assert not reading.done()
        wire.coordinator.engine.committed.graph = lambda graph: None  # type: ignore[method-assign]
        assert await reading == (NOT_FOUND, "UNKNOWN_NODE")


async def test_one_of_many_independent_calls_is_shown_cancelled_and_retried_by_itself() -> None:
    async with serving() as wire:
        runs, templates = [Run(count=3, payloads=[b"[[],{}]"] * 3)], [graph_pb2.Template(task="t", apart=True)]
        chunk = graph_pb2.GraphChunk(graph=mint(), last=True, node_count=3, templates=templates, runs=runs)
        await wire.submit(chunk)
        worker = await wire.work()
        tokens = await worker.have(3)
        await fail(worker, tokens[1])
        mine = text_id(chunk.graph, 1)
        summary, [run] = await shown(wire, mine)
        assert (summary.id, summary.state, summary.ended) == (mine, value_pb2.STATE_FAILURE, True)
        assert (summary.tally.nodes, summary.tally.failed, summary.tally.running) == (1, 1, 0)
        assert (run.first, run.count, run.nodes[0].error) == (1, 1, "ValueError: boom")
        summary, _ = await shown(wire, chunk.graph.hex())
        assert (summary.tally.nodes, summary.tally.running, summary.ended) == (3, 2, False)
        retried = await ask(wire, "RetryGraph", pb.RetryGraphRequest(id=mine))
        assert retried.retried == 1
        summary, _ = await shown(wire, mine)
        assert (summary.ended, summary.tally.unsettled) == (False, 1)
        cancelled = await ask(wire, "CancelGraph", pb.CancelGraphRequest(id=text_id(chunk.graph, 0)))
        assert (cancelled.running, cancelled.cancelled) == (1, 0)
        summary, _ = await shown(wire, text_id(chunk.graph, 2))
        assert (summary.ended, summary.state) == (False, value_pb2.STATE_STARTED)
