"""Limits and retention over the wire: set, cleared, told, and heeded; and what is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from tests.coordinator.support.serving import BOUND, Wire, call, refused, serving

from grpcflow_protos.v1 import client_service_pb2, limit_pb2
from grpcflow_protos.v1 import control_service_pb2 as pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT
LONG = "x" * 256
WEEK_MS = 7 * 24 * 3_600_000
TASK: dict[str, Any] = {"scope": pb.SCOPE_TASK, "name": "t"}
RATE = limit_pb2.Limit(rate_count=10, rate_period_ms=1_000)
HOUR = pb.Retention(results=pb.Keep(age=Duration(seconds=3600)))


async def ask(wire: Wire, method: str, **given: Any) -> Any:
    """Call an rpc of the control service."""
    return await getattr(wire.control, method)(getattr(pb, f"{method}Request")(**given), timeout=BOUND)


def aged(**age: int) -> pb.Retention:
    """Return a retention of one age."""
    return pb.Retention(failures=pb.Keep(age=Duration(**age)))


@pytest.mark.parametrize(
    ("method", "given", "code"),
    [
        *(
            (method, {"scope": scope, "name": "t", said: value}, "BAD_ARGUMENTS")
            for method, said, value in (("SetLimit", "limit", RATE), ("SetRetention", "retention", HOUR))
            for scope in (pb.SCOPE_UNSPECIFIED, pb.SCOPE_KEY)
        ),
        *((method, {"scope": pb.SCOPE_QUEUE}, "BAD_ARGUMENTS") for method in ("SetLimit", "SetRetention")),
        *((method, {**TASK, "name": LONG}, "NAME_TOO_LONG") for method in ("SetLimit", "SetRetention")),
        ("SetLimit", {**TASK, "limit": limit_pb2.Limit(rate_count=10)}, "BAD_ARGUMENTS"),
        ("SetLimit", {**TASK, "limit": limit_pb2.Limit(rate_period_ms=1_000)}, "BAD_ARGUMENTS"),
        ("SetLimit", {**TASK, "limit": limit_pb2.Limit(rate_count=1, rate_period_ms=WEEK_MS + 1)}, "BAD_ARGUMENTS"),
        ("SetRetention", TASK, "BAD_ARGUMENTS"),
        ("SetRetention", {**TASK, "retention": pb.Retention(results=pb.Keep())}, "BAD_ARGUMENTS"),
        ("SetRetention", {**TASK, "retention": aged(seconds=-1)}, "BAD_TIME"),
        ("SetRetention", {**TASK, "retention": aged(seconds=1 << 40)}, "BAD_TIME"),
    ],
)
async def test_what_is_refused_of_limits_and_retention(method: str, given: dict[str, Any], code: str) -> None:
    async with serving() as wire:
        assert await refused(ask(wire, method, **given)) == (INVALID, code)
        assert not (await ask(wire, "ListLimits")).limits
        assert not (await ask(wire, "ListRetention")).retention
        await wire.works()


@pytest.mark.parametrize(("method", "said"), [("SetLimit", {"limit": RATE}), ("SetRetention", {"retention": HOUR})])
async def test_nothing_is_set_while_the_disk_is_full(method: str, said: dict[str, Any]) -> None:
    async with serving() as wire:
        await wire.submit(call())
        wire.coordinator.engine._short_of_space = True
        full = (grpc.StatusCode.RESOURCE_EXHAUSTED, "STORE_FULL")
        assert await refused(ask(wire, method, **TASK, **said)) == full
        wire.coordinator.engine._short_of_space = False
        await ask(wire, method, **TASK, **said)


# Limits


async def test_a_limit_goes_before_the_codes_until_it_is_cleared() -> None:
    facts = limit_pb2.TaskFacts(task="t", limit=limit_pb2.Limit(concurrency=3))
    async with serving() as wire:
        await wire.work(task_facts=[facts])
        [told] = (await ask(wire, "ListLimits")).limits
        assert (told.scope, told.name, told.limit.concurrency, told.set) == (pb.SCOPE_TASK, "t", 3, False)
        answer = await ask(wire, "SetLimit", **TASK, limit=RATE)
        assert answer.limit == RATE
        [told] = (await ask(wire, "ListLimits")).limits
        assert (told.limit, told.set) == (RATE, True)
        answer = await ask(wire, "SetLimit", **TASK, clear=True)
        assert answer.limit == limit_pb2.Limit(concurrency=3)
        assert [told.set for told in (await ask(wire, "ListLimits")).limits] == [False]


async def test_limits_are_told_tasks_first_and_by_name() -> None:
    async with serving() as wire:
        longest = limit_pb2.Limit(rate_count=1, rate_period_ms=WEEK_MS)
        for scope, name in ((pb.SCOPE_QUEUE, "a"), (pb.SCOPE_TASK, "z"), (pb.SCOPE_TASK, "b"), (pb.SCOPE_QUEUE, "t")):
            assert (await ask(wire, "SetLimit", scope=scope, name=name, limit=longest)).limit == longest
        told = [(one.scope, one.name) for one in (await ask(wire, "ListLimits")).limits]
        assert told == [(pb.SCOPE_TASK, "b"), (pb.SCOPE_TASK, "z"), (pb.SCOPE_QUEUE, "a"), (pb.SCOPE_QUEUE, "t")]


async def test_a_set_limit_holds_calls_back_and_says_what_it_holds() -> None:
    async with serving() as wire:
        await ask(wire, "SetLimit", scope=pb.SCOPE_QUEUE, name="default", limit=limit_pb2.Limit(concurrency=1))
        for _ in range(2):
            await wire.submit(call())
        worker = await wire.work()
        [token] = await worker.have(1)
        [told] = (await ask(wire, "ListLimits")).limits
        assert (told.running, told.waiting_lines) == (1, 1)
        lanes = (await ask(wire, "ListQueues")).lanes
        assert [lane.blocked for lane in lanes] == ["1 of the queue 'default' run, and 1 may"]
        await ask(wire, "SetLimit", scope=pb.SCOPE_QUEUE, name="default", clear=True)
        assert token in await worker.have(2)


async def test_a_rate_says_when_the_next_one_may_start() -> None:
    async with serving() as wire:
        await ask(wire, "SetLimit", **TASK, limit=limit_pb2.Limit(rate_count=1, rate_period_ms=3_600_000))
        for _ in range(2):
            await wire.submit(call())
        worker = await wire.work()
        await worker.run(1)
        [told] = (await ask(wire, "ListLimits")).limits
        assert (told.running, told.waiting_lines) == (0, 1)
        assert 3_500_000 < told.next_in_ms <= 3_600_000


async def test_an_empty_limit_lifts_what_the_code_says() -> None:
    facts = limit_pb2.TaskFacts(task="t", limit=limit_pb2.Limit(concurrency=1))
    async with serving() as wire:
        worker = await wire.work(task_facts=[facts])
        for _ in range(3):
            await wire.submit(call())
        await worker.have(1)
        assert (await ask(wire, "SetLimit", **TASK)).limit == limit_pb2.Limit()
        await worker.have(3)


# Retention


async def test_retention_is_told_as_it_was_set_until_it_is_cleared() -> None:
    kept = pb.Retention(
        results=pb.Keep(age=Duration(seconds=90, nanos=500_000_000), count=10_000),
        failures=pb.Keep(count=7),
        arguments=pb.Keep(age=Duration(seconds=600)),
    )
    async with serving() as wire:
        await ask(wire, "SetRetention", scope=pb.SCOPE_QUEUE, name="mail", retention=kept)
        await ask(wire, "SetRetention", **TASK, retention=HOUR)
        told = (await ask(wire, "ListRetention")).retention
        by_name = {(one.scope, one.name): one.retention for one in told}
        assert by_name == {(pb.SCOPE_QUEUE, "mail"): kept, (pb.SCOPE_TASK, "t"): HOUR}
        assert [one.name for one in told] == ["mail", "t"]
        await ask(wire, "SetRetention", scope=pb.SCOPE_QUEUE, name="mail", clear=True)
        await ask(wire, "SetRetention", scope=pb.SCOPE_QUEUE, name="nobody", clear=True)
        assert [one.name for one in (await ask(wire, "ListRetention")).retention] == ["t"]


async def test_a_call_whose_arguments_are_gone_is_told_without_them() -> None:
    arguments = pb.Retention(arguments=pb.Keep(age=Duration(nanos=1_000_000)))
    nodes = client_service_pb2.NodeSet(ids=["mine"])
    wanted = client_service_pb2.GetResultsRequest(nodes=nodes, details=True)
    async with serving() as wire:
        await ask(wire, "SetRetention", **TASK, retention=arguments)
        await wire.submit(call(id="mine"))
        worker = await wire.work()
        await worker.run(1)
        async with asyncio.timeout(BOUND):
            while True:
                [result] = (await wire.client.GetResults(wanted, timeout=BOUND)).results
                if not result.details.payload:
                    break
        assert (result.value.data, result.details.task, result.details.payload) == (b"1", "t", b"")


async def test_of_a_task_with_a_count_older_graphs_are_gone() -> None:
    async with serving() as wire:
        await ask(wire, "SetRetention", **TASK, retention=pb.Retention(results=pb.Keep(count=1)))
        chunks = [call(id=f"mine-{number}") for number in range(3)]
        for chunk in chunks:
            await wire.submit(chunk)
        worker = await wire.work()
        await worker.run(3)
        await worker.leave()
        nodes = client_service_pb2.NodeSet(ids=[f"mine-{number}" for number in range(3)])
        known = await wire.client.GetResults(client_service_pb2.GetResultsRequest(nodes=nodes), timeout=BOUND)
        assert [one.known for one in known.results].count(True) == 1
