"""Schedules as messages of the wire, and back: the one module of schedules that knows protobuf.

Imported when schedules are sent or asked for, and not before.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from grpcflow import lower
from grpcflow.canvas.parts import CALLBACKS, as_list
from grpcflow.canvas.signature import Signature, as_signature
from grpcflow.errors import GrpcflowError, ImproperlyConfigured
from grpcflow.schedule_entries import OVERLAPS, ScheduleEntry, owner_of, read_entry
from grpcflow.schedules import BaseSchedule, crontab, once, schedule, solar
from grpcflow_protos.limits import HIDDEN
from grpcflow_protos.v1 import graph_pb2, schedule_service_pb2

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow

__all__ = ["app_request", "put_request", "times_of", "to_message"]

#: Most schedules in one request.
MOST: Final = 1_000
#: Most bytes of a description.
_DESCRIPTION_BYTES: Final = 4_096

#: The id of a graph that is none yet; each tick gives it one of its own. Always the same, so that a schedule that stays
#: as it was is the same message.
NO_GRAPH: Final = bytes(12)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def app_request(app: "Grpcflow") -> schedule_service_pb2.PutSchedulesRequest:
    """Return the request that puts all that an app's code declares, and removes what it declares no more.

    Args:
        app: The app; its modules are imported and it is finalized.

    Raises:
        ImproperlyConfigured: An entry cannot be; the message names it.
    """
    entries = [read_entry(name, entry) for name, entry in app.conf.beat_schedule.items()]
    return put_request(app, entries, owner_of(app))


def put_request(
    app: "Grpcflow", entries: Sequence[ScheduleEntry], owner: str = ""
) -> schedule_service_pb2.PutSchedulesRequest:
    """Return the request that puts schedules.

    Args:
        app: Whose settings, routes and tasks hold.
        entries: The schedules.
        owner: Whose code declares them; empty: they are added by hand.

    Raises:
        ImproperlyConfigured: There are too many, or one cannot be; the message names it.
    """
    if len(entries) > MOST:
        raise ImproperlyConfigured(f"{len(entries)} schedules are declared; {MOST} are allowed.", code="BAD_SCHEDULE")
    messages = []
    for entry in entries:
        try:
            messages.append(to_message(app, entry, owner))
        except (TypeError, ValueError, GrpcflowError) as error:
            message = f"the schedule {entry.name!r} cannot be: {error}"
            raise ImproperlyConfigured(message, code="BAD_SCHEDULE") from error
    return schedule_service_pb2.PutSchedulesRequest(schedules=messages, owner=owner)


def to_message(app: "Grpcflow", entry: ScheduleEntry, owner: str = "") -> schedule_service_pb2.Schedule:
    """Return one schedule as a message, its canvas lowered.

    Args:
        app: Whose settings, routes and tasks hold.
        entry: The schedule.
        owner: Whose code declares it.

    Raises:
        TypeError, ValueError, GrpcflowError: The canvas cannot be called, or not by a schedule.
    """
    zone, graph = entry.time_zone or _zone_of(app), _graph(app, entry)
    message = schedule_service_pb2.Schedule(
        name=entry.name,
        time_zone=zone,
        overlap=OVERLAPS.index(entry.overlap) + 1,  # type: ignore[arg-type]
        catch_up_all=entry.catch_up_all,
        owner=owner,
        graph=graph,
        description=_description(entry, graph),
    )
    _put_times(message, entry.schedule, zone)
    if entry.catch_up is not None:
        message.catch_up.FromTimedelta(entry.catch_up)
    if entry.jitter:
        message.jitter.FromTimedelta(entry.jitter)
    return message


def times_of(message: schedule_service_pb2.Schedule) -> BaseSchedule:
    """Return the times of a schedule as people write them."""
    kind = message.WhichOneof("times")
    if kind == "crontab":
        cron = message.crontab
        minute, hour, weekday = cron.minute or "*", cron.hour or "*", cron.day_of_week or "*"
        return crontab(minute, hour, weekday, cron.day_of_month or "*", cron.month_of_year or "*")
    if kind == "interval":
        return schedule(message.interval.every.ToTimedelta(), message.interval.aligned)
    if kind == "solar":
        return solar(message.solar.event, message.solar.latitude, message.solar.longitude)
    if kind == "once":
        return once(message.once.ToDatetime(tzinfo=UTC).astimezone(_zone(message.time_zone)))
    return _UnknownTimes()


def moment_of(milliseconds: int, zone: str) -> datetime:
    """Return a Unix time in milliseconds as a moment in a zone."""
    return (_EPOCH + timedelta(milliseconds=milliseconds)).astimezone(_zone(zone))


class _UnknownTimes(BaseSchedule):
    """Times of a kind that this version does not know."""

    def describe(self) -> str:
        """Say so."""
        return "unknown to this version"


def _zone(name: str) -> tzinfo:
    """Return a zone; UTC where this machine does not know it, as it may not know one that is new."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def _zone_of(app: "Grpcflow") -> str:
    """Return the name of the app's zone; its settings refuse what is none."""
    _ = app.conf.tzinfo
    return app.conf.timezone or "UTC"


def _put_times(message: schedule_service_pb2.Schedule, times: BaseSchedule, zone: str) -> None:
    if isinstance(times, crontab):
        minute, hour, day, month, weekday = times.fields
        message.crontab.minute, message.crontab.hour = minute, hour
        message.crontab.day_of_month, message.crontab.month_of_year, message.crontab.day_of_week = day, month, weekday
    elif isinstance(times, schedule):
        message.interval.every.FromTimedelta(times.run_every)
        message.interval.aligned = times.relative
    elif isinstance(times, solar):
        message.solar.event, message.solar.latitude, message.solar.longitude = times.event, times.lat, times.lon
    elif isinstance(times, once):
        at = times.at if times.at.tzinfo else times.at.replace(tzinfo=ZoneInfo(zone))
        message.once.FromDatetime(at.astimezone(UTC))
    else:
        raise TypeError(
            f"{times!r} is of a class of your own, and the coordinator cannot run its code: give crontab(...), "
            "solar(...), seconds or once(...)"
        )


def _graph(app: "Grpcflow", entry: ScheduleEntry) -> graph_pb2.GraphChunk:
    """Return what each tick submits, in one piece."""
    canvas = Signature(entry.canvas, app=app) if isinstance(entry.canvas, str) else entry.canvas
    options = dict(entry.options)
    for name in CALLBACKS:
        if options.get(name):
            options[name] = [as_signature(item, app) for item in as_list(options[name])]
    graph = lower.lower(canvas, lower.Calls(app), args=entry.args, kwargs=entry.kwargs, options=options)
    if graph is None:
        raise ValueError("its chain is empty: there is nothing to call")
    _check_ids(graph.runs)
    _check_moments(graph.templates)
    chunks = lower.to_chunks(graph, NO_GRAPH)
    if len(chunks) > 1:
        raise ValueError(
            f"its canvas has {graph.node_count:,} calls in {len(chunks)} pieces and must fit one: schedule a task that "
            "submits it"
        )
    return chunks[0]


def _check_ids(runs: "Iterable[lower.Run]") -> None:
    for run in runs:
        if run.id:
            raise ValueError(f"a call has the id {run.id!r}, and each tick makes calls of its own: leave task_id out")


def _check_moments(templates: "Iterable[lower.TemplateSpec]") -> None:
    for template in templates:
        if template.eta is not None or template.expires_at is not None:
            raise ValueError(
                f"{template.task} has an eta or expires that is a moment, the same for every tick: give countdown or "
                "expires in seconds"
            )


def _description(entry: ScheduleEntry, graph: graph_pb2.GraphChunk) -> str:
    """Return the canvas as text; of one with a sensitive call only which tasks it calls."""
    if any(template.sensitive for template in graph.templates):
        names = dict.fromkeys(template.task for template in graph.templates if template.task)
        return f"{', '.join(names)} {HIDDEN}"
    if isinstance(entry.canvas, str):
        shown: Any = Signature(entry.canvas, entry.args, dict(entry.kwargs))
    else:
        shown = entry.canvas.clone(entry.args, dict(entry.kwargs)) if entry.args or entry.kwargs else entry.canvas
    text = repr(shown).encode(errors="replace")
    if len(text) > _DESCRIPTION_BYTES:
        text = text[: _DESCRIPTION_BYTES - 3] + "…".encode()
    return text.decode(errors="ignore")
