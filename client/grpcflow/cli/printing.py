"""Turn replies and values into text for people, or into JSON for programs.

Pure functions over plain data: nothing here asks anybody or ends the program. It may not import grpc,
protobuf or rich.
"""

import json
import math
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import date
from datetime import time as clock_time
from typing import TYPE_CHECKING, Any, Final

import click

from grpcflow.errors import SerializationError

if TYPE_CHECKING:
    from grpcflow.replies import Replies

#: Longest text of a call's arguments on one line, in characters.
_ARGUMENTS_LIMIT: Final = 70

_INDENT: Final = "    "


def echo_json(value: Any) -> None:
    """Print one JSON document; what JSON has no word for is shown as text.

    Raises:
        SerializationError: The value is nested too deeply.
    """
    try:
        plain = as_plain(value)
        text = json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:
            text = json.dumps(plain, indent=2, allow_nan=False)  # escapes are right everywhere
    except RecursionError:
        message = "The value is nested too deeply to be shown; read it in Python with AsyncResult(id).get()."
        raise SerializationError(message) from None
    click.echo(text)


def as_plain(value: Any) -> Any:
    """Return a value made of JSON's own types: a moment as ISO 8601, a set as a list, the rest as text."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(as_plain(key)): as_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [as_plain(item) for item in sorted(value, key=repr)]
    if isinstance(value, (bytes, bytearray)):
        return repr(bytes(value))
    return value.isoformat() if isinstance(value, (date, clock_time)) else str(value)


def nodes_online(count: int) -> str:
    """Say how many workers answered."""
    return f"{count} {'node' if count == 1 else 'nodes'} online."


def replies_text(replies: "Replies", *, bodies: bool = True, now: float | None = None) -> str:
    """Return what workers answered: `-> w1: OK` and the answer below, for each.

    Args:
        replies: What came back.
        bodies: False: the first line only.
        now: Unix time in seconds that running times are counted to; None: the clock.
    """
    moment = time.time() if now is None else now
    lines: list[str] = []
    for worker in sorted(replies):
        lines.append(f"-> {worker}: {'ERROR' if worker in replies.errors else 'OK'}")
        if bodies or worker in replies.errors:
            lines.extend(_INDENT + line for line in _body(replies[worker], moment))
    return "\n".join(lines)


def _body(value: Any, now: float) -> Iterator[str]:
    """Return the lines of one answer."""
    if isinstance(value, Mapping) and len(value) == 1 and (text := value.get("ok", value.get("error"))) is not None:
        yield from str(text).splitlines()
    elif isinstance(value, (list, Mapping)) and not value:
        yield "- none -"
    elif isinstance(value, list):
        for item in value:
            yield f"* {_item(item, now)}"
    elif isinstance(value, Mapping):
        yield from _tree(value)
    else:
        yield str(value)


def _item(item: Any, now: float) -> str:
    """Return one entry of a list on one line."""
    if not isinstance(item, Mapping):
        return str(item)
    request = item.get("request")
    if isinstance(request, Mapping):
        return f"{_item(request, now)}  at {item.get('eta')}"
    if "id" in item and "name" in item:
        return _task_line(item, now)
    if "name" in item:
        weight = item.get("weight", 1)
        return str(item["name"]) if weight == 1 else f"{item['name']}  weight {weight}"
    return _value(item)


def _task_line(task: Mapping[str, Any], now: float) -> str:
    """Return a task as `name(arguments)  id`, with how long and where it runs if it does."""
    parts = [call_text(task), str(task["id"])]
    started = task.get("time_start")
    if isinstance(started, (int, float)):
        parts.append(f"for {duration(now - started)}")  # 0 s where the worker's clock is ahead of ours
    if task.get("worker_pid"):
        parts.append(f"in process {task['worker_pid']}")
    return "  ".join(parts)


def call_text(task: Mapping[str, Any]) -> str:
    """Return `name(arguments)`, cut to a length that a line can hold."""
    args, kwargs = task.get("args"), task.get("kwargs")
    if isinstance(args, str) or isinstance(kwargs, str):
        text = ", ".join(str(part) for part in (args, kwargs) if part)
    else:
        text = ", ".join(
            [_value(value) for value in args or ()] + [f"{k}={_value(v)}" for k, v in (kwargs or {}).items()]
        )
    if len(text) > _ARGUMENTS_LIMIT:
        text = text[: _ARGUMENTS_LIMIT - 1] + "…"
    return f"{task['name']}({text})"


def _value(value: Any) -> str:
    return json.dumps(as_plain(value), ensure_ascii=False)


def _tree(value: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Return a mapping as indented lines, `key: value`, mappings in it below their key."""
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield f"{indent}{key}:"
            yield from _tree(item, indent + "  ")
        elif isinstance(item, list) and [type(part) for part in item] == [str, dict] and "name" in item[1]:
            yield f"{indent}{key}: {item[0]}  {call_text(item[1])}"  # an answer of query_task
        elif isinstance(item, (Mapping, list)):
            yield f"{indent}{key}: {_value(item)}"
        else:
            yield f"{indent}{key}: {item}"


def duration(seconds: float) -> str:
    """Return a time for people: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `4 d 1 h`."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    for unit, name, below, below_name in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // below
            return f"{whole // unit} {name}" + (f" {rest} {below_name}" if rest else "")
    return f"{whole} s"
