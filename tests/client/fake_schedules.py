"""A connection that keeps schedules as a coordinator would, in memory, with a clock that stands still."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from grpcflow import errors
from grpcflow_coordinator.core.ticks import Times, fire_time, ticks_between
from grpcflow_protos.v1 import schedule_service_pb2 as pb

#: 2026-03-28 12:00 UTC, the day before the clocks of Europe go forward.
NOW_MS = 1_774_699_200_000
ROOT = "01890000-0000-7000-8000-00000000000"


class FakeSchedules:
    """Keeps what is put, and notes what is asked."""

    is_closed = False

    def __init__(self) -> None:
        self.infos: dict[str, pb.ScheduleInfo] = {}
        self.requests: list[pb.PutSchedulesRequest] = []
        self.asked: list[tuple[Any, ...]] = []

    def put_schedules(self, request: pb.PutSchedulesRequest) -> pb.PutSchedulesResponse:
        self.requests.append(request)
        answer = pb.PutSchedulesResponse()
        for schedule in request.schedules:
            known = self.infos.get(schedule.name)
            if known is None:
                answer.added.append(schedule.name)
            elif known.schedule != schedule:
                answer.changed.append(schedule.name)
            self.infos[schedule.name] = pb.ScheduleInfo(schedule=schedule)
        named = {schedule.name for schedule in request.schedules}
        for name, info in list(self.infos.items()):
            if request.owner and info.schedule.owner == request.owner and name not in named:
                answer.removed.append(name)
                del self.infos[name]
        return answer

    def list_schedules(self, name: str = "", *, graphs: bool = False, count: int = 1) -> list[pb.ScheduleInfo]:
        found = []
        for info in sorted(self.infos.values(), key=lambda info: info.schedule.name):
            if not name or fnmatchcase(info.schedule.name, name):
                told = pb.ScheduleInfo()
                told.CopyFrom(info)
                times = times_of(info.schedule)
                ticks = ticks_between(times, NOW_MS, NOW_MS + 10**12, NOW_MS, count)
                told.next_ms.extend(fire_time(times, info.schedule.name, tick) for tick in ticks)
                found.append(told)
        return found

    def pause_schedules(self, names: Sequence[str], paused: bool) -> None:
        for name in self._known(names):
            self.infos[name].paused = paused

    def run_schedule(self, name: str) -> str:
        self._known([name])
        self.asked.append(("run", name))
        return f"{ROOT}1"

    def remove_schedules(self, names: Sequence[str]) -> None:
        for name in self._known(names):
            del self.infos[name]

    def came(self, name: str, *outcomes: int) -> None:
        """Note ticks of a schedule that came, one a minute, the newest first."""
        info = self.infos[name]
        for age, outcome in enumerate(outcomes):
            fired = outcome == pb.TICK_OUTCOME_FIRED
            info.fired += fired
            info.passed += not fired
            info.history.add(
                time_ms=NOW_MS - age * 60_000,
                outcome=outcome,
                id=f"{ROOT}{age}" if fired else "",
            )

    def _known(self, names: Sequence[str]) -> Sequence[str]:
        for name in names:
            if name not in self.infos:
                raise errors.NotFound(f"there is no schedule {name!r}", code="UNKNOWN_SCHEDULE")
        return names


def times_of(schedule: pb.Schedule) -> Times:
    """What the coordinator makes of a message."""
    cron = schedule.crontab
    return Times(
        kind=schedule.WhichOneof("times") or "",
        crontab=(cron.minute, cron.hour, cron.day_of_month, cron.month_of_year, cron.day_of_week),
        every_ms=schedule.interval.every.ToMilliseconds(),
        aligned=schedule.interval.aligned,
        event=schedule.solar.event,
        latitude=schedule.solar.latitude,
        longitude=schedule.solar.longitude,
        once_ms=schedule.once.ToMilliseconds(),
        time_zone=schedule.time_zone,
        jitter_ms=schedule.jitter.ToMilliseconds(),
    )
