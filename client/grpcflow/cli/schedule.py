"""`grpcflow schedule`: the schedules that the coordinator keeps, and `grpcflow beat` for who looks for it.

Reads options and asks ``app.schedules``; how it looks is in ``schedule_screen``.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from grpcflow.cli.call import json_of, moment_option
from grpcflow.cli.invocation import Failed, agreed, invocation, json_option, reach_options, yes_option
from grpcflow.cli.live_names import QUEUE, SCHEDULE, TASK
from grpcflow.cli.printing import echo_json
from grpcflow.cli.times import length_option
from grpcflow.errors import ContentDisallowed, ImproperlyConfigured, NotFound

if TYPE_CHECKING:
    from grpcflow.schedule_control import ScheduleControl, Synced
    from grpcflow.schedules import BaseSchedule

#: How many of the next times `show` tells.
_NEXT: Final = 5


@click.group("schedule")
@reach_options
def schedule() -> None:
    """Schedules: what the coordinator calls when its time comes."""


@schedule.command("list")
@click.argument("pattern", default="", metavar="[PATTERN]", type=SCHEDULE)
@json_option
@reach_options
def list_schedules(pattern: str) -> None:
    """Show all schedules, or those whose name matches PATTERN (with * and ?)."""
    from grpcflow.cli import schedule_screen

    found = _schedules().list(pattern)
    if invocation().as_json:
        echo_json({"schedules": [schedule_screen.as_json(info) for info in found]})
    elif pattern and not found:
        click.echo(f"No schedule is called {pattern!r}.")
    else:
        schedule_screen.draw_list(found)


@schedule.command("show")
@click.argument("name", type=SCHEDULE)
@click.option(
    "--next",
    "count",
    metavar="N",
    type=click.IntRange(1, 100),
    default=_NEXT,
    show_default=True,
    help="How many of its next times.",
)
@json_option
@reach_options
def show(name: str, count: int) -> None:
    """Show one schedule: its times, the next of them, and what became of the last."""
    from grpcflow.cli import schedule_screen

    info = _schedules().get(name, count)
    if invocation().as_json:
        echo_json(schedule_screen.as_json(info))
    else:
        schedule_screen.draw_one(info)


@schedule.command("add")
@click.argument("name", type=SCHEDULE)
@click.argument("task", type=TASK)
@click.option("--cron", metavar="FIELDS", help="As in cron: '*/5 8-18 * * mon-fri'.")
@click.option("--every", metavar="LENGTH", callback=length_option, help="Such as 10s, 5m, 1h30m.")
@click.option("--aligned", is_flag=True, help="With --every: at whole multiples of it, so 1h means on the hour.")
@click.option("--at", metavar="MOMENT", callback=moment_option, help="Once, at this moment, ISO 8601.")
@click.option("--solar", metavar="EVENT", help="Such as sunset or dawn_civil, at --lat and --lon.")
@click.option("--lat", metavar="DEGREES", type=float, help="With --solar: degrees north.")
@click.option("--lon", metavar="DEGREES", type=float, help="With --solar: degrees east.")
@click.option("--args", "-a", default="[]", metavar="JSON", callback=json_of(list, "'[2, 3]'"), help="A list.")
@click.option("--kwargs", "-k", default="{}", metavar="JSON", callback=json_of(dict, "'{\"x\": 2}'"), help="An object.")
@click.option("--queue", "-Q", metavar="QUEUE", type=QUEUE, help="The queue; else as the app routes it.")
@click.option("--expires", metavar="LENGTH", callback=length_option, help="A call that waits longer does not run.")
@click.option("--tz", metavar="ZONE", help="Time zone, such as Europe/Paris; else the app's, or UTC.")
@click.option(
    "--overlap",
    type=click.Choice(("allow", "skip", "queue_one")),
    default="allow",
    show_default=True,
    help="What a tick does while the one before it runs.",
)
@click.option(
    "--catch-up", metavar="LENGTH", callback=length_option, help="Ticks later than this are missed. Default 1d."
)
@click.option("--catch-up-all", is_flag=True, help="Make up for each tick of an outage, not for the latest only.")
@click.option("--jitter", metavar="LENGTH", callback=length_option, help="Fire each tick up to this much later.")
@json_option
@reach_options
def add(name: str, task: str, args: list[Any], kwargs: dict[str, Any], tz: str | None, **options: Any) -> None:
    """Call TASK whenever its time comes, as the schedule NAME; change it where there is one."""
    times = _times(options)
    said = invocation()
    app = said.app_or_plain()
    app.load_includes()
    if app.tasks and task not in app.tasks:
        click.echo(f"Note: the app {app.main!r} has no task {task!r}; it waits until a worker knows it.", err=True)
    of_call = {option: options[option] for option in ("queue", "expires") if options[option] is not None}
    timing = {option: options[option] for option in ("overlap", "catch_up", "catch_up_all", "jitter")}
    said.use_connection(app.connection)
    for known in app.schedules.list():
        if known.name == name and known.owner:
            raise Failed(f"The schedule {name!r} is declared by the code of {known.owner}: change it there.")
    try:
        done = app.schedules.add(name, times, task, args, kwargs, options=of_call, time_zone=tz, **timing)
    except (TypeError, ContentDisallowed, ImproperlyConfigured) as error:
        raise click.UsageError(str(error)) from error
    next_time, coming = _coming(app.schedules, name)
    if said.as_json:
        echo_json({**_plain(done), "next": next_time})
        return
    what = "is added" if done.added else "is changed" if done.changed else "stays as it was"
    click.echo(f"Schedule {name} {what}; {coming}.")


def _coming(schedules: "ScheduleControl", name: str) -> tuple[datetime | None, str]:
    """Return when a schedule fires next, and the same in words."""
    from grpcflow.cli import schedule_screen

    try:
        times = schedules.get(name).next
    except NotFound:  # once, and its moment has come already
        return None, "it has fired"
    return (times[0], f"it fires next at {schedule_screen.moment(times[0])}") if times else (None, "it never fires")


def _tell(names: tuple[str, ...], how: str) -> None:
    """Say how schedules stand now."""
    if invocation().as_json:
        echo_json({"schedules": list(names), "state": how})
        return
    for name in names:
        click.echo(f"Schedule {name} is {how}.")


@schedule.command("pause")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, type=SCHEDULE)
@json_option
@reach_options
def pause(names: tuple[str, ...]) -> None:
    """Let the ticks of NAME pass without firing until it is resumed."""
    _schedules().pause(*names)
    _tell(names, "paused")


@schedule.command("resume")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, type=SCHEDULE)
@json_option
@reach_options
def resume(names: tuple[str, ...]) -> None:
    """Have the ticks of NAME fire again."""
    _schedules().resume(*names)
    _tell(names, "not paused")


@schedule.command("run")
@click.argument("name", type=SCHEDULE)
@json_option
@reach_options
def run(name: str) -> None:
    """Call what NAME calls now, beside its ticks, and print the id."""
    id = _schedules().run(name).id
    echo_json({"id": id}) if invocation().as_json else click.echo(id)


@schedule.command("remove")
@click.argument("names", metavar="NAME...", nargs=-1, required=True, type=SCHEDULE)
@yes_option
@json_option
@reach_options
def remove(names: tuple[str, ...], yes: bool) -> None:
    """Forget NAME; what it called goes on."""
    if not yes:
        agreed(f"Forget {', '.join(names)}, and what became of the last ticks?", "--yes")
    _schedules().remove(*names)
    _tell(names, "removed")


@schedule.command("sync")
@json_option
@reach_options
def sync() -> None:
    """Put what the app's code declares, and remove what it declares no more."""
    _sync()


@click.command("beat", context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@json_option
@reach_options
def beat(arguments: tuple[str, ...]) -> None:
    """Put the app's schedules as `schedule sync` does: the coordinator fires them, no beat runs."""
    _sync()
    if not invocation().as_json:
        click.echo("No beat process is needed: the coordinator fires the schedules. Run `grpcflow schedule list`.")


def _sync() -> None:
    said = invocation()
    app = said.load_app()
    app.load_includes()
    said.use_connection(app.connection)
    done = app.schedules.sync()
    if said.as_json:
        echo_json(_plain(done))
        return
    for word, names in (("added", done.added), ("changed", done.changed), ("removed", done.removed)):
        for name in names:
            click.echo(f"{word}: {name}")
    count = len(app.conf.beat_schedule)
    click.echo(f"{count} {'schedule is' if count == 1 else 'schedules are'} declared by {app.main or 'this app'}.")


def _schedules() -> "ScheduleControl":
    from grpcflow.schedule_control import ScheduleControl

    asked: Any = invocation()  # which has a connection, and is asked for no more here
    return ScheduleControl(_Asking(asked.connection))  # type: ignore[arg-type]


class _Asking:
    """What ``ScheduleControl`` needs of an app where only the coordinator is asked."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def AsyncResult(self, id: str) -> Any:  # noqa: N802 - as the app's
        from grpcflow.result import AsyncResult

        return AsyncResult(id)


def _plain(done: "Synced") -> dict[str, Any]:
    return {"added": list(done.added), "changed": list(done.changed), "removed": list(done.removed)}


def _times(options: dict[str, Any]) -> "BaseSchedule":
    """Return the times that the options name.

    Raises:
        UsageError: They name none, or several, or what cannot be.
    """
    from grpcflow import schedules

    cron, every, at, event = (options[name] for name in ("cron", "every", "at", "solar"))
    if sum(value is not None for value in (cron, every, at, event)) != 1:
        raise click.UsageError("Say when: give one of --cron, --every, --at and --solar.")
    if options["aligned"] and every is None:
        raise click.UsageError("--aligned belongs to --every.")
    if (event is None) != (options["lat"] is None) or (event is None) != (options["lon"] is None):
        raise click.UsageError("--solar, --lat and --lon belong together.")
    try:
        if cron is not None:
            return schedules.crontab.from_string(cron)
        if every is not None:
            return schedules.schedule(every, options["aligned"])
        if event is not None:
            return schedules.solar(event, options["lat"], options["lon"])
        assert isinstance(at, datetime)
        return schedules.once(at)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
