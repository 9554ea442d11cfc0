"""The schedules that the coordinator keeps, from Python: ``app.schedules``.

Asks and shapes answers; what a schedule means is decided by the coordinator. Each method has a twin for coroutines,
with an ``a`` before its name (that of ``sync`` is ``async_``, since ``async`` is a word of Python). It may not import
grpc or protobuf before something is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from grpcflow.errors import NotFound
from grpcflow.schedule_entries import OVERLAPS, ScheduleEntry, read_entry
from grpcflow.schedules import BaseSchedule

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.canvas.signature import Signature
    from grpcflow.result import AsyncResult
    from grpcflow_protos.v1 import schedule_service_pb2

__all__ = ["PastTick", "ScheduleControl", "ScheduleInfo", "Synced"]

#: What became of a tick, by its number on the wire.
_OUTCOMES: Final[Mapping[int, str]] = {1: "fired", 2: "skipped", 3: "missed", 4: "paused", 5: "queued"}


@dataclass(frozen=True, slots=True)
class PastTick:
    """A time that came.

    Attributes:
        time: When, in the schedule's zone.
        outcome: ``fired``, ``skipped`` (the one before still ran), ``missed`` (the coordinator was down for too long),
            ``paused`` or ``queued`` (waits until the one before has ended).
        id: Id of the call whose value is that of what was submitted; empty: nothing was.
    """

    time: datetime
    outcome: str
    id: str


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """A schedule as it stands.

    Attributes:
        name: Its name.
        schedule: Its times.
        description: What it calls, as text.
        time_zone: The zone of its times.
        paused: True: its ticks pass without firing.
        next: Its next times, with jitter, as many as were asked for; empty: none will come.
        fired: How many ticks fired since it was added, runs by hand included.
        passed: How many were skipped or missed.
        history: Its last ticks, the newest first.
        overlap: ``allow``, ``skip`` or ``queue_one``.
        catch_up: Ticks that are later than this are missed; None: a day.
        catch_up_all: True: each tick of an outage is made up for. False: the latest only.
        jitter: Each tick fires up to this much later.
        owner: Whose code declares it; empty: it was added by hand.
    """

    name: str
    schedule: BaseSchedule
    description: str
    time_zone: str
    paused: bool
    next: tuple[datetime, ...]
    fired: int
    passed: int
    history: tuple[PastTick, ...]
    overlap: str
    catch_up: timedelta | None
    catch_up_all: bool
    jitter: timedelta
    owner: str


@dataclass(frozen=True, slots=True)
class Synced:
    """What putting schedules did, by their names.

    Attributes:
        added: Those that are new.
        changed: Those that are other than before.
        removed: Those that the code declares no more.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


class ScheduleControl:
    """The schedules of the cluster, whichever app declares them.

    All methods raise CoordinatorUnavailable where the coordinator cannot be reached.

    Args:
        app: Whose connection, routes and tasks hold.
    """

    def __init__(self, app: "Grpcflow") -> None:
        self._app = app

    def list(self, pattern: str = "", count: int = 1) -> "tuple[ScheduleInfo, ...]":
        """Return the schedules, by name.

        Args:
            pattern: Pattern of names with ``*`` and ``?``; empty: all.
            count: How many of the next times to tell for each, 1 to 100.
        """
        return _infos(self._app.connection.list_schedules(pattern, count=count))

    async def alist(self, pattern: str = "", count: int = 1) -> "tuple[ScheduleInfo, ...]":
        """Return the schedules, on the running event loop; see ``list``."""
        return _infos(await self._app.loop_connection.alist_schedules(pattern, count=count))

    def get(self, name: str, count: int = 1) -> ScheduleInfo:
        """Return one schedule.

        Args:
            name: Its name.
            count: How many of its next times to tell, 1 to 100.

        Raises:
            NotFound: There is none of this name.
        """
        return _one(name, self.list(_literal(name), count))

    async def aget(self, name: str, count: int = 1) -> ScheduleInfo:
        """Return one schedule, on the running event loop; see ``get``."""
        return _one(name, await self.alist(_literal(name), count))

    def add(
        self,
        name: str,
        schedule: Any,
        call: "str | Signature | Any",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Synced:
        """Add a schedule by hand, or change the one of this name; it belongs to no code, and none removes it.

        Args:
            name: Its name.
            schedule: Seconds, a timedelta, ``crontab(...)``, ``solar(...)`` or ``once(...)``.
            call: A task, the name of one, a signature or any canvas.
            args: Arguments for it.
            kwargs: Keyword arguments for it.
            **more: ``options``, ``relative``, ``overlap``, ``catch_up``, ``catch_up_all``, ``jitter``, ``time_zone`` as
                in an entry of ``beat_schedule``.

        Raises:
            ImproperlyConfigured: It cannot be; says what to write.
            InvalidRequest: The coordinator refused it.
        """
        return _synced(self._app.connection.put_schedules(self._request(name, schedule, call, args, kwargs, more)))

    async def aadd(
        self,
        name: str,
        schedule: Any,
        call: "str | Signature | Any",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Synced:
        """Add a schedule by hand, on the running event loop; see ``add``."""
        request = self._request(name, schedule, call, args, kwargs, more)
        return _synced(await self._app.loop_connection.aput_schedules(request))

    def sync(self) -> Synced:
        """Put what the app's code declares, and remove what it declares no more; what workers do when they start.

        Import the modules of the app before, as by ``app.load_includes()``.

        Raises:
            ImproperlyConfigured: An entry cannot be; the message names it.
            InvalidRequest: The coordinator refused one.
        """
        return _synced(self._app.connection.put_schedules(self._declared()))

    async def async_(self) -> Synced:
        """Put what the app's code declares, on the running event loop; see ``sync``."""
        return _synced(await self._app.loop_connection.aput_schedules(self._declared()))

    def pause(self, *names: str) -> None:
        """Let the ticks of schedules pass without firing, durably, until ``resume``.

        Raises:
            NotFound: There is none of such a name; none is changed.
        """
        self._app.connection.pause_schedules(names, True)

    async def apause(self, *names: str) -> None:
        """Pause schedules, on the running event loop; see ``pause``."""
        await self._app.loop_connection.apause_schedules(names, True)

    def resume(self, *names: str) -> None:
        """Have the ticks of schedules fire again; those that passed meanwhile are not made up for.

        Raises:
            NotFound: There is none of such a name; none is changed.
        """
        self._app.connection.pause_schedules(names, False)

    async def aresume(self, *names: str) -> None:
        """Resume schedules, on the running event loop; see ``resume``."""
        await self._app.loop_connection.apause_schedules(names, False)

    def run(self, name: str) -> "AsyncResult[Any]":
        """Submit what a schedule calls, now, beside its ticks and whatever its overlap policy; returns the result.

        Raises:
            NotFound: There is none of this name.
        """
        return self._app.AsyncResult(self._app.connection.run_schedule(name))

    async def arun(self, name: str) -> "AsyncResult[Any]":
        """Submit what a schedule calls, on the running event loop; see ``run``."""
        return self._app.AsyncResult(await self._app.loop_connection.arun_schedule(name))

    def remove(self, *names: str) -> None:
        """Forget schedules; what they submitted goes on. One that code declares comes back when that is put again.

        Raises:
            NotFound: There is none of such a name; none is removed.
        """
        self._app.connection.remove_schedules(names)

    async def aremove(self, *names: str) -> None:
        """Forget schedules, on the running event loop; see ``remove``."""
        await self._app.loop_connection.aremove_schedules(names)

    def next_times(self, name: str, count: int = 10) -> "tuple[datetime, ...]":
        """Return the next times of a schedule, jitter included.

        Args:
            name: Its name.
            count: How many, 1 to 100.

        Raises:
            NotFound: There is none of this name.
        """
        return self.get(name, count).next

    async def anext_times(self, name: str, count: int = 10) -> "tuple[datetime, ...]":
        """Return the next times of a schedule, on the running event loop; see ``next_times``."""
        return (await self.aget(name, count)).next

    def _request(
        self,
        name: str,
        schedule: Any,
        call: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any] | None,
        more: Mapping[str, Any],
    ) -> "schedule_service_pb2.PutSchedulesRequest":
        from grpcflow.canvas.signature import Signature
        from grpcflow.schedule_wire import put_request

        what = "signature" if isinstance(call, Signature) else "task"
        entry: ScheduleEntry = read_entry(
            name, {"schedule": schedule, what: call, "args": args, "kwargs": kwargs, **more}
        )
        return put_request(self._app, [entry])

    def _declared(self) -> "schedule_service_pb2.PutSchedulesRequest":
        from grpcflow.schedule_wire import app_request

        _ = self._app.tasks  # which has handlers of on_after_finalize declare theirs
        return app_request(self._app)


def _literal(name: str) -> str:
    """Return a pattern that matches a name, and as few others as there can be."""
    return name.replace("*", "?").replace("[", "?")


def _one(name: str, found: Sequence[ScheduleInfo]) -> ScheduleInfo:
    for info in found:
        if info.name == name:
            return info
    raise NotFound(f"there is no schedule {name!r}; `grpcflow schedule list` shows them", code="UNKNOWN_SCHEDULE")


def _synced(answer: "schedule_service_pb2.PutSchedulesResponse") -> Synced:
    return Synced(tuple(answer.added), tuple(answer.changed), tuple(answer.removed))


def _infos(found: "Sequence[schedule_service_pb2.ScheduleInfo]") -> tuple[ScheduleInfo, ...]:
    return tuple(_info(message) for message in found)


def _info(message: "schedule_service_pb2.ScheduleInfo") -> ScheduleInfo:
    from grpcflow.schedule_wire import moment_of, times_of

    told = message.schedule
    zone = told.time_zone
    return ScheduleInfo(
        name=told.name,
        schedule=times_of(told),
        description=told.description,
        time_zone=zone or "UTC",
        paused=message.paused,
        next=tuple(moment_of(time, zone) for time in message.next_ms),
        fired=message.fired,
        passed=message.passed,
        history=tuple(
            PastTick(moment_of(tick.time_ms, zone), _OUTCOMES.get(tick.outcome, "unknown"), tick.id)
            for tick in message.history
        ),
        overlap=dict(enumerate(OVERLAPS, 1)).get(told.overlap or 1, "unknown"),
        catch_up=told.catch_up.ToTimedelta() if told.HasField("catch_up") else None,
        catch_up_all=told.catch_up_all,
        jitter=told.jitter.ToTimedelta(),
        owner=told.owner,
    )
