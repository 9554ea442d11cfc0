"""What a worker says of its tasks and queues over the wire: batches come whole, and what cannot be is refused."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from tests.coordinator.support.serving import BOUND, call, refused, serving

from grpcflow_protos.v1 import control_service_pb2, limit_pb2

INVALID = grpc.StatusCode.INVALID_ARGUMENT
BATCH = limit_pb2.TaskFacts(task="t", batch_size=3, batch_within_ms=60_000)
LONG = "x" * 256


def facts(**given: Any) -> dict[str, Any]:
    return {"task_facts": [limit_pb2.TaskFacts(**given)]}


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (facts(task=LONG), "NAME_TOO_LONG"),
        (facts(task="t", batch_size=10_001), "BAD_ARGUMENTS"),
        (facts(task="t", batch_size=1, batch_within_ms=3_600_001), "BAD_ARGUMENTS"),
        (facts(task="t", limit=limit_pb2.Limit(rate_count=1)), "BAD_ARGUMENTS"),
        ({"queue_facts": [limit_pb2.QueueFacts(queue=LONG)]}, "NAME_TOO_LONG"),
        ({"queues": ["a", "b"], "weights": [1]}, "MALFORMED"),
        ({"queues": ["a"], "weights": [0]}, "MALFORMED"),
        ({"queues": ["a"], "weights": [101]}, "MALFORMED"),
    ],
)
async def test_what_is_refused_of_a_hello(said: dict[str, Any], code: str) -> None:
    async with serving() as wire:
        assert await refused(wire.work(**said)) == (INVALID, code)
        await wire.works()


async def test_a_batch_comes_in_one_message_with_its_number_and_its_size() -> None:
    async with serving() as wire:
        worker = await wire.work(task_facts=[BATCH], capacity=1)
        for _ in range(3):
            await wire.submit(call())
        message = await worker.read(lambda found: found.runs)
        assert message is not None
        assert {run.batch for run in message.runs} == {message.runs[0].token}
        assert {run.batch_size for run in message.runs} == {3}
        await worker.leave()


async def test_a_batch_that_fits_no_message_comes_in_parts_each_a_batch_of_its_own() -> None:
    async with serving() as wire:
        worker = await wire.work(task_facts=[BATCH], capacity=1)
        for _ in range(3):
            await wire.submit(call(b'[["%s"],{}]' % (b"x" * 2_000_000)))
        found: dict[int, list[int]] = {}
        while sum(map(len, found.values())) < 3:
            message = await worker.read(lambda found: found.runs)
            assert message is not None
            assert message.ByteSize() < 5_000_000
            for run in message.runs:
                found.setdefault(run.batch, []).append(run.batch_size)
        assert sorted(found.values()) == [[1], [2, 2]] or sorted(found.values()) == [[1], [1], [1]]
        await worker.leave()


async def test_concurrency_and_weights_change_while_the_worker_is_there() -> None:
    async with serving() as wire:
        worker = await wire.work(queues=["a", "b"])
        await worker.say(queues=["a", "c"], weights=[2, 3], subscription_changed=True, concurrency=7)
        await worker.say(queues=["a"], weights=[2, 3], subscription_changed=True)
        assert await worker.end() == (INVALID, "MALFORMED")
        [info] = (await wire.control.ListWorkers(control_service_pb2.ListWorkersRequest(), timeout=BOUND)).workers
        assert (list(info.queues), info.concurrency) == (["a", "c"], 7)
