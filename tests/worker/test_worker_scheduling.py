"""Workers put the schedules of their app when they start, until the coordinator has them or refuses."""

import asyncio
import logging
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.worker.worker_fakes import FakeTimer

from grpcflow import Grpcflow
from grpcflow_protos.v1 import schedule_service_pb2 as pb
from grpcflow_worker.executors.loading import schedules_of
from grpcflow_worker.scheduling import SETTING, put_declared


class Coordinator:
    """Answers as it is told, the last answer again and again."""

    def __init__(self, *answers: grpc.StatusCode | pb.PutSchedulesResponse) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, pb.PutSchedulesRequest]] = []

    async def put(self, address: str, request: pb.PutSchedulesRequest) -> pb.PutSchedulesResponse:
        self.asked.append((address, request))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, pb.PutSchedulesResponse):
            return answer
        nothing = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(answer, nothing, nothing, details="because")


def declaring(**settings: Any) -> Grpcflow:
    app = Grpcflow("proj", set_as_current=False, **settings)
    app.conf.beat_schedule = {"often": {"task": "proj.add", "args": (1,), "schedule": 10}}
    return app


async def put(settings: dict[str, Any], coordinator: Coordinator) -> FakeTimer:
    timer = FakeTimer()
    skipping = asyncio.ensure_future(timer.skip_pauses())
    try:
        async with asyncio.timeout(40):
            await put_declared(settings, lambda: "here:1", timer.timing, coordinator.put)
    finally:
        skipping.cancel()
    return timer


async def test_what_an_app_declares_is_put_once(caplog: pytest.LogCaptureFixture) -> None:
    coordinator = Coordinator(pb.PutSchedulesResponse(added=["often"], removed=["old"]))
    settings = schedules_of(declaring())
    with caplog.at_level(logging.INFO, "grpcflow.worker"):
        await put(settings, coordinator)
    ((address, request),) = coordinator.asked
    assert address == "here:1"
    assert (request.owner, [each.name for each in request.schedules]) == ("proj", ["often"])
    assert "schedules of proj: 1; added: often; removed: old" in caplog.text
    assert SETTING not in settings, "inspect conf shows the settings to people"


async def test_it_is_tried_again_until_the_coordinator_is_there() -> None:
    away = grpc.StatusCode.UNAVAILABLE
    coordinator = Coordinator(away, away, pb.PutSchedulesResponse())
    timer = await put(schedules_of(declaring()), coordinator)
    assert len(coordinator.asked) == 3
    assert timer.time == pytest.approx(1000 + 0.75 * (0.5 + 1.0))


async def test_a_refusal_is_told_and_is_the_end(caplog: pytest.LogCaptureFixture) -> None:
    coordinator = Coordinator(grpc.StatusCode.INVALID_ARGUMENT)
    await put(schedules_of(declaring()), coordinator)
    assert len(coordinator.asked) == 1
    assert "the schedules of proj are not put: because" in caplog.text


async def test_a_schedule_that_cannot_be_keeps_no_worker_from_working(caplog: pytest.LogCaptureFixture) -> None:
    app = declaring()

    @app.task(name="proj.add")
    def add(x: int, y: int) -> int:
        return x + y

    coordinator = Coordinator(pb.PutSchedulesResponse())
    await put(schedules_of(app), coordinator)
    assert coordinator.asked == []
    assert "the app's schedules are not put: the schedule 'often' cannot be" in caplog.text


async def test_an_app_without_schedules_or_with_beat_sync_off_puts_nothing() -> None:
    coordinator = Coordinator(pb.PutSchedulesResponse())
    await put(schedules_of(Grpcflow("proj", set_as_current=False)), coordinator)
    await put(schedules_of(declaring(beat_sync=False)), coordinator)
    assert coordinator.asked == []
