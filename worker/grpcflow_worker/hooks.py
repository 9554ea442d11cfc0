"""The signals of the worker, sent to the app's receivers; only in processes that have imported the app.

Which process that is for each signal stands at the functions. A receiver is a guest: whatever it raises, SystemExit
included, is logged and goes no further. This file may NOT be imported by a supervisor of prefork.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal as numbers
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grpcflow import signals
from grpcflow_worker.executor import STOP
from grpcflow_worker.executors.frames import LATE, STACKS_SIGNAL
from grpcflow_worker.invoke import request_of
from grpcflow_worker.lines import LogOptions
from grpcflow_worker.logs import begin_child, log_stream, set_up_app_log

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow_worker.executors.frames import News, Preload

_log = logging.getLogger("grpcflow.worker")


@dataclass(frozen=True, slots=True)
class WorkerFacts:
    """What receivers get as the worker, as `sender` or `instance`.

    Attributes:
        hostname: the worker's name.
        app: its app.
        concurrency: how many tasks it runs at once.
    """

    hostname: str
    app: Grpcflow
    concurrency: int


def tell(signal: signals.Signal, sender: Any, **arguments: Any) -> None:
    """Send a signal; costs one look where nobody listens. Raises nothing."""
    if not signal.receivers:
        return
    try:
        signal.send(sender, **arguments)
    except BaseException:  # noqa: BLE001 - SystemExit and the like too: a receiver ends nothing but itself
        _log.exception("a receiver of the signal %s failed", signal.name)


def before_modules(app: Grpcflow, preload: Preload) -> None:
    """The app is there, its modules are not: `celeryd_init`, wherever the app is imported."""
    facts = WorkerFacts(preload.hostname, app, preload.concurrency)
    options = {"hostname": preload.hostname, "concurrency": preload.concurrency, "loglevel": preload.log_level}
    tell(signals.celeryd_init, preload.hostname, instance=facts, conf=app.conf, options=options)


def after_modules(app: Grpcflow, preload: Preload, *, first: bool) -> None:
    """All is imported: the log wherever that is so, and `worker_init`, `celeryd_after_setup` in the first process.

    Args:
        app: the app.
        preload: what the supervisor said of the worker.
        first: False in a child that had to import the app itself.
    """
    facts = WorkerFacts(preload.hostname, app, preload.concurrency)
    if first:
        tell(signals.worker_init, facts)
    options = LogOptions(
        preload.log_level, preload.hostname, preload.log_file, preload.log_color, as_json=preload.log_json
    )
    set_up_app_log(options, app.conf.as_dict())
    if first:
        tell(signals.celeryd_after_setup, preload.hostname, instance=facts, conf=app.conf)


def listens() -> list[str]:
    """Names of the late signals that somebody listens to."""
    return [name for name in LATE if getattr(signals, name).receivers]


def late(facts: WorkerFacts, news: News) -> None:
    """Send one of the signals that come after the start; see `Executor.emit` for what it says.

    Args:
        facts: the worker.
        news: the signal.
    """
    if news.name == "worker_shutting_down":
        _shutting_down(facts, news.number)
    elif news.name == "task_revoked":
        _revoked(facts, news)
    else:
        tell(getattr(signals, news.name), facts)


def _shutting_down(facts: WorkerFacts, number: int) -> None:
    cold = number >= STOP
    cause = numbers.Signals(number % STOP).name if number else "shutdown"
    arguments = {"sig": cause, "how": "Cold" if cold else "Warm", "exitcode": number if cold else 0}
    tell(signals.worker_shutting_down, facts.hostname, **arguments)


def _revoked(facts: WorkerFacts, news: News) -> None:
    run = news.attempt
    if run is None:
        return
    sender = facts.app.tasks.get(run.call.task, run.call.task)
    number = news.number or None
    request = request_of(facts.app, run, facts.hostname)
    tell(signals.task_revoked, sender, request=request, terminated=bool(number), signum=number, expired=news.expired)


def process_begins(place: int) -> None:
    """`worker_process_init`, in each child before its first task; its log, and its stacks on request, before that.

    Args:
        place: number of the child among those that live at the same time, from 1.
    """
    begin_child(place)
    if STACKS_SIGNAL:
        faulthandler.register(STACKS_SIGNAL, file=log_stream(), all_threads=True)
    tell(signals.worker_process_init, None)


def process_ends() -> None:
    """`worker_process_shutdown`, in each child that ends in order."""
    tell(signals.worker_process_shutdown, None, pid=os.getpid(), exitcode=0)


def before_process(facts: WorkerFacts) -> None:
    """`worker_before_create_process`, in the process that makes the children, before each of them."""
    tell(signals.worker_before_create_process, facts)
