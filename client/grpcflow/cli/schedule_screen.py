"""How `grpcflow schedule list` and `show` look, and the same as JSON. Pure but for the drawing; rich comes late."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from grpcflow.cli.overview import plain_table, wide_console
from grpcflow.schedules import length_text

if TYPE_CHECKING:
    from grpcflow.schedule_control import ScheduleInfo

#: Longest text of what is called on one line, in characters.
_CALL_LIMIT: Final = 60

_STYLES: Final = {"fired": "green", "skipped": "yellow", "queued": "yellow", "missed": "red"}


def draw_list(found: "Sequence[ScheduleInfo]") -> None:
    """Draw a table of schedules."""
    from rich.text import Text

    if not found:
        click.echo("There are no schedules.")
        return
    table = plain_table(
        *("NAME", "WHEN", "CALLS", "NEXT", "LAST", "FIRED", "OWNER"),
        right=("FIRED",),
        fold=("NAME", "WHEN", "CALLS"),
    )
    for info in found:
        last = info.history[0].outcome if info.history else "-"
        table.add_row(
            Text(info.name, style="bold"),
            Text(_when(info)),
            Text(_shortened(info.description)),
            Text("paused", style="yellow") if info.paused else Text(moment(info.next[0]) if info.next else "never"),
            Text(last, style=_STYLES.get(last, "")),
            Text(f"{info.fired:,}"),
            Text(info.owner or "by hand"),
        )
    wide_console().print(table)


def draw_one(info: "ScheduleInfo") -> None:
    """Draw one schedule: what it is, the times to come and those that came."""
    from rich.text import Text

    facts = [
        ("name", info.name),
        ("calls", info.description),
        ("when", f"{info.schedule.describe()}, {info.time_zone}"),
        ("state", "paused" if info.paused else "active" if info.next else "over: it never fires again"),
        ("overlap", info.overlap),
        ("catch up", _catch_up(info)),
        ("jitter", length_text(info.jitter) if info.jitter else "none"),
        ("owner", info.owner or "by hand"),
        ("fired", f"{info.fired:,}, and {info.passed:,} skipped or missed"),
    ]
    console = wide_console()
    table = plain_table("", "", fold=("",))
    table.show_header = False
    for name, value in facts:
        table.add_row(Text(name, style="bold"), Text(value))
    for place, time in enumerate(info.next):
        table.add_row(Text("" if place else "next", style="bold"), Text(moment(time)))
    console.print(table)
    if info.history:
        console.print()
        history = plain_table("CAME AT", "OUTCOME", "ID")
        for tick in info.history:
            history.add_row(
                Text(moment(tick.time)), Text(tick.outcome, style=_STYLES.get(tick.outcome, "")), Text(tick.id)
            )
        console.print(history)


def as_json(info: "ScheduleInfo") -> dict[str, Any]:
    """Return a schedule as JSON shows it."""
    return {
        "name": info.name,
        "when": info.schedule.describe(),
        "time_zone": info.time_zone,
        "calls": info.description,
        "paused": info.paused,
        "next": list(info.next),
        "fired": info.fired,
        "passed": info.passed,
        "overlap": info.overlap,
        "catch_up": None if info.catch_up is None else info.catch_up.total_seconds(),
        "catch_up_all": info.catch_up_all,
        "jitter": info.jitter.total_seconds(),
        "owner": info.owner,
        "history": [{"time": tick.time, "outcome": tick.outcome, "id": tick.id or None} for tick in info.history],
    }


def moment(time: datetime) -> str:
    """Return a moment for people: to the second, with its zone."""
    return time.strftime("%Y-%m-%d %H:%M:%S %Z")


def _when(info: "ScheduleInfo") -> str:
    """Return the times, with the zone where they depend on it."""
    from grpcflow.schedules import crontab

    shown = info.schedule.describe()
    return f"{shown} {info.time_zone}" if isinstance(info.schedule, crontab) and info.time_zone != "UTC" else shown


def _catch_up(info: "ScheduleInfo") -> str:
    limit = "1 d" if info.catch_up is None else length_text(info.catch_up)
    return f"{'every tick' if info.catch_up_all else 'the latest tick'} of an outage, up to {limit} late"


def _shortened(text: str) -> str:
    return text if len(text) <= _CALL_LIMIT else text[: _CALL_LIMIT - 1] + "…"
