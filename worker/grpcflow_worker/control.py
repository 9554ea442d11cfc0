"""Answers control commands from what the supervisor knows, at once and whatever the tasks do.

Each command is a handler by name: one JSON object in, one JSON value out. A handler that fails gives an error reply,
never the end of the worker. This file may NOT block, run or import user code, or wait for a task; payloads are shown
only where they can be read without running anything.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from grpcflow_protos import limits
from grpcflow_protos.v1 import worker_service_pb2 as pb
from grpcflow_worker.app_commands import BadCommand, CommandBook
from grpcflow_worker.executor import CallRun, Executor, Registered, Running, Waiting
from grpcflow_worker.overrides import Overrides
from grpcflow_worker.pool_commands import PoolCommands, PoolRefused, title_of
from grpcflow_worker.session import Session
from grpcflow_worker.showing import plain, show_call
from grpcflow_worker.subscription import ConfigError, check_name, check_weight
from grpcflow_worker.told import Told
from grpcflow_worker.wire import id_of

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
        tell_load: has the next message tell how busy the worker is.
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
    tell_load: Callable[[], None] = lambda: None
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
        #: Time limits that were changed by a command.
        self.overrides = Overrides(facts.registered.tasks)
        self._book = CommandBook(facts.registered.conf.get("commands", ()))
        self._handlers: dict[str, Handler] = {
            "active": self._active,
            "add_consumer": self._add_consumer,
            "cancel_consumer": self._cancel_consumer,
            "heartbeat": self._heartbeat,
            "query_task": self._query_task,
            "reserved": self._reserved,
            "shutdown": self._shutdown,
            "time_limit": self.overrides.command,
            **Told(facts.session, facts.executor, facts.registered, facts.now, facts.started_at).handlers(),
            **PoolCommands(facts.executor, self._resized).handlers(),
        }

    def take(self, command: pb.ControlCommand) -> None:
        """Have a command answered: at once, or, where the app defines it, once its handler has ended."""
        if command.command not in self._book or command.command in self._handlers:
            self._facts.session.reply(self.answer(command))
            return
        try:
            self._book.check(command.command, _arguments(command.arguments))
        except (BadArguments, BadCommand) as error:
            self._facts.session.reply(_error(command, str(error)))
            return

        def told(reply: bytes, error: str) -> None:
            self._facts.session.reply(pb.ControlReply(id=command.id, reply=reply, error=error))
            self._facts.wake()

        self._facts.executor.ask(command.command, command.arguments or b"{}", told)

    def answer(self, command: pb.ControlCommand) -> pb.ControlReply:
        """The reply to a command of our own; whatever goes wrong is in the reply."""
        handler = self._handlers.get(command.command)
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return _error(command, f"this worker has no command {command.command!r}; it has: {known}")
        try:
            arguments = _arguments(command.arguments)
            reply = _dump(handler(arguments))
            self.show_title()
        except (BadArguments, BadCommand, PoolRefused) as error:
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

    def _active(self, arguments: Mapping[str, Any]) -> Any:
        shown = [self._shown_running(each) for each in self._facts.executor.running()[:_SHOWN_TASKS]]
        if arguments.get("safe"):
            return [{**each, "args": repr(each["args"]), "kwargs": repr(each["kwargs"])} for each in shown]
        return shown

    def _heartbeat(self, _: Mapping[str, Any]) -> Any:
        self._facts.session.beat()
        self._facts.tell_load()
        self._facts.wake()
        return {"ok": "heartbeat sent"}

    def _reserved(self, _: Mapping[str, Any]) -> Any:
        waiting = [*self._facts.fetching(), *self._facts.executor.waiting(_SHOWN_TASKS)][:_SHOWN_TASKS]
        return [self._shown(each.run, each.token, each.offset) for each in waiting]

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
    return json.dumps(plain(value), allow_nan=False).encode()


def _error(command: pb.ControlCommand, text: str) -> pb.ControlReply:
    return pb.ControlReply(id=command.id, error=text)
