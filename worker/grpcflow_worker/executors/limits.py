"""Time limits: which hold, and, in the prefork executor, what happens to the attempt that exceeds one.

Each child has at most one timer, set to the earliest moment at which what it holds could exceed a limit; only then is
the shared page looked at. Tasks without limits cost nothing. It may NOT report an end itself: that is the wishes'.
"""

import asyncio
import signal
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.executor import Call, ExecutorSettings
from grpcflow_worker.executors.frames import SOFT_SIGNAL
from grpcflow_worker.executors.wishes import Wish, Wishes

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.task import Task
    from grpcflow_worker.executors.nursery import Nursery
    from grpcflow_worker.executors.process import ChildProcess, Sent

#: Seconds until a child that could not be interrupted is told again.
_AGAIN: Final = 0.05

#: Seconds that a child over its limit gets to give back what it has not started.
_PATIENCE: Final = 0.05


class Limits:
    """Which limits hold for a call: its own, else those of the worker, else those of the app.

    Args:
        settings: the worker's own defaults.
    """

    def __init__(self, settings: ExecutorSettings) -> None:
        """Take the worker's; the app's come with `take_defaults`."""
        self._hard = settings.time_limit
        self._soft = settings.soft_time_limit

    def take_defaults(self, conf: Mapping[str, Any]) -> None:
        """Take what the app says for calls and a worker that say nothing."""
        self._hard = self._hard or conf.get("task_time_limit") or None
        self._soft = self._soft or conf.get("task_soft_time_limit") or None

    def of(self, call: Call) -> Call:
        """The call with the limits that hold for it."""
        hard, soft = call.time_limit or self._hard, call.soft_time_limit or self._soft
        if (hard, soft) == (call.time_limit, call.soft_time_limit):
            return call
        return msgspec.structs.replace(call, time_limit=hard, soft_time_limit=soft)


class TimeLimits(Limits):
    """The limits of all attempts in child processes.

    Args:
        nursery: the children.
        wishes: ends an attempt together with its process.
        settings: the worker's own defaults.
    """

    def __init__(self, nursery: "Nursery", wishes: Wishes, settings: ExecutorSettings) -> None:
        """Take the parts; the app's own defaults come with `take_defaults`."""
        super().__init__(settings)
        self._nursery = nursery
        self._wishes = wishes
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def sent(self, child: "ChildProcess", call: Call) -> None:
        """Note that a child was given attempts of this call."""
        first = min(_limits(call), default=None)
        if first is not None:
            self._look_in(child, first)

    def close(self) -> None:
        """Watch no longer."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _look_in(self, child: "ChildProcess", seconds: float) -> None:
        loop = asyncio.get_running_loop()
        known = self._timers.get(child.number)
        due = loop.time() + seconds
        if known is None or known.when() > due:
            if known is not None:
                known.cancel()
            self._timers[child.number] = loop.call_at(due, self._look, child)

    def _look(self, child: "ChildProcess") -> None:
        """See whether what a child runs has exceeded a limit, and when to look again."""
        del self._timers[child.number]
        if child.number not in self._nursery.children:
            return
        at, token = child.started()
        running = child.outstanding.get(token)
        rests: list[float] = []
        if running is not None:
            rests += self._check(child, token, running, time.monotonic() - at)
        # What has not started cannot be over its limit before that has passed once more.
        rests += [limit for sent in child.open for limit in _limits(sent)]
        if rests:
            self._look_in(child, min(rests))

    def _check(self, child: "ChildProcess", token: int, sent: "Sent", ran: float) -> Iterator[float]:
        """Act on the limits of the running attempt; gives the seconds after which to look again."""
        if sent.time_limit is not None and ran >= sent.time_limit:
            self._end(token, sent.time_limit)
            return
        if sent.time_limit is not None:
            yield sent.time_limit - ran
        if sent.soft_time_limit is not None and child.soft_raised() != token:
            if ran >= sent.soft_time_limit:
                child.want_soft(token)
                self._nursery.kill(child, SOFT_SIGNAL)
            yield max(sent.soft_time_limit - ran, _AGAIN)

    def _end(self, token: int, limit: float) -> None:
        """End an attempt as a failure, together with its process."""
        failure = value_pb2.Failure(
            type_name="TimeLimitExceeded",
            module="grpcflow.errors",
            message=f"TimeLimitExceeded({limit:g})",
            reason="TIME_LIMIT",
        )
        data = failure.SerializeToString()
        self._wishes.make(token, Wish("failure", int(signal.SIGKILL), patience=_PATIENCE, failure=data))


def unenforced(kind: str, settings: ExecutorSettings, app: "Grpcflow") -> tuple[str, ...]:
    """Say which limits an executor that cannot stop a thread does not enforce; nothing where there are none.

    Args:
        kind: name of the executor; asyncio can stop coroutines, so of its tasks only the others count.
        settings: the worker's own defaults.
        app: the app, with its own defaults and its tasks.
    """
    tasks = app.tasks
    if kind == "asyncio":
        from grpcflow.coroutines import is_coroutine_task

        tasks = {name: task for name, task in tasks.items() if not is_coroutine_task(task)}
        if not tasks:
            return ()
    limits = ", ".join(_set_limits(settings, app, tasks))
    if not limits:
        return ()
    which = "running task" if kind != "asyncio" else 'running task that is not "async def"'
    return (f"The {kind} executor cannot stop a {which}, so these limits do not hold here: {limits}. Use -P prefork.",)


def unreplaced(kind: str, settings: ExecutorSettings, conf: Mapping[str, Any]) -> tuple[str, ...]:
    """Say which limits of child processes an executor without any does not heed; nothing where none is set.

    Args:
        kind: name of the executor.
        settings: the worker's own limits.
        conf: the app's settings.
    """
    names = ("max_tasks_per_child", "max_memory_per_child")
    said = [f"--{name.replace('_', '-')}" for name in names if getattr(settings, name)]
    said += [f"worker_{name}" for name in names if conf.get(f"worker_{name}")]
    if not said:
        return ()
    return (f"The {kind} executor has no child processes to replace, so it does not heed {', '.join(said)}.",)


def _set_limits(settings: ExecutorSettings, app: "Grpcflow", tasks: "Mapping[str, Task[..., Any]]") -> Iterator[str]:
    for name, option in (("time_limit", "--time-limit"), ("soft_time_limit", "--soft-time-limit")):
        if getattr(settings, name):
            yield option
        if app.conf.as_dict().get(f"task_{name}"):
            yield f"task_{name}"
        yield from (f"{name} of {each}" for each, task in sorted(tasks.items()) if getattr(task, name, None))


def _limits(bearer: "Call | Sent") -> Iterator[float]:
    if bearer.time_limit is not None:
        yield bearer.time_limit
    if bearer.soft_time_limit is not None:
        yield bearer.soft_time_limit
