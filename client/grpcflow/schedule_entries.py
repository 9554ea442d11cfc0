"""Entries of ``beat_schedule``: what each says of a schedule, checked as soon as it is set.

Knows the words of an entry and nothing of how schedules travel or fire. It may not import grpc or protobuf, and it does
not look tasks up: those may be imported later.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from grpcflow.errors import ImproperlyConfigured
from grpcflow.schedules import BaseSchedule, as_timedelta, maybe_schedule
from grpcflow_protos.limits import NAME_LIMIT

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.canvas.signature import Signature

__all__ = ["OVERLAPS", "ScheduleEntry", "check_entries", "owner_of", "read_entry"]

#: What a tick does while what the one before it called has not ended.
OVERLAPS: Final = ("allow", "skip", "queue_one")

#: Longest time by which ticks can be spread.
_LONGEST_JITTER: Final = timedelta(days=1)

#: Keys of an entry that say when it fires, and not what.
TIMING: Final = ("relative", "overlap", "catch_up", "catch_up_all", "jitter", "time_zone")
_KEYS: Final = frozenset({"task", "signature", "schedule", "args", "kwargs", "options", *TIMING})

#: Options of a call that a schedule's calls cannot have, and what to say instead.
_NO_OPTIONS: Final[Mapping[str, str]] = {
    "task_id": "each tick makes calls of its own: leave it out",
    "eta": "the schedule says when: leave it out, or give countdown= in seconds",
    "idempotency_key": "a tick fires once whatever happens: leave it out",
}


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """One schedule as the code declares it.

    Attributes:
        name: Its name.
        schedule: Its times.
        canvas: What each tick calls: name of a task, or a canvas.
        args: Arguments for it.
        kwargs: Keyword arguments for it.
        options: Options of the calls.
        overlap: What a tick does while the one before it runs: ``allow``, ``skip`` or ``queue_one``.
        catch_up: Ticks that are later than this are missed; None: the coordinator's default, a day.
        catch_up_all: True: each tick of an outage is made up for. False: the latest only.
        jitter: Each tick fires up to this much later.
        time_zone: Name of the zone of its times; None: the app's.
    """

    name: str
    schedule: BaseSchedule
    canvas: "str | Signature"
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    overlap: str = "allow"
    catch_up: timedelta | None = None
    catch_up_all: bool = False
    jitter: timedelta = timedelta(0)
    time_zone: str | None = None


def owner_of(app: "Grpcflow") -> str:
    """Return the name under which an app's code owns its schedules: the app's own, or else its program's."""
    from grpcflow.registration import main_name

    return main_name("" if app.main == "__main__" else app.main)


def check_entries(value: Any) -> None:
    """Refuse what cannot be a ``beat_schedule``.

    Raises:
        ImproperlyConfigured: It is no mapping of names to entries, or an entry says what cannot be.
    """
    if not isinstance(value, Mapping):
        raise _bad(f"beat_schedule is {value!r}; it must be a mapping of names to entries")
    for name, entry in value.items():
        read_entry(name, entry)


def read_entry(name: Any, entry: Any) -> ScheduleEntry:
    """Return an entry of ``beat_schedule``.

    Args:
        name: Its key.
        entry: What stands there.

    Raises:
        ImproperlyConfigured: It says what cannot be; the message names it and says what to write.
    """
    if not isinstance(name, str) or not name or len(name.encode(errors="surrogatepass")) > NAME_LIMIT:
        raise _bad(f"a schedule is called {name!r:.80}; its name must be text of 1 to {NAME_LIMIT} bytes")
    if not isinstance(entry, Mapping):
        raise _bad(f"the schedule {name!r} is {entry!r}; it must be a mapping with task (or signature) and schedule")
    try:
        return _read(name, entry)
    except (ValueError, TypeError) as error:
        raise _bad(f"the schedule {name!r}: {error}") from error


def _read(name: str, entry: Mapping[str, Any]) -> ScheduleEntry:
    for key in entry.keys() - _KEYS:
        near = difflib.get_close_matches(str(key), _KEYS, n=1)
        raise ValueError(f"there is no key {key!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    if "schedule" not in entry:
        raise ValueError('it does not say when: give "schedule", as seconds, a timedelta, crontab(...) or solar(...)')
    catch_up = entry.get("catch_up")
    return ScheduleEntry(
        name=name,
        schedule=maybe_schedule(entry["schedule"], bool(entry.get("relative", False))),
        canvas=_canvas(entry),
        args=_arguments(entry.get("args")),
        kwargs=_mapping("kwargs", entry.get("kwargs")),
        options=_options(entry.get("options")),
        overlap=_overlap(entry.get("overlap")),
        catch_up=None if catch_up is None else _length("catch_up", catch_up),
        catch_up_all=bool(entry.get("catch_up_all", False)),
        jitter=_jitter(entry.get("jitter")),
        time_zone=_zone(entry.get("time_zone")),
    )


def _canvas(entry: Mapping[str, Any]) -> "str | Signature":
    task, signature = entry.get("task"), entry.get("signature")
    if (task is None) == (signature is None):
        raise ValueError('it must say what to call: give either "task", a name, or "signature", a canvas')
    if signature is not None:
        from grpcflow.canvas.signature import Signature

        if not isinstance(signature, Signature):
            raise TypeError(f"signature is {signature!r}: give a signature, such as add.s(2, 2), or any canvas")
        return signature
    named = getattr(task, "name", task)
    if not isinstance(named, str) or not named:
        raise TypeError(f"task is {task!r}: give the name of a task")
    return named


def _arguments(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        raise TypeError(f"args is {value!r}: give a tuple or a list, such as (2, 2)")
    return tuple(value)


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} is {value!r}: give a mapping")
    return dict(value)


def _options(value: Any) -> Mapping[str, Any]:
    options = _mapping("options", value)
    for option, cure in _NO_OPTIONS.items():
        if options.get(option) is not None:
            raise ValueError(f"the option {option} cannot be had: {cure}")
    if isinstance(options.get("expires"), (datetime, str)):
        raise ValueError("the option expires is a moment, the same for every tick: give seconds")
    return options


def _overlap(value: Any) -> str:
    if value is None:
        return OVERLAPS[0]
    if value not in OVERLAPS:
        raise ValueError(f"overlap is {value!r}: give one of {', '.join(OVERLAPS)}")
    return str(value)


def _length(name: str, value: Any) -> timedelta:
    length = as_timedelta(name, value)
    if length < timedelta(0):
        raise ValueError(f"{name} is {value!r}: give 0 seconds or more")
    return length


def _jitter(value: Any) -> timedelta:
    length = _length("jitter", value or 0)
    if length > _LONGEST_JITTER:
        raise ValueError(f"jitter is {value!r}: give at most a day")
    return length


def _zone(value: Any) -> str | None:
    if value is None:
        return None
    name = getattr(value, "key", value)
    if not isinstance(name, str):
        raise TypeError(f'time_zone is {value!r}: give a name, such as "Europe/Paris"')
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f'there is no time zone {name!r}: give a name, such as "Europe/Paris"') from None
    return name


def _bad(message: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(message if message.endswith((".", "?")) else f"{message}.", code="BAD_SCHEDULE")
