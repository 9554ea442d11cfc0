"""The values of the records: how each noun is written. Knows no key.

Every value is a MessagePack array that begins with the version of its format. To change a format: only
append elements, give readers a default for those that are missing, and let the version be; or, where that
cannot say it, raise the version of that record, keep the old reader as a case, and go on writing the old
version until the folder is finalised (`LmdbStore.format`), so that the release before can come back.
Then export a folder that the release before wrote into tests/coordinator/storage/golden; see the test there.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from grpcflow_coordinator.core.model import (
    Attachment,
    AttachmentKind,
    Edge,
    EdgeMode,
    Failure,
    FailureMode,
    Graph,
    Held,
    Job,
    Keep,
    LineKey,
    NodeState,
    Outcome,
    Progress,
    Retention,
    Run,
    Tally,
    Template,
)
from grpcflow_coordinator.core.presence import CommandFacts, Limit, SessionFacts, TaskFacts
from grpcflow_coordinator.storage.contract import StoreDamaged, StoreError

VERSION = 1

#: What a reader raises where the bytes are none that a writer here made: the record is damaged.
DAMAGED = (
    msgspec.MsgspecError,
    ArithmeticError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    RecursionError,  # lists in lists; the decoder has a bound of its own
)

#: Payloads of so many bytes are put into a record as they are; how MessagePack begins a short array, and bytes with a
#: length of four bytes.
LARGE = 64 * 1024
_SHORT_ARRAY, _SHORT = 0x90, 16
_LONG_BYTES = b"\xc6"

encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


class UnknownVersion(StoreError):
    """A record was written by a newer coordinator than this one; start that one again."""


def read(data: bytes) -> list[Any]:
    """Read the array of a record.

    Raises:
        UnknownVersion: a newer coordinator wrote it.
        StoreDamaged: it is no record.
    """
    try:
        fields: list[Any] = _decode(data)
        newer = fields[0] > VERSION
    except DAMAGED as error:
        raise StoreDamaged(
            f"a record cannot be read ({error}): `grpcflow-coordinator check` names it; restore the folder"
        ) from error
    if newer:
        raise UnknownVersion(
            f"a record of format {fields[0]} was found; this coordinator reads up to {VERSION}: use the newer one"
        )
    return fields


def write_number(number: int) -> bytes:
    """Write one number."""
    return encode((VERSION, number))


def read_number(data: bytes) -> int:
    """Read one number."""
    number: int = read(data)[1]
    return number


def write_timer(count: int, made_ms: int) -> bytes:
    """Write for how many nodes a timer is, and when their graph was made, where that is known."""
    return encode((VERSION, count, made_ms) if made_ms else (VERSION, count))


def read_timer(data: bytes) -> tuple[int, int]:
    """Read these; earlier versions wrote the count alone."""
    fields = read(data)
    return fields[1], fields[2] if len(fields) > 2 else 0


def write_tally(tally: Tally) -> bytes:
    """Write how the nodes of a graph stand; where all that settled succeeded it is one number."""
    others = (tally.failed, tally.revoked, tally.ignored, tally.rejected)
    return encode((VERSION, tally.unsettled, *(others if any(others) else ())))


def read_tally(data: bytes) -> Tally:
    """Read how the nodes of a graph stand."""
    return Tally(*read(data)[1:6])


def write_template(template: Template) -> tuple[Any, ...]:
    """Return a template as an array."""
    unique = (template.unique_for_ms, template.unique_stays)
    kept = (template.result_expires_ms, template.failure_expires_ms)
    more = (*unique, template.broadcast, template.per_key, *kept, *((True,) if template.apart else ()))
    return (
        template.task,
        template.queue,
        template.priority,
        template.acks_early,
        template.max_deliveries,
        template.ignore_result,
        template.countdown_ms,
        template.eta_ms,
        template.expires_in_ms,
        template.expires_at_ms,
        template.track_started,
        template.wire,
        *((template.stamps, *more) if any(more) else (template.stamps,) if template.stamps else ()),
    )


def _read_template(fields: list[Any]) -> Template:
    stamps = [tuple((name, tuple(values)) for name, values in found) for found in fields[12:13]]
    return Template(*fields[:12], *stamps, *fields[13:20])


def write_graph(graph: Graph, inline: list[tuple[tuple[Any, ...], list[bytes]]] | None) -> bytes:
    """Write a root; a small graph's runs stand in it."""
    templates = [write_template(template) for template in graph.templates]
    return encode((VERSION, graph.node_count, graph.created_ms, templates, inline, graph.attachment, graph.outcome))


def read_graph(graph_id: bytes, data: bytes) -> tuple[Graph, list[tuple[Run, list[bytes]]] | None]:
    """Read a root and the runs that stand in it."""
    _, node_count, created_ms, templates, inline, attached, outcome = [*read(data), None, None][:7]
    attachment = None if attached is None else Attachment(AttachmentKind(attached[0]), *attached[1:4])
    graph = Graph(graph_id, node_count, tuple(map(_read_template, templates)), created_ms, attachment)
    graph.outcome = node_count - 1 if outcome is None else outcome
    if inline is None:
        return graph, None
    return graph, [(read_run_head(head), payloads) for head, payloads in inline]


def read_inline(data: bytes) -> list[tuple[list[Any], list[bytes]]] | None:
    """Read of a root only the runs that stand in it: each one's head as an array, and its payloads."""
    inline: list[tuple[list[Any], list[bytes]]] | None = read(data)[4]
    return inline


def run_head(run: Run) -> tuple[Any, ...]:
    """Return a run without its payloads as an array."""
    head = (run.first, run.count, run.template, run.inputs, run.children, run.own_id, run.members)
    keys = (run.fairness_key, run.concurrency_key, run.unique_key, run.borrowed)
    if any(keys):
        return (*head, run.group, run.group_index, run.in_chord, *keys)
    return (*head, run.group, run.group_index, run.in_chord) if run.group else head


def read_run_head(fields: list[Any]) -> Run:
    """Read such an array."""
    first, count, template, inputs, children, own_id, members = fields[:7]
    edges = tuple(Edge(parent, EdgeMode(mode), FailureMode(failure)) for parent, mode, failure in inputs)
    ranges = None if members is None else tuple((start, length) for start, length in members)
    return Run(first, count, template, edges, tuple(children), own_id, ranges, *fields[7:14])


def write_run(run: Run, payloads: list[bytes]) -> bytes:
    """Write a run: the length of its head, the head, the payloads; so that the head reads alone."""
    head = encode((VERSION, run_head(run)))
    parts = [len(head).to_bytes(4, "big"), head]
    if payloads and len(payloads[0]) >= LARGE and len(payloads) < _SHORT:
        # As `encode` would write it, with one copy less of what may be mebibytes.
        parts.append(bytes((_SHORT_ARRAY | len(payloads),)))
        for payload in payloads:
            parts += (_LONG_BYTES, len(payload).to_bytes(4, "big"), payload)
    else:
        parts.append(encode(payloads))
    return b"".join(parts)


def read_run(data: bytes) -> Run:
    """Read the head of a run."""
    length = int.from_bytes(data[:4], "big")
    return read_run_head(read(data[4 : 4 + length])[1])


def read_payloads(data: bytes) -> list[bytes]:
    """Read the payloads of a run."""
    length = int.from_bytes(data[:4], "big")
    payloads: list[bytes] = _decode(data[4 + length :])
    return payloads


def _failure(failure: Failure | None) -> tuple[Any, ...] | None:
    if failure is None:
        return None
    cause = _failure(failure.cause)
    return (
        failure.type_name,
        failure.message,
        failure.reason,
        failure.origin,
        failure.raw,
        cause,
        failure.kept_by,
        failure.kept_in,
    )


def _read_failure(fields: list[Any] | None) -> Failure | None:
    if fields is None:
        return None
    type_name, message, reason, origin, raw, cause, kept_by, kept_in = [*fields, b""][:8]
    return Failure(type_name, message, reason, origin, raw, _read_failure(cause), kept_by, kept_in)


def write_outcome(outcome: Outcome) -> bytes:
    """Write how a node settled."""
    return encode(
        (
            VERSION,
            int(outcome.state),
            outcome.settled_ms,
            outcome.data,
            outcome.content_type,
            None if outcome.failure is None else _failure(outcome.failure),
            outcome.token,
            outcome.worker,
            outcome.retries,
            *((outcome.source, outcome.took_ms) if outcome.took_ms else (outcome.source,) if outcome.source else ()),
        )
    )


def read_outcome(data: bytes) -> Outcome:
    """Read how a node settled."""
    fields = read(data)
    _, state, settled_ms, value, content_type, failure, token, worker, retries = fields[:9]
    return Outcome(
        NodeState(state), settled_ms, value, content_type, _read_failure(failure), token, worker, retries, *fields[9:11]
    )


def write_progress(progress: Progress) -> bytes:
    """Write what a node went through."""
    return encode(
        (
            VERSION,
            progress.retries,
            progress.losses,
            progress.place,
            progress.retrying,
            _failure(progress.failure),
            progress.payload,
            progress.content_type,
            progress.handed,
            progress.handed_to,
            progress.fired_by,
            progress.doom,
            progress.stop_signal,
            progress.ended_by,
            progress.replaced_by,
            progress.custom_state,
            progress.meta,
            progress.meta_type,
            progress.due_ms,
            *((progress.follows,) if progress.follows else ()),
        )
    )


def read_progress(data: bytes) -> Progress:
    """Read what a node went through."""
    fields = read(data)
    fields[5] = _read_failure(fields[5])
    return Progress(*fields[1:20])


def write_job(job: Job) -> bytes:
    """Write work on many nodes that is under way."""
    stamped = (job.stamps, job.terminate, job.signal, job.stamp, job.graph, job.node, job.done)
    work = (job.kind, job.graphs, job.running, job.ready, job.releasing, job.calls)
    return encode((VERSION, *stamped, *work, job.priority, job.sequence, job.until))


def read_job(number: int, data: bytes) -> Job:
    """Read such work."""
    fields = read(data)[1:17]
    for at in (0, 12):
        fields[at : at + 1] = [tuple((name, value) for name, value in found) for found in fields[at : at + 1]]
    for at in (8, 10):
        fields[at : at + 1] = map(tuple, fields[at : at + 1])
    return Job(number, *fields)


def write_name(name: str) -> bytes:
    """Write one name."""
    return encode((VERSION, name))


def read_name(data: bytes) -> str:
    """Read one name."""
    name: str = read(data)[1]
    return name


def write_item(data: bytes, content_type: str) -> bytes:
    """Write an item that a task emitted."""
    return encode((VERSION, data, content_type))


def read_item(data: bytes) -> tuple[bytes, str]:
    """Read such an item."""
    _, item, content_type = read(data)[:3]
    return item, content_type


def write_log(end: int, total: int, data: bytes) -> bytes:
    """Write lines of a log: the number behind the last one, and the bytes that the attempt has logged with them."""
    return encode((VERSION, end, total, data))


def read_log(record: bytes) -> tuple[int, int, bytes]:
    """Read such lines."""
    _, end, total, data = read(record)[:4]
    return end, total, data


def write_saved(own_id: str, data: bytes, expires_ms: int) -> bytes:
    """Write the description of a group, with its id and when it is deleted."""
    return encode((VERSION, own_id, data, expires_ms))


def read_saved(data: bytes) -> tuple[str, bytes, int]:
    """Read such a description."""
    _, own_id, saved, expires_ms = read(data)[:4]
    return own_id, saved, expires_ms


def write_session(facts: SessionFacts) -> bytes:
    """Write what a worker said of itself."""
    return encode(
        (
            VERSION,
            facts.name,
            facts.queues,
            sorted(facts.tasks),
            facts.host,
            facts.process_id,
            facts.concurrency,
            facts.executor,
            facts.version,
            [(one.task, *_limit(one.limit), one.batch_size, one.batch_within_ms) for one in facts.task_facts],
            [(queue, *_limit(limit)) for queue, limit in facts.queue_facts],
            facts.weights,
            facts.labels,
            [(one.name, one.control, one.help, one.arguments, one.variadic) for one in facts.commands],
        )
    )


def read_session(session: bytes, data: bytes) -> SessionFacts:
    """Read what a worker said of itself."""
    fields = read(data)
    _, name, queues, tasks, host, process_id, concurrency, executor, version = fields[:9]
    later = list(fields[9:14])  # what an older version did not write
    tasks_said, queues_said, weights, labels, commands = later + [()] * (5 - len(later))
    return SessionFacts(
        session,
        name,
        tuple(queues),
        frozenset(tasks),
        host,
        process_id,
        concurrency,
        executor,
        version,
        tuple(TaskFacts(task, Limit(*numbers[:3]), *numbers[3:5]) for task, *numbers in tasks_said),
        tuple((queue, Limit(*numbers)) for queue, *numbers in queues_said),
        tuple(weights),
        tuple(labels),
        tuple(_command(*one) for one in commands),
    )


def _command(name: str, control: bool, told: str, arguments: list[list[Any]], variadic: str) -> CommandFacts:
    return CommandFacts(name, control, told, tuple((one[0], one[1], one[2]) for one in arguments), variadic)


def _limit(limit: Limit) -> tuple[int, int, int]:
    return limit.rate_count, limit.rate_period_ms, limit.concurrency


class Lane(NamedTuple):
    """What the lines of one lane have in common."""

    queue: str
    task: str
    fairness: str = ""
    key: str = ""
    per_key: int = 0


def lane_of(line: LineKey) -> Lane:
    """Return the lane of a line."""
    return Lane(line.queue, line.task, line.fairness, line.key, line.per_key)


def line_in(lane: Lane, priority: int) -> LineKey:
    """Return a line of a lane."""
    return LineKey(lane.queue, lane.task, priority, lane.fairness, lane.key, lane.per_key)


def write_lane(lane: Lane) -> bytes:
    """Write the names of a lane; those of one without keys as ever."""
    return encode((VERSION, *(lane if lane.fairness or lane.key else lane[:2])))


def read_lane(data: bytes) -> Lane:
    """Read the names of a lane."""
    return Lane(*read(data)[1:6])


def write_held(held: Held) -> bytes:
    """Write who holds a unique key."""
    return encode((VERSION, held.node, held.until_ms, held.stays))


def read_held(data: bytes) -> Held:
    """Read who holds a unique key."""
    return Held(*read(data)[1:4])


def write_retention(scope: str, name: str, kept: Retention) -> bytes:
    """Write a retention that was set."""
    keeps = [(keep.age_ms, keep.count) for keep in (kept.results, kept.failures, kept.arguments)]
    return encode((VERSION, scope, name, *keeps))


def read_retention(data: bytes) -> tuple[tuple[str, str], Retention]:
    """Read such a retention."""
    _, scope, name, *keeps = read(data)[:6]
    return (scope, name), Retention(*(Keep(*keep) for keep in keeps))


def write_limit(scope: str, name: str, limit: Limit) -> bytes:
    """Write a limit that was set."""
    return encode((VERSION, scope, name, limit.rate_count, limit.rate_period_ms, limit.concurrency))


def read_limit(data: bytes) -> tuple[tuple[Literal["task", "queue"], str], Limit]:
    """Read such a limit."""
    _, scope, name, *numbers = read(data)[:6]
    return (scope, name), Limit(*numbers)
