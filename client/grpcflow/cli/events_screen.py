"""How an event looks on a line of `grpcflow events`. Pure but for `show`."""

import json
import os
from collections.abc import Iterator
from datetime import date
from typing import Final

import click

from grpcflow.cli.printing import duration
from grpcflow.event_model import CUSTOM, HEARTBEAT, Event

__all__ = ["line_of", "missed_text", "show"]

#: Colours of kinds; the ones of tasks as in the pictures of graphs.
_COLOURS: Final = {
    "task-succeeded": "green",
    "task-failed": "red",
    "task-rejected": "magenta",
    "task-revoked": "magenta",
    "task-retried": "yellow",
    "task-received": "blue",
    "task-started": "blue",
    "task-progress": "blue",
    "worker-online": "green",
    "worker-back": "green",
    "worker-broken": "yellow",
    "worker-offline": "red",
    CUSTOM: "cyan",
}

#: How wide the kind is: the longest of our own.
_KIND: Final = 14

#: Longest text of what an event says, in characters.
_DETAIL: Final = 300


def line_of(event: Event, today: date) -> str:
    """Return an event as one line: when, what, the task, its id, the worker, and what is said of it.

    Args:
        event: The event.
        today: Of events of this day the time is shown, of others the day too.
    """
    local = event.time.astimezone()
    day = "" if local.date() == today else f"{local:%Y-%m-%d} "
    when = f"{day}{local:%H:%M:%S}.{local.microsecond // 1000:03}"
    name = event.type if event.kind == CUSTOM else event.kind
    kind = click.style(_plain(name).ljust(_KIND), fg=_COLOURS.get(event.kind, "bright_black"))
    parts = (_plain(event.task), _which(event), _plain(event.worker), _detail(event))
    return "  ".join([when, kind, *(part for part in parts if part)])


def _which(event: Event) -> str:
    """Return the id, and of how many more tasks it tells."""
    if not event.count:
        return ""
    first = event.id or (event.ids[0] if event.nodes else "")
    return _plain(first) + (f" +{event.count - 1:,}" if event.count > 1 else "")


def _detail(event: Event) -> str:
    text = ", ".join(_told(event))
    return text if len(text) <= _DETAIL else text[: _DETAIL - 1] + "…"


def _told(event: Event) -> Iterator[str]:
    if event.detail:
        yield _plain(event.detail)
    if event.runtime is not None:
        yield f"after {duration(event.runtime)}"
    if event.retries:
        yield f"{event.retries} {'retry' if event.retries == 1 else 'retries'}"
    if event.kind == HEARTBEAT and event.fields:
        yield f"load {' '.join(format(each, '.2f') for each in event.fields['loadavg']) or '?'}"
        yield f"{event.fields['active']:,} running"
        yield f"{event.fields['processed']:,} ended"
    elif event.fields:
        yield _plain(json.dumps(dict(event.fields), ensure_ascii=False))


def _plain(text: str) -> str:
    """Return text on one line, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def missed_text(count: int) -> str:
    """Say how many events are gone."""
    events = "1 event" if count == 1 else f"{count:,} events"
    are = "is" if count == 1 else "are"
    return (
        f"{events} before these {are} no longer kept; what ended is among the graphs: grpcflow graph list --since ..."
    )


def show(line: str) -> None:
    """Print a line at once; without its colours where they are not wanted, or stdout is no terminal."""
    click.echo(line, color=False if os.environ.get("NO_COLOR") else None)
