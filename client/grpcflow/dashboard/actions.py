"""What people may have done: each action, who may, what it takes, and what is said of it then. Knows no HTTP.

An action is asked of the coordinator with the credentials of whoever wants it, which decides once more. Arguments come
from a browser: nothing is believed of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from grpcflow.control import Control
from grpcflow.dashboard.failures import purge_group, retry_group
from grpcflow.graph.view import GraphView

if TYPE_CHECKING:
    from grpcflow.dashboard.link import Link

__all__ = ["ACTIONS", "Action", "BadArguments"]

#: Seconds that a worker has to answer, and how many tasks it can be asked to run more or fewer at once.
_PATIENCE: Final = 3.0
_STEP: Final = 1_000
#: Most tasks at once of a limit.
_LIMIT: Final = 1_000_000
#: Letters of a name or an id.
_LONGEST: Final = 1_024


class BadArguments(ValueError):
    """An action was asked for with what it does not take; the message says what is wrong."""


class Given:
    """What an action was asked for with.

    Args:
        values: As the browser sent them.
    """

    def __init__(self, values: object) -> None:
        if not isinstance(values, Mapping):
            raise BadArguments("an action takes one JSON object")
        self._values = values

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text that is not empty.

        Args:
            name: Its name.
            default: What holds where it is left out; None: it is needed.

        Raises:
            BadArguments: It is missing, no text, or too long.
        """
        value = self._values.get(name, default)
        if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST:
            raise BadArguments(f"{name} is a text of 1 to {_LONGEST:,} letters")
        return value.strip()

    def number(self, name: str, default: int, most: int) -> int:
        """Return a whole number from 1 on.

        Raises:
            BadArguments: It is something else.
        """
        value = self._values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise BadArguments(f"{name} is a whole number from 1 to {most:,}")
        return value

    def has(self, name: str) -> bool:
        """Return whether something was given at all."""
        return self._values.get(name) is not None

    def flag(self, name: str) -> bool:
        """Return whether something was said to be so; left out it is not."""
        return self._values.get(name) is True


@dataclass(frozen=True, slots=True)
class Action:
    """Something that can be done.

    Attributes:
        needs: What one must be allowed: ``control``, ``submit`` or ``admin``.
        do: Does it, and returns what was done, as a sentence; blocks.
    """

    needs: str
    do: "Callable[[Link, Given], str]"


# --- queues --------------------------------------------------------------------------------------------------


def _pause_queue(link: "Link", given: Given) -> str:
    queue = given.text("queue")
    link.connection.pause_queue(queue)
    return f"Queue {queue} is paused; what runs goes on."


def _resume_queue(link: "Link", given: Given) -> str:
    queue = given.text("queue")
    link.connection.resume_queue(queue)
    return f"Queue {queue} is resumed."


def _purge_queue(link: "Link", given: Given) -> str:
    queue = given.text("queue")
    revoked = link.connection.purge_queue(queue)
    return f"Queue {queue}: {_count(revoked, 'call')} that waited {'was' if revoked == 1 else 'were'} revoked."


# --- workers -------------------------------------------------------------------------------------------------


def _worker_command(command: str, done: str, **kinds: str) -> "Callable[[Link, Given], str]":
    """Return what sends a command to one worker, with arguments of these kinds: ``text`` or ``number``."""

    def do(link: "Link", given: Given) -> str:
        worker = given.text("worker")
        arguments: dict[str, Any] = {
            name: given.text(name) if kind == "text" else given.number(name, 1, _STEP) for name, kind in kinds.items()
        }
        replies = Control(link).command(command, arguments, destination=[worker], timeout=_PATIENCE)
        if replies.errors:
            raise BadArguments(f"{worker}: {next(iter(replies.errors.values()))}")
        if worker not in replies:
            silent = "is not connected" if worker in replies.disconnected else "did not answer"
            raise BadArguments(f"{worker} {silent}; it may still do it: look again in a moment")
        return f"{worker} {done.format(**arguments)}"

    return do


# --- graphs and tasks ----------------------------------------------------------------------------------------


def _cancel_graph(link: "Link", given: Given) -> str:
    return str(GraphView(link, given.text("id")).cancel(given.flag("terminate")))


def _retry_graph(link: "Link", given: Given) -> str:
    return str(GraphView(link, given.text("id")).retry())


def _revoke(link: "Link", given: Given) -> str:
    id = given.text("id")
    done = link.connection.revoke([id], given.flag("terminate"))
    if done.unknown:
        return f"The coordinator does not know {id} any more; nothing was revoked."
    return f"Revoked {id}." if done.revoked else f"{id} had ended already; nothing was revoked."


# --- what failed, schedules, limits --------------------------------------------------------------------------


def _retry_failed(link: "Link", given: Given) -> str:
    return retry_group(link, given.text("task"), given.text("type", "*"))


def _purge_failed(link: "Link", given: Given) -> str:
    return purge_group(link, given.text("task"), given.text("type", "*"))


def _run_schedule(link: "Link", given: Given) -> str:
    name = given.text("name")
    return f"Schedule {name} runs now, as {link.connection.run_schedule(name)}."


def _pause_schedule(link: "Link", given: Given) -> str:
    name, paused = given.text("name"), given.flag("paused")
    link.connection.pause_schedules([name], paused)
    return f"Schedule {name} is {'paused' if paused else 'resumed'}."


def _set_limit(link: "Link", given: Given) -> str:
    task, queue = _scoped(given)
    rate = given.text("rate", "-")
    try:
        holds = Control(link).limit(
            task,
            queue=queue,
            rate=None if rate == "-" else rate,
            concurrency=given.number("concurrency", 1, _LIMIT) if given.has("concurrency") else None,
        )
    except ValueError as error:
        raise BadArguments(str(error)) from None
    return f"{(task or queue or '').strip()}: {holds}."


def _clear_limit(link: "Link", given: Given) -> str:
    task, queue = _scoped(given)
    return f"{task or queue}: {Control(link).clear_limit(task, queue=queue)}, as its code says."


#: What is kept of graphs that ended -> the argument of `Control.retention` for how many.
_COUNTS: Final = {"results": "keep", "failures": "keep_failures", "arguments": "keep_arguments"}


def _set_retention(link: "Link", given: Given) -> str:
    """Set one of the three, by text: how long, how many, or both, with a comma between."""
    task, queue = _scoped(given)
    what = given.text("what")
    if what not in _COUNTS:
        raise BadArguments(f"what is one of {', '.join(_COUNTS)}")
    kept: dict[str, Any] = {}
    for part in given.text("kept").split(","):
        number = part.strip().removeprefix("newest ").strip()
        if number == part.strip():
            kept[what] = number
        elif number.isascii() and number.isdigit() and len(number) < 10:
            kept[_COUNTS[what]] = int(number)
        else:
            raise BadArguments(f"{part.strip()!r}: after `newest` comes how many, as in newest 1000")
    try:
        Control(link).retention(task, queue=queue, **kept)
    except ValueError as error:
        raise BadArguments(str(error)) from None
    return f"{what.capitalize()} of {task or queue} are kept so: {given.text('kept')}."


def _clear_retention(link: "Link", given: Given) -> str:
    task, queue = _scoped(given)
    Control(link).clear_retention(task, queue=queue)
    return f"{task or queue}: kept as its calls or the coordinator say."


def _scoped(given: Given) -> tuple[str | None, str | None]:
    scope, name = given.text("scope"), given.text("name")
    if scope not in ("task", "queue"):
        raise BadArguments("scope is task or queue")
    return (name, None) if scope == "task" else (None, name)


#: The actions by their names.
ACTIONS: Final[dict[str, Action]] = {
    "cancel-graph": Action("control", _cancel_graph),
    "retry-graph": Action("control", _retry_graph),
    "revoke": Action("control", _revoke),
    "retry-failed": Action("control", _retry_failed),
    "purge-failed": Action("control", _purge_failed),
    "run-schedule": Action("submit", _run_schedule),
    "pause-schedule": Action("control", _pause_schedule),
    "set-limit": Action("control", _set_limit),
    "clear-limit": Action("control", _clear_limit),
    "set-retention": Action("admin", _set_retention),
    "clear-retention": Action("admin", _clear_retention),
    "pause-queue": Action("control", _pause_queue),
    "resume-queue": Action("control", _resume_queue),
    "purge-queue": Action("control", _purge_queue),
    "grow-worker": Action("control", _worker_command("pool_grow", "runs {n} more at once.", n="number")),
    "shrink-worker": Action("control", _worker_command("pool_shrink", "runs {n} fewer at once.", n="number")),
    "add-queue": Action("control", _worker_command("add_consumer", "serves queue {queue} now.", queue="text")),
    "cancel-queue": Action(
        "control", _worker_command("cancel_consumer", "does not serve queue {queue} any more.", queue="text")
    ),
    "drain-worker": Action(
        "control", _worker_command("shutdown", "finishes what it runs, takes nothing more, and ends.")
    ),
}


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
