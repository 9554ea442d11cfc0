"""Types of arguments that a shell can complete with what is alive: workers, queues, tasks, schedules; and states.

A shell asks while somebody waits with a finger on the key: there is a second for it, and where no coordinator
answers there is silence and no error. It may not import grpc or an app before it is asked.
"""

import contextlib
import io
import threading
from collections.abc import Callable, Iterable
from typing import Any, Final

import click
from click.types import StringParamType

from grpcflow.cli.invocation import Invocation

__all__ = ["QUEUE", "SCHEDULE", "SCOPED", "STATE", "TASK", "WORKERS", "LiveName"]

#: Seconds that a question may take in all.
_PATIENCE: Final = 1.0

#: Seconds that each worker has to name its tasks.
_WORKER_TIME: Final = 0.5


class LiveName(StringParamType):
    """Text that a shell completes.

    Args:
        ask: Returns the names there are; it is given the options and the context of the command line so far.
        several: True: names may stand behind each other with commas, and the last is completed.
    """

    def __init__(self, ask: Callable[[Invocation, click.Context], Iterable[str]], *, several: bool = False) -> None:
        self._ask = ask
        self._several = several

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """Return what begins as typed; nothing where nobody answers in time."""
        from click.shell_completion import CompletionItem

        head, comma, typed = incomplete.rpartition(",") if self._several else ("", "", incomplete)
        taken = set(head.split(","))
        names = _in_time(lambda: sorted(set(self._ask(ctx.ensure_object(Invocation), ctx))))
        found = (name for name in names if name.startswith(typed) and name not in taken)
        return [CompletionItem(f"{head}{comma}{name}") for name in found]


def _in_time(ask: Callable[[], list[str]]) -> list[str]:
    """Return what is answered in time, else nothing."""
    answers: list[list[str]] = []

    def run() -> None:
        # Whatever is wrong, in an app or on the way: between two keys nobody can be told, and the command that is
        # being typed will say it.
        with contextlib.suppress(Exception):
            answers.append(ask())

    thread = threading.Thread(target=run, name="grpcflow-completion", daemon=True)
    # What an app prints while it is imported would be taken for names.
    with contextlib.redirect_stdout(io.StringIO()):
        thread.start()
        thread.join(_PATIENCE)
    return answers[0] if answers else []


def _workers(said: Invocation, _ctx: click.Context) -> Iterable[str]:
    return (info.name for info in said.connection.list_workers())


def _queues(said: Invocation, _ctx: click.Context) -> Iterable[str]:
    served = {queue for info in said.connection.list_workers() for queue in info.queues}
    return served | {lane.queue for lane in said.connection.list_queues().lanes}


def _tasks(said: Invocation, _ctx: click.Context) -> Iterable[str]:
    replies = said.control.inspect(None, _WORKER_TIME).registered()
    # A worker shows options behind a name where it was asked to: `proj.add [rate_limit=10/s]`.
    return {str(name).split(" ", 1)[0] for names in replies.values() if isinstance(names, list) for name in names}


def _schedules(said: Invocation, _ctx: click.Context) -> Iterable[str]:
    from grpcflow.schedule_control import ScheduleControl

    asked: Any = said  # of which only the connection is used here
    return (info.name for info in ScheduleControl(asked).list())


def _scoped(said: Invocation, ctx: click.Context) -> Iterable[str]:
    """Return tasks or queues, as the argument before says."""
    return _queues(said, ctx) if ctx.params.get("scope") == "queue" else _tasks(said, ctx)


def _states(_said: Invocation, _ctx: click.Context) -> Iterable[str]:
    from grpcflow import states

    return states.ALL_STATES


#: Names of workers, with commas.
WORKERS: Final = LiveName(_workers, several=True)
#: The name of a queue.
QUEUE: Final = LiveName(_queues)
#: The name of a task.
TASK: Final = LiveName(_tasks)
#: The name of a schedule.
SCHEDULE: Final = LiveName(_schedules)
#: The name of a task or a queue, as the argument `scope` says.
SCOPED: Final = LiveName(_scoped)
#: The name of a state.
STATE: Final = LiveName(_states)
