"""Answers control commands from what the supervisor knows, at once and whatever the tasks do.

Each command is a handler by name: one JSON object in, one JSON value out. A handler that fails gives an error reply,
never the end of the worker. This file may NOT block, run or import user code, or wait for a task; payloads are shown
only where they can be read without running anything.
"""

from __future__ import annotations

import json
import logging
import math
import os
import platform
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from grpcflow import codec
from grpcflow_protos import limits
from grpcflow_protos.v1 import value_pb2
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_worker.executor import CallRun, Executor, Registered, Running, Waiting
from grpcflow_worker.pool_commands import PoolCommands, PoolRefused, title_of
from grpcflow_worker.session import Session
from grpcflow_worker.subscription import ConfigError, check_name, check_weight
from grpcflow_worker.wire import id_of

#: Largest payload in bytes that is decoded to be shown; of a larger one only the size is.
_SHOWN_PAYLOAD: Final = 65_536

#: Most tasks in one answer of ``active`` or ``reserved``.
_SHOWN_TASKS: Final = 1_000

#: Largest reply in bytes; it must fit into a message of the transport.
_REPLY_LIMIT: Final = limits.PAYLOAD_LIMIT

_log = logging.getLogger("grpcflow.worker")

#: Takes the arguments of a command, gives what JSON can carry.
Handler = Callable[[Mapping[str, Any]], Any]


class BadArguments(ValueError):
    """A command was given arguments that it does not take; the text says what it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the commands speak of.

    Attributes:
        session: the session; queues are changed in it.
        executor: what runs the tasks.
        registered: what the app said at start.
        shutdown: begins the drain.
        wake: tells the stream that the session has something to say.
        fetching: the attempts whose inputs are on their way.
        now: Unix time in seconds.
        started_at: Unix time in seconds at which the worker started.
        show: shows a text as the title of the process.
    """

    session: Session
    executor: Executor
    registered: Registered
    shutdown: Callable[[], None]
    wake: Callable[[], None]
    fetching: Callable[[], Sequence[Waiting]] = tuple
    now: Callable[[], float] = time.time
    started_at: float = 0.0
    show: Callable[[str], None] = lambda _: None


class Control:
    """The commands of one worker.

    Args:
        facts: what they speak of.
    """

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._handlers: dict[str, Handler] = {
            "active": self._active,
            "active_queues": self._active_queues,
            "add_consumer": self._add_consumer,
            "cancel_consumer": self._cancel_consumer,
            "conf": self._conf,
            "ping": self._ping,
            "query_task": self._query_task,
            "registered": self._registered,
            "report": self._report,
            "reserved": self._reserved,
            "revoked": self._revoked,
            "scheduled": self._scheduled,
            "shutdown": self._shutdown,
            "stats": self._stats,
            **PoolCommands(facts.executor, self._resized).handlers(),
        }

    def answer(self, command: pb.ControlCommand) -> pb.ControlReply:
        """The reply to a command; whatever goes wrong is in the reply."""
        handler = self._handlers.get(command.command)
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return _error(command, f"this worker has no command {command.command!r}; it has: {known}")
        try:
            arguments = _arguments(command.arguments)
            reply = _dump(handler(arguments))
            self.show_title()
        except (BadArguments, PoolRefused) as error:
            return _error(command, str(error))
        except Exception as error:  # noqa: BLE001 - a stranger's command must never end the worker
            _log.exception("the control command %s failed", command.command)
            return _error(command, f"{command.command} failed: {type(error).__name__}: {error}; see the worker's log")
        if len(reply) > _REPLY_LIMIT:
            text = f"the answer to {command.command} has {len(reply)} bytes, at most {_REPLY_LIMIT} can be sent"
            return _error(command, text)
        return pb.ControlReply(id=command.id, reply=reply)

    def show_title(self) -> None:
        """Have people told what this worker is now: its name, how many queues, how many tasks at once."""
        session = self._facts.session
        self._facts.show(title_of(session.identity.name, len(session.queues), self._facts.executor))

    def _ping(self, _: Mapping[str, Any]) -> Any:
        return {"ok": "pong"}

    def _active(self, _: Mapping[str, Any]) -> Any:
        return [self._shown_running(each) for each in self._facts.executor.running()[:_SHOWN_TASKS]]

    def _reserved(self, _: Mapping[str, Any]) -> Any:
        waiting = [*self._facts.fetching(), *self._facts.executor.waiting(_SHOWN_TASKS)][:_SHOWN_TASKS]
        return [self._shown(each.run, each.token, each.offset) for each in waiting]

    def _scheduled(self, _: Mapping[str, Any]) -> Any:
        # Tasks wait for their time in the coordinator and come when they are due.
        return []

    def _revoked(self, _: Mapping[str, Any]) -> Any:
        # Revokes are kept by the coordinator, for the whole cluster; none is kept here.
        return []

    def _report(self, _: Mapping[str, Any]) -> Any:
        mine = self._facts.session.identity
        lines = (
            f"grpcflow {mine.version or '(version unknown)'}",
            f"Python {platform.python_version()} on {platform.platform()}",
            f"worker {mine.name} on {mine.host}, process {mine.process_id}",
            f"executor {mine.executor}, {mine.concurrency} at once, {len(mine.tasks)} tasks",
        )
        return {"ok": "\n".join(lines)}

    def _registered(self, _: Mapping[str, Any]) -> Any:
        return sorted(self._facts.registered.tasks)

    def _conf(self, _: Mapping[str, Any]) -> Any:
        return self._facts.registered.conf

    def _active_queues(self, _: Mapping[str, Any]) -> Any:
        return [{"name": name, "weight": weight} for name, weight in self._facts.session.weights.items()]

    def _add_consumer(self, arguments: Mapping[str, Any]) -> Any:
        queue = _queue(arguments)
        session = self._facts.session
        weights = session.weights
        declared: Mapping[str, int] = self._facts.registered.conf.get("queues") or {}
        weight = _weight(arguments, weights.get(queue) or declared.get(queue, 1))
        if weights.get(queue) == weight:
            return {"ok": f"already consuming from {queue!r}"}
        self._serve({**weights, queue: weight})
        return {"ok": f"add consumer {queue}"}

    def _cancel_consumer(self, arguments: Mapping[str, Any]) -> Any:
        queue = _queue(arguments)
        weights = self._facts.session.weights
        if weights.pop(queue, None) is not None:
            self._serve(weights)
        return {"ok": f"no longer consuming from {queue}"}

    def _serve(self, weights: Mapping[str, int]) -> None:
        self._facts.session.set_queues(weights)
        self._facts.wake()

    def _resized(self, places: int) -> None:
        self._facts.session.resize(places)
        self._facts.session.capacity.want(self._facts.executor.capacity())
        self._facts.wake()

    def _shutdown(self, _: Mapping[str, Any]) -> Any:
        # The drain ends with a goodbye only after the replies are sent, so this answer still gets out.
        self._facts.shutdown()
        return {"ok": "shutting down"}

    def _stats(self, _: Mapping[str, Any]) -> Any:
        facts, session = self._facts, self._facts.session
        figures = facts.executor.stats()
        tasks = figures.get("tasks", {})
        processes = [each.get("pid") for each in figures.get("processes", ())]
        return {
            "pid": os.getpid(),
            "uptime": round(facts.now() - facts.started_at),
            "pool": {
                "implementation": facts.executor.kind,
                "max-concurrency": session.identity.concurrency,
                "processes": processes or [os.getpid()],
                **{name: figures[name] for name in ("max-tasks-per-child",) if name in figures},
            },
            **({"autoscaler": figures["autoscale"]} if figures.get("autoscale") else {}),
            "total": {name: each.get("done", 0) for name, each in tasks.items()},
            "executor": figures,
            "rusage": _rusage(),
            "capacity": session.capacity.announced,
            "held": session.open,
            "session": {
                "draining": session.draining,
                "unacknowledged": session.unacknowledged,
                "queues": list(session.queues),
            },
        }

    def _query_task(self, arguments: Mapping[str, Any]) -> Any:
        ids = arguments.get("ids")
        if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
            raise BadArguments('query_task takes {"ids": [ID, ...]}')
        wanted = set(ids)
        found: dict[str, Any] = {}
        for waiting in (*self._facts.fetching(), *self._facts.executor.waiting(limits.NODE_LIMIT)):
            if (task_id := id_of(waiting.run, waiting.token)) in wanted:
                found[task_id] = ["reserved", self._shown(waiting.run, waiting.token, waiting.offset)]
        for running in self._facts.executor.running():
            if (task_id := id_of(running.run, running.token)) in wanted:
                found[task_id] = ["active", self._shown_running(running)]
        return found

    def _shown_running(self, running: Running) -> dict[str, Any]:
        shown = self._shown(running.run, running.token, running.offset)
        return {**shown, "time_start": running.started_at, "worker_pid": running.pid}

    def _shown(self, run: CallRun, token: int, offset: int) -> dict[str, Any]:
        """One attempt under Celery's names; its arguments decoded where that is safe and small."""
        args, kwargs = show_call(run, offset)
        call = run.call
        return {
            "id": id_of(run, token),
            "name": call.task,
            "args": args,
            "kwargs": kwargs,
            "type": call.task,
            "hostname": self._facts.session.identity.name,
            "time_start": None,
            # Celery acknowledges a message; here what is acknowledged early is what never runs twice.
            "acknowledged": call.acks_early,
            "delivery_info": {
                "exchange": "",
                "routing_key": call.queue,
                "priority": call.priority,
                "redelivered": run.losses > 0,
            },
            "worker_pid": None,
            "group": str(uuid.UUID(bytes=run.group)) if run.group else None,
        }


def show_call(run: CallRun, offset: int) -> tuple[Any, Any]:
    """The args and kwargs of one attempt, inputs in front; as texts where they cannot be shown as they are.

    Args:
        run: the run.
        offset: which attempt of it, from 0.
    """
    payload = run.payloads[offset]
    content = run.content_type or run.call.content_type
    size = len(payload) + sum(len(value) for value in run.inputs)
    if size > _SHOWN_PAYLOAD:
        return f"({size} bytes)", ""
    try:
        args, kwargs = codec.decode_call(payload, content)
        values = [codec.decode_value(value_pb2.Value.FromString(value)) for value in run.inputs]
    except Exception as error:  # noqa: BLE001 - whatever a client sent, a question about it is answered
        return f"({size} bytes of {content or codec.JSON}, not shown: {type(error).__name__})", ""
    # Inputs are put in front one after the other, so that the last one ends up first.
    return [_plain(_told(value)) for value in reversed(values)] + [_plain(arg) for arg in args], _plain(kwargs)


def _told(value: Any) -> Any:
    """What an errback gets for a failed node: its id."""
    return value.id if isinstance(value, value_pb2.FailedNode) else value


def _plain(value: Any) -> Any:
    """The value as JSON carries it: what JSON has no word for becomes its repr."""
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else repr(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return repr(value)


def _arguments(data: bytes) -> Mapping[str, Any]:
    if not data:
        return {}
    try:
        arguments = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadArguments(f"the arguments are not JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise BadArguments(f"the arguments must be one JSON object, not {type(arguments).__name__}")
    return arguments


def _queue(arguments: Mapping[str, Any]) -> str:
    queue = arguments.get("queue")
    if not isinstance(queue, str):
        raise BadArguments('this command takes {"queue": NAME}; add_consumer also {"weight": 1 to 100}')
    try:
        check_name(queue, "queue name")
    except ConfigError as error:
        raise BadArguments(str(error)) from error
    return queue


def _weight(arguments: Mapping[str, Any], otherwise: int) -> int:
    try:
        return check_weight(arguments.get("weight", otherwise))
    except ConfigError as error:
        raise BadArguments(str(error)) from error


def _dump(value: Any) -> bytes:
    return json.dumps(_plain(value), allow_nan=False).encode()


def _error(command: pb.ControlCommand, text: str) -> pb.ControlReply:
    return pb.ControlReply(id=command.id, error=text)


def _rusage() -> dict[str, Any]:
    """What this process and its ended children used, under the names of ``resource``; empty on Windows."""
    try:
        import resource
    except ImportError:
        return {}
    fields: Sequence[str] = ("utime", "stime", "maxrss", "minflt", "majflt", "inblock", "oublock", "nvcsw", "nivcsw")
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {name: getattr(usage, f"ru_{name}") for name in fields}
