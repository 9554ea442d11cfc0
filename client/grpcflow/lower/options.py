"""The options that a call may have: their names, what became of Celery's others, and the values that need a check.

Pure; imports nothing of grpcflow but the parts of a signature, and limits. It may not import grpc or protobuf.
"""

import difflib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from grpcflow.canvas.parts import OPTIONS, STAMPED, values_of
from grpcflow.limits import LONGEST
from grpcflow_protos.limits import NAME_LIMIT

__all__ = [
    "CALL_OPTIONS_ELSEWHERE",
    "OPTIONS",
    "checked_limits",
    "checked_name",
    "length_of",
    "split_stamps",
    "unknown_option",
]

_NO_EXCHANGES: Final = "there are no exchanges here: name the queue with queue="
_NO_PLACE: Final = "a call belongs to the group that it stands in: write group(...)"
_OF_A_BROKER: Final = "a call waits in the coordinator until a worker takes it: leave it out"
_BY_CONNECTION: Final = "how long a submission tries is said by retry_policy= or the setting task_publish_retry_policy"
_SHORTENED: Final = (
    "the coordinator reads no arguments, and inspect shows them: for what nobody may see pass a reference"
)
_ONE_CONNECTION: Final = "a canvas goes through the connection of its app: use the app of the other coordinator"

#: Celery's options that have no place here, and what to use instead.
CALL_OPTIONS_ELSEWHERE: Final[Mapping[str, str]] = {
    "exchange": _NO_EXCHANGES,
    "exchange_type": _NO_EXCHANGES,
    "routing_key": _NO_EXCHANGES,
    "delivery_mode": "every call is kept on disk before the submission returns, so there is nothing to choose",
    "producer": _ONE_CONNECTION,
    "publisher": _ONE_CONNECTION,
    "connection": _ONE_CONNECTION,
    "router": "routes are those of the app: set task_routes, or name the queue with queue=",
    "chain": "what follows a call is written behind it: a | b",
    "chord": "what waits for a group is its body: write chord(header, body)",
    "group_id": _NO_PLACE,
    "group_index": _NO_PLACE,
    "declare": "queues need no declaring: leave it out",
    "mandatory": _OF_A_BROKER,
    "immediate": _OF_A_BROKER,
    "timeout": _BY_CONNECTION,
    "confirm_timeout": _BY_CONNECTION,
    "task_type": "options and arguments are those of the task that is called: call it itself",
    "retries": "the coordinator counts the attempts of a call; call task.apply(retries=) to try another in place",
    "argsrepr": _SHORTENED,
    "kwargsrepr": _SHORTENED,
    "interval": "nothing polls for the end of a chord: leave it out",
    "result_cls": "a submission returns an AsyncResult or a GroupResult; make another object of its id",
}


_LONGEST: Final = LONGEST.total_seconds()
_NOW: Final = timedelta(0)


def unknown_option(task: str, option: str) -> TypeError:
    """Return the error for an option that a call cannot have; it says what to use."""
    if option in CALL_OPTIONS_ELSEWHERE:
        return TypeError(f"{task}: the option {option!r} has no meaning here; {CALL_OPTIONS_ELSEWHERE[option]}")
    from grpcflow.task import Task  # which calls what is here

    if option in Task.OPTIONS:
        cure = f"give it to @app.task({option}=...)"
        return TypeError(f"{task}: {option!r} is an option of the task, and not of one call; {cure}")
    near = difflib.get_close_matches(option, OPTIONS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(OPTIONS))}"
    return TypeError(f"{task}: there is no option {option!r}; {hint}")


def split_stamps(task: str, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the options of a call that are no stamps, without those that are None, and the stamps.

    Raises:
        ValueError: A stamp has the name of an option, has no value, or is too long.
    """
    names = options.get(STAMPED) or ()
    plain = {name: value for name, value in options.items() if value is not None and name not in names}
    plain.pop(STAMPED, None)
    stamps: dict[str, list[Any]] = {}
    for name in names:
        if name in OPTIONS or name in CALL_OPTIONS_ELSEWHERE:
            raise ValueError(f"{task}: a stamp cannot be called {name!r}, for that is an option; choose another name")
        if name not in options:
            raise ValueError(f"{task}: {STAMPED} names {name!r}, and there is no value for it: give {name}=...")
        stamps[checked_name("name of a stamp", name)] = values = values_of(options[name])
        for value in values:
            if len(str(value).encode()) > NAME_LIMIT:
                raise ValueError(f"{task}: a value of the stamp {name!r} is over {NAME_LIMIT} bytes long")
    return plain, stamps


def checked_limits(task: str, hard: Any, soft: Any) -> tuple[timedelta | None, timedelta | None]:
    """Return the time limits of a call.

    Raises:
        ValueError: One is no length of time above zero, or the soft one is above the hard one.
    """
    limits: list[timedelta | None] = []
    for name, value in (("time_limit", hard), ("soft_time_limit", soft)):
        length = length_of(name, value)
        if length is not None and not length:
            raise ValueError(f"{task}: {name} is {value!r}; it must be a number of seconds above zero")
        limits.append(length)
    time_limit, soft_time_limit = limits
    if time_limit is not None and soft_time_limit is not None and soft_time_limit > time_limit:
        raise ValueError(
            f"{task}: the soft_time_limit of {soft_time_limit.total_seconds():g} s must be at most the time_limit of "
            f"{time_limit.total_seconds():g} s"
        )
    return time_limit, soft_time_limit


def length_of(option: str, value: Any) -> timedelta | None:
    """Return seconds or a timedelta as a timedelta; what lies in the past counts as now."""
    if value is None:
        return None
    length: timedelta | None = value if isinstance(value, timedelta) else None
    # An overflow on the way would tell nobody what is wrong.
    if isinstance(value, (int, float)) and abs(value) < _LONGEST:
        length = timedelta(seconds=value)
    if length is None or length > LONGEST:
        raise ValueError(f"{option} is {value!r}; it must be a number of seconds, 10,000 years at most")
    return max(length, _NOW)


def checked_name(what: str, name: Any) -> str:
    """Return a name that may travel.

    Raises:
        ValueError: It is no text, or too long.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"the {what} is {name!r}; it must be text of 1 to {NAME_LIMIT} bytes")
    if len(name) * 4 > NAME_LIMIT and len(name.encode()) > NAME_LIMIT:
        raise ValueError(f"the {what} {name[:40]!r}... is over {NAME_LIMIT} bytes long")
    return name
