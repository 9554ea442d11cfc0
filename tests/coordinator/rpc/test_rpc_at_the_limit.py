"""What is as large as it may be, and a little larger: payloads, results, and what does not fit together."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from tests.coordinator.support import serving
from tests.coordinator.support.serving import call, calls, drain, ranges, refused

from grpcflow_coordinator.errors import STATUS_OF
from grpcflow_protos.v1 import graph_pb2, value_pb2, worker_service_pb2

Report: Any = worker_service_pb2.Report
Edge: Any = graph_pb2.Edge


async def test_payloads_at_the_limit() -> None:
    async with serving.serving(payload_limit=10_000) as wire:
        for size in (9_999, 10_000):
            await wire.submit(call(b"x" * size))
        code = "PAYLOAD_TOO_LARGE"
        assert await refused(wire.submit(call(b"x" * 10_001))) == (STATUS_OF[code], code)
        await wire.works()


@pytest.mark.parametrize("plain", [True, False])
async def test_results_at_the_limit(plain: bool) -> None:
    async with serving.serving(payload_limit=10_000) as wire:
        worker = await wire.work()
        for size in (9_999, 10_000, 10_001):
            worker.tokens.clear()
            chunk = call()
            await wire.submit(chunk)
            [token] = await worker.have(1)
            if plain:
                await worker.report(values={"tokens": [token], "values": [b"x" * size]})
            else:
                value = value_pb2.Value(data=b"x" * size, content_type="application/msgpack")
                await worker.report(reports=[Report(token=token, value=value)])
            [result] = await wire.watch(ranges(chunk.graph, 1))
            if size <= 10_000:
                assert len(result.value.data) == size
            else:
                assert result.failure.reason == "TOO_LARGE"
        await wire.works()


async def test_a_retry_with_arguments_over_the_limit_fails_the_task() -> None:
    async with serving.serving(payload_limit=10_000) as wire:
        worker = await wire.work()
        chunk = call()
        await wire.submit(chunk)
        [token] = await worker.have(1)
        retry = worker_service_pb2.Retry(payload=b"x" * 10_001)
        await worker.report(reports=[Report(token=token, retry=retry)])
        [result] = await wire.watch(ranges(chunk.graph, 1))
        assert result.failure.reason == "TOO_LARGE"


async def test_values_that_do_not_fit_together_are_fetched_in_parts() -> None:
    async with serving.serving(payload_limit=400_000) as wire:
        chunk = calls(4)
        body = graph_pb2.NodeRun(first=5, count=1, payloads=[b"[[],{}]"], inputs=[Edge(parent=4, mode=1, on_failure=2)])
        chunk.runs[1].children.append(5)
        chunk.runs.append(body)
        chunk.node_count = 6
        await wire.submit(chunk)
        worker = await wire.work(session=b"s" * 16)
        for token in list(await worker.have(4)):
            await worker.report(values={"tokens": [token], "values": [b"1" * 390_000]})
        token = (await worker.have(5))[-1]
        request = worker_service_pb2.InputsRequest(session=b"s" * 16, token=token)
        parts = [part async for page in wire.workers.Inputs(request, timeout=serving.BOUND) for part in page.parts]
        kinds = [value_pb2.PART_KIND_OPEN, *[value_pb2.PART_KIND_DATA] * 4, value_pb2.PART_KIND_CLOSE]
        assert [part.kind for part in parts] == kinds
        assert sum(len(part.data) for part in parts) == 4 * 390_000
        request.token += 1
        pages = wire.workers.Inputs(request, timeout=serving.BOUND)
        assert await refused(drain(pages)) == (grpc.StatusCode.FAILED_PRECONDITION, "STALE_ATTEMPT")
