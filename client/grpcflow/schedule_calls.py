"""Schedules as calls: put, list, pause, run and remove them.

Knows the wire's messages, which are imported by the calls that need them.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from grpcflow.calls import Calls

if TYPE_CHECKING:
    from grpcflow_protos.v1 import schedule_service_pb2

__all__ = ["ScheduleCalls"]

#: Seconds that a coordinator has for schedules: a thousand may be put at once.
_TIME: Final = 30.0


class ScheduleCalls:
    """Calls to the service of schedules.

    All raise NotFound for a name that no schedule has, and CoordinatorUnavailable or TimeoutError where the coordinator
    could not be reached or did not answer.
    """

    _calls: Calls

    async def _schedule_call(self, method: str, request: Any, *, repeatable: bool = True) -> Any:
        from grpcflow_protos.v1 import schedule_service_pb2_grpc

        return await self._calls.request(
            lambda channel, left: getattr(schedule_service_pb2_grpc.ScheduleServiceStub(channel), method)(
                request, timeout=left
            ),
            timeout=_TIME,
            repeatable=repeatable,
        )

    async def aput_schedules(
        self, request: "schedule_service_pb2.PutSchedulesRequest"
    ) -> "schedule_service_pb2.PutSchedulesResponse":
        """Add schedules or change those of the same names, all or none; returns what was done.

        Raises:
            InvalidRequest: One of them cannot be.
        """
        answer: schedule_service_pb2.PutSchedulesResponse = await self._schedule_call("PutSchedules", request)
        return answer

    async def alist_schedules(
        self, name: str = "", *, graphs: bool = False, count: int = 1
    ) -> "list[schedule_service_pb2.ScheduleInfo]":
        """Return the schedules whose name matches, by name.

        Args:
            name: Pattern with * and ?; empty: all.
            graphs: True: with what each submits.
            count: How many of the next times to work out for each, at most 100.
        """
        from grpcflow_protos.v1 import schedule_service_pb2

        request = schedule_service_pb2.ListSchedulesRequest(name=name, graphs=graphs, next=count)
        return list((await self._schedule_call("ListSchedules", request)).schedules)

    async def apause_schedules(self, names: Sequence[str], paused: bool) -> None:
        """Let the ticks of schedules pass without firing, durably; or fire again."""
        from grpcflow_protos.v1 import schedule_service_pb2

        request = schedule_service_pb2.PauseSchedulesRequest(names=names, paused=paused)
        await self._schedule_call("PauseSchedules", request)

    async def arun_schedule(self, name: str) -> str:
        """Submit what a schedule calls, now; returns the id of the call whose value is that of the whole."""
        from grpcflow_protos.v1 import schedule_service_pb2

        # Not made again: it would run twice.
        request = schedule_service_pb2.RunScheduleRequest(name=name)
        return str((await self._schedule_call("RunSchedule", request, repeatable=False)).id)

    async def aremove_schedules(self, names: Sequence[str]) -> None:
        """Forget schedules; what they submitted goes on."""
        from grpcflow_protos.v1 import schedule_service_pb2

        await self._schedule_call("RemoveSchedules", schedule_service_pb2.RemoveSchedulesRequest(names=names))
