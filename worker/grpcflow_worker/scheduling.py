"""Puts the app's schedules into the coordinator when a worker starts: there is no beat that could.

The request is made where the app is (see `executors/loading.py`) and comes here as bytes. It is tried until the
coordinator has it or refuses it; what it says goes to the log, and the worker works either way. This file may NOT
import user code.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import grpc
import grpc.aio

from grpcflow.channels import PLAIN, Door
from grpcflow_protos.v1 import schedule_service_pb2 as pb
from grpcflow_protos.v1 import schedule_service_pb2_grpc as pb_grpc
from grpcflow_worker.stream import CHANNEL_OPTIONS, Timing

#: Under which name the request stands among an app's settings: encoded, or as text what keeps it from being made.
#: Absent: the app declares nothing.
SETTING: Final = "schedules_to_put"

#: Seconds that the coordinator has to answer.
ANSWER: Final = 30.0

#: Seconds before a try that failed is made again: the first pause, doubled with each try up to the longest.
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0

#: What a second try may change.
_PASSING: Final = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.ABORTED,
)

_log = logging.getLogger("grpcflow.worker")

#: Asks one address to put schedules.
Put = Callable[[str, pb.PutSchedulesRequest], Awaitable[pb.PutSchedulesResponse]]


async def put_schedules(address: str, request: pb.PutSchedulesRequest, door: Door = PLAIN) -> pb.PutSchedulesResponse:
    """Ask ``HOST:PORT`` to put schedules, over a channel of its own."""
    channel = door.open_on_loop(address, CHANNEL_OPTIONS)
    try:
        stub: Any = pb_grpc.ScheduleServiceStub(channel)
        answer: pb.PutSchedulesResponse = await stub.PutSchedules(request, timeout=ANSWER)
        return answer
    finally:
        await channel.close(None)


async def put_declared(
    settings: dict[str, Any], address: Callable[[], str], timing: Timing, put: Put = put_schedules
) -> None:
    """Put what an app declares, where it declares something, until that is known or refused.

    Args:
        settings: those of the app; the request is taken out.
        address: tells which coordinator to ask.
        timing: the clock; replaced in tests.
        put: asks it; replaced in tests.
    """
    data = settings.pop(SETTING, None)
    if data is None:
        return
    if isinstance(data, str):
        _log.error("the app's schedules are not put: %s", data)
        return
    request = pb.PutSchedulesRequest.FromString(data)
    tries = 0
    while True:
        try:
            answer = await put(address(), request)
        except grpc.aio.AioRpcError as error:
            if error.code() not in _PASSING:
                older = error.code() is grpc.StatusCode.UNIMPLEMENTED
                said = "this coordinator is older and keeps none; upgrade it" if older else error.details()
                _log.error("the schedules of %s are not put: %s", request.owner, said)
                return
            _log.debug("the schedules of %s are not put yet: %s", request.owner, error.details())
        else:
            _tell(request, answer)
            return
        await timing.sleep(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries, 10)) * (0.5 + timing.chance() / 2))
        tries += 1


def _tell(request: pb.PutSchedulesRequest, answer: pb.PutSchedulesResponse) -> None:
    changes = (("added", answer.added), ("changed", answer.changed), ("removed", answer.removed))
    said = "; ".join(f"{word}: {', '.join(names)}" for word, names in changes if names)
    _log.info("schedules of %s: %d%s", request.owner, len(request.schedules), f"; {said}" if said else ", as before")
