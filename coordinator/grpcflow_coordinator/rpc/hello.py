"""What a worker says of itself, and limits: checked and given to the core. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Final

from grpcflow_coordinator.core.model import GRAPH_ID_BYTES
from grpcflow_coordinator.core.presence import CommandFacts, Limit, SessionFacts, TaskFacts
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc.convert import check_name
from grpcflow_protos.v1 import command_pb2, limit_pb2, worker_service_pb2

#: Longest period of a rate, in milliseconds.
LONGEST_PERIOD_MS: Final = 7 * 24 * 3600 * 1000

#: Most calls in one batch, and the longest that its first call waits, in milliseconds.
BATCH_LIMIT: Final = 10_000
LONGEST_WAIT_MS: Final = 3_600_000

#: Heaviest weight of a queue.
WEIGHT_LIMIT: Final = 100

#: Most tasks, queues, and limits of either that a worker names, and most attempts that it holds.
NAMES_LIMIT: Final = 20_000
HELD_LIMIT: Final = 100_000

#: Most labels of a worker, most commands of an app and arguments of one, and characters of a help text.
LABELS_LIMIT: Final = 100
COMMANDS_LIMIT: Final = 1_000
ARGUMENTS_LIMIT: Final = 100
HELP_LIMIT: Final = 1_024


def facts(message: worker_service_pb2.WorkerHello) -> SessionFacts:
    """Check what a worker says of itself."""
    if len(message.session) != 16:
        raise Refusal("MALFORMED", f"a session has 16 secret bytes, this one {len(message.session)}")
    if not message.name:
        raise Refusal("NAME_TOO_LONG", "the worker has no name: one has 1 to 255 bytes")
    check_name(message.name, "the worker's name")
    _check_count(message.tasks, "tasks")
    _check_count(message.task_facts, "limits of tasks")
    _check_count(message.queue_facts, "limits of queues")
    for name in message.tasks:
        check_name(name, "a task name")
    queues, weights = subscription(message.queues, message.weights)
    return SessionFacts(
        id=message.session,
        name=message.name,
        queues=queues,
        tasks=frozenset(message.tasks),
        host=message.host[:255],
        process_id=message.process_id,
        concurrency=max(1, message.concurrency),
        executor=message.executor[:255],
        version=message.version[:255],
        task_facts=tuple(_task(one) for one in message.task_facts),
        queue_facts=tuple((check_name(one.queue, "a queue name"), limit(one.limit)) for one in message.queue_facts),
        weights=weights,
        labels=_labels(message.labels),
        commands=_commands(message.commands),
    )


def _check_count(named: Sized, what: str) -> None:
    if len(named) > NAMES_LIMIT:
        raise Refusal(
            "BAD_ARGUMENTS", f"the worker names {len(named)} {what}; {NAMES_LIMIT} are allowed: use several workers"
        )


def _labels(labels: Sequence[str]) -> tuple[str, ...]:
    if len(labels) > LABELS_LIMIT:
        raise Refusal("BAD_ARGUMENTS", f"the worker has {len(labels)} labels; {LABELS_LIMIT} are allowed")
    return tuple(dict.fromkeys(check_name(label, "a label") for label in labels))


def _commands(commands: Sequence[command_pb2.CommandInfo]) -> tuple[CommandFacts, ...]:
    if len(commands) > COMMANDS_LIMIT:
        raise Refusal("BAD_ARGUMENTS", f"the app defines {len(commands)} commands; {COMMANDS_LIMIT} are allowed")
    return tuple(_command(one) for one in commands)


def _command(message: command_pb2.CommandInfo) -> CommandFacts:
    name = check_name(message.name, "the name of a command")
    if not name or len(message.arguments) > ARGUMENTS_LIMIT:
        raise Refusal("BAD_ARGUMENTS", f"a command has a name and at most {ARGUMENTS_LIMIT} arguments")
    arguments = tuple(
        (check_name(one.name, "an argument of a command"), one.type[:20], one.optional) for one in message.arguments
    )
    variadic = check_name(message.variadic, "an argument of a command")
    told = message.help[:HELP_LIMIT]
    return CommandFacts(name, message.control, told, arguments, variadic, message.default_timeout_ms, message.hidden)


def subscription(queues: Sequence[str], weights: Sequence[int]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Check the queues that a worker serves, and their weights."""
    _check_count(queues, "queues")
    for queue in queues:
        check_name(queue, "a queue name")
    if not weights:
        return tuple(dict.fromkeys(queues)), ()
    if len(weights) != len(queues):
        raise Refusal("MALFORMED", f"{len(queues)} queues come with {len(weights)} weights: send one for each")
    if not all(1 <= weight <= WEIGHT_LIMIT for weight in weights):
        raise Refusal("MALFORMED", f"the weight of a queue is not among 1 to {WEIGHT_LIMIT}")
    found = dict(zip(queues, weights, strict=True))
    return tuple(found), tuple(found.values())


def _task(message: limit_pb2.TaskFacts) -> TaskFacts:
    check_name(message.task, "a task name")
    if message.batch_size > BATCH_LIMIT or message.batch_within_ms > LONGEST_WAIT_MS:
        bounds = f"at most {BATCH_LIMIT:,} calls and {LONGEST_WAIT_MS // 1000:,} s"
        raise Refusal("BAD_ARGUMENTS", f"the batches of {message.task!r} are too large or wait too long: {bounds}")
    return TaskFacts(message.task, limit(message.limit), message.batch_size, message.batch_within_ms)


def limit(message: limit_pb2.Limit) -> Limit:
    """Check a limit."""
    if bool(message.rate_count) != bool(message.rate_period_ms):
        raise Refusal("BAD_ARGUMENTS", "a rate is a count and a period, and one of them is missing: set both")
    if message.rate_period_ms > LONGEST_PERIOD_MS:
        raise Refusal("BAD_ARGUMENTS", f"the period of a rate is longer than a week: {message.rate_period_ms} ms")
    return Limit(message.rate_count, message.rate_period_ms, message.concurrency)


def held(message: worker_service_pb2.WorkerHello) -> tuple[tuple[bytes, int], ...]:
    """Check the attempts that a worker holds."""
    if len(message.held) > HELD_LIMIT:
        raise Refusal("MALFORMED", f"the worker holds {len(message.held)} attempts; {HELD_LIMIT} are allowed")
    if any(len(one.node) != GRAPH_ID_BYTES + 4 for one in message.held):
        raise Refusal("MALFORMED", "a held attempt names a node id that has not 16 bytes")
    return tuple((one.node, one.token) for one in message.held)
