"""Inputs that come apart, in a whole worker but for the children: fetched, held meanwhile, given up when asked."""

from __future__ import annotations

import signal

import grpc
import pytest
from tests.worker.test_worker_inputs import CLOSE, OPEN, leaf
from tests.worker.test_worker_supervisor import Cluster, cluster
from tests.worker.worker_fakes import SECRET, WorkerStream, assignment, no_pauses, settle

from grpcflow import codec
from grpcflow_protos.v1 import value_pb2
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_worker import fetching, inputs
from grpcflow_worker.wire import runs_of

PARTS = [pb.InputsResponse(parts=[OPEN, leaf(b"1")]), pb.InputsResponse(parts=[leaf(b"2"), CLOSE])]


async def assigned(it: Cluster, token: int = 1, count: int = 1) -> WorkerStream:
    stream, _ = await it.service.greeted()
    for each in range(token, token + count):
        stream.send(assignment(each, inputs_apart=True))
    assert await it.ask(stream, "ping") == {"ok": "pong"}
    return stream


def failure(message: pb.WorkRequest) -> value_pb2.Failure:
    return message.reports[0].failure


async def test_inputs_come_in_parts_before_the_attempt_starts() -> None:
    async with cluster() as it:
        await assigned(it)
        it.service.inputs.put_nowait(PARTS)
        await it.executor.holds(1)
        run = it.executor.attempts[1]
        assert codec.decode_value(value_pb2.Value.FromString(run.inputs[0])) == [1, 2]
        assert not run.inputs_apart
        assert it.service.asked == [(SECRET, 1)]


async def test_meanwhile_the_attempt_is_held_and_shown_and_others_go_on() -> None:
    async with cluster() as it:
        stream = await assigned(it)
        stream.send(assignment(2))
        await it.executor.holds(2)
        it.executor.give(2)
        message = await stream.until(lambda each: bool(each.values.tokens))
        assert list(message.values.tokens) == [2]
        reserved = await it.ask(stream, "reserved")
        assert isinstance(reserved, list)
        assert len(reserved) == 1
        stream.refuse(grpc.StatusCode.UNAVAILABLE, "gone")
        await stream.over()
        async with no_pauses(it.timer):
            _, hello = await it.service.greeted(resumed=True)
        assert 1 in [each.token for each in hello.held]


async def test_a_coordinator_that_cannot_answer_now_is_asked_again() -> None:
    async with cluster() as it:
        await assigned(it)
        for answer in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL, PARTS):
            it.service.inputs.put_nowait(answer)
        async with no_pauses(it.timer):
            await it.executor.holds(1)
        assert len(it.service.asked) == 3


async def test_a_stale_attempt_leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    async with cluster() as it:
        stream = await assigned(it)
        it.service.inputs.put_nowait(grpc.StatusCode.NOT_FOUND)
        stats = await it.ask(stream, "stats")
        while isinstance(stats, dict) and stats["held"]:
            stats = await it.ask(stream, "stats")
        assert not it.executor.attempts
        assert "no longer ours" not in caplog.text


async def test_what_an_earlier_stream_said_does_not_make_an_attempt_stale() -> None:
    """A coordinator that started anew knows nothing of this session before its hello."""
    async with cluster() as it:
        stream = await assigned(it)
        while not it.service.asked:
            await settle()
        stream.refuse(grpc.StatusCode.UNAVAILABLE, "gone")
        await stream.over()
        async with no_pauses(it.timer):
            stream, hello = await it.service.greeted(resumed=True)
            assert [each.token for each in hello.held] == [1]
            await it.ask(stream, "ping")
            it.service.inputs.put_nowait(grpc.StatusCode.NOT_FOUND)
            it.service.inputs.put_nowait(PARTS)
            await it.executor.holds(1)


async def test_a_status_that_will_not_change_fails_the_attempt() -> None:
    async with cluster() as it:
        stream = await assigned(it)
        it.service.inputs.put_nowait(grpc.StatusCode.UNIMPLEMENTED)
        message = await stream.until(lambda each: bool(each.reports))
        assert failure(message).reason == "INPUTS_REFUSED"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([pb.InputsResponse(parts=[leaf(b"x" * 60), leaf(b"x" * 60)])], "INPUTS_TOO_LARGE"),
        ([pb.InputsResponse(parts=[OPEN, leaf(b"1")])], "INPUTS_BROKEN"),
    ],
)
async def test_inputs_that_cannot_be_had_fail_the_attempt(
    answer: list[pb.InputsResponse], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "Assembly", lambda: inputs.Assembly(limit=100))
    async with cluster() as it:
        stream = await assigned(it)
        it.service.inputs.put_nowait(answer)
        message = await stream.until(lambda each: bool(each.reports))
        assert failure(message).reason == reason
        assert not it.executor.attempts


@pytest.mark.parametrize("stop", [pb.Stop(token=1), pb.Stop(token=1, terminate=True)])
async def test_a_revoked_attempt_is_given_up(stop: pb.Stop) -> None:
    async with cluster() as it:
        stream = await assigned(it)
        stream.send(pb.WorkResponse(stops=[stop]))
        message = await stream.until(lambda each: bool(each.reports))
        assert message.reports[0].HasField("revoked")
        assert it.executor.stopped == []
        assert [(run.token, number) for run, number, _ in it.executor.revoked] == [(1, 0)]


async def test_a_superseded_attempt_is_given_up_quietly(caplog: pytest.LogCaptureFixture) -> None:
    async with cluster() as it:
        stream = await assigned(it)
        stream.send(pb.WorkResponse(stops=[pb.Stop(token=1, superseded=True)]))
        stats = await it.ask(stream, "stats")
        assert isinstance(stats, dict)
        assert stats["held"] == 0
        assert it.executor.forgotten == []
        assert "no longer ours" not in caplog.text


@pytest.mark.parametrize("signals", [1, 2])
async def test_a_worker_that_leaves_gives_it_back(signals: int) -> None:
    async with cluster() as it:
        stream = await assigned(it)
        for _ in range(signals):
            it.supervisor.signalled(signal.SIGTERM)
        message = await stream.until(lambda each: bool(each.reports))
        assert message.reports[0].HasField("returned")


async def test_only_a_few_are_fetched_at_a_time() -> None:
    async with cluster() as it:
        await assigned(it, count=10)
        for _ in range(10):
            it.service.inputs.put_nowait(PARTS)
        await it.executor.holds(*range(1, 11))
        assert it.service.most_asking <= fetching.AT_ONCE


def test_the_wire_says_that_inputs_come_apart() -> None:
    assert runs_of(assignment(1, inputs_apart=True))[0].inputs_apart
    assert not runs_of(assignment(1))[0].inputs_apart
