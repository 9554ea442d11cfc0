"""From the wire to the core and back: the only file that knows the shapes of both.

Everything that can be said against a message without knowing the state is said here, as a `Refusal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from google.protobuf import duration_pb2, timestamp_pb2

from grpcflow_coordinator.core.events import ChunkArrived, Ended, Progressed, Raised, Report, Retried, Value
from grpcflow_coordinator.core.model import (
    GRAPH_ID_BYTES,
    Attachment,
    AttachmentKind,
    Edge,
    EdgeMode,
    Failure,
    FailureMode,
    Outcome,
    Run,
    Template,
    node_id,
)
from grpcflow_coordinator.errors import Refusal
from grpcflow_protos import limits
from grpcflow_protos.v1 import graph_pb2, value_pb2, worker_service_pb2

#: Most nodes of one run.
RUN_LIMIT: Final = 10_000

#: Most bytes of the headers of one template.
HEADERS_LIMIT: Final = 64 * 1024

#: Most values of stamps of one call, and of one question: each has a record.
STAMPS_LIMIT: Final = 1_000

#: Milliseconds of the year 9999: no time lies behind it.
_LAST_MS: Final = 253_402_300_799_999

#: Places in a group that a number on the wire can hold.
_INDEXES: Final = 1 << 32

#: Most nanoseconds beside the seconds of a time.
_MOST_NANOS: Final = 999_999_999

_DEFAULT_QUEUE: Final = "default"


def check_name(name: str, what: str, *, code: str = "NAME_TOO_LONG") -> str:
    """Refuse a name that is longer than 255 bytes or cannot be text."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise Refusal("MALFORMED", f"{what} is not valid text") from None
    if size > limits.NAME_LIMIT:
        raise Refusal(code, f"{what} has {size} bytes; {limits.NAME_LIMIT} are allowed: use a shorter one")
    return name


def check_content_type(content_type: str) -> str:
    """Refuse a content type that no peer would know; JSON is the empty one."""
    if content_type and content_type not in limits.CONTENT_TYPES:
        known = ", ".join(limits.CONTENT_TYPES)
        raise Refusal("UNKNOWN_CONTENT_TYPE", f"content type {content_type[:80]!r} is not known; use one of {known}")
    return "" if content_type == limits.CONTENT_TYPES[0] else content_type


def duration_ms(duration: duration_pb2.Duration, what: str) -> int:
    """Return a length of time in milliseconds."""
    if abs(duration.nanos) > _MOST_NANOS:
        raise Refusal("BAD_TIME", f"{what} has {duration.nanos} nanoseconds: that is a second or more, add it to those")
    value = duration.seconds * 1000 + duration.nanos // 1_000_000
    if abs(value) > _LAST_MS:
        raise Refusal("BAD_TIME", f"{what} of {duration.seconds} s is beyond the year 9999: use a shorter one")
    return value


def timestamp_ms(timestamp: timestamp_pb2.Timestamp, what: str) -> int:
    """Return a moment in milliseconds; one that a peer's library could not read is refused, since it is handed on."""
    if not 0 <= timestamp.nanos <= _MOST_NANOS:
        raise Refusal("BAD_TIME", f"{what} has {timestamp.nanos} nanoseconds: use 0 to {_MOST_NANOS}")
    value = timestamp.seconds * 1000 + timestamp.nanos // 1_000_000
    if not -62_135_596_800_000 <= value <= _LAST_MS:
        raise Refusal("BAD_TIME", f"{what} lies outside the years 1 to 9999")
    return value


def template(message: graph_pb2.Template) -> Template:
    """Check a template and give it to the core."""
    if not message.task:
        raise Refusal("NAME_TOO_LONG", "a template names no task: a name has 1 to 255 bytes")
    if message.priority > 9:
        raise Refusal("BAD_PRIORITY", f"priority {message.priority} is not among 0 to 9")
    check_name(message.task, "the task name")
    queue = check_name(message.queue or _DEFAULT_QUEUE, "the queue name")
    check_content_type(message.content_type)
    check_content_type(message.headers_content_type)
    if len(message.headers) > HEADERS_LIMIT:
        size = f"the headers of a call have {len(message.headers)} bytes; {HEADERS_LIMIT} are allowed"
        raise Refusal("PAYLOAD_TOO_LARGE", f"{size}: pass large data as arguments")
    has = message.HasField
    if (has("countdown") and has("eta")) or (has("expires_in") and has("expires_at")):
        raise Refusal("BAD_TIME", "a template has a duration and a time for the same thing: set one of them")
    countdown = duration_ms(message.countdown, "countdown") if has("countdown") else 0
    expires_in = duration_ms(message.expires_in, "expires") if has("expires_in") else 0
    if has("expires_in") and expires_in <= 0:
        expires_in = -1
    expires_at = max(1, timestamp_ms(message.expires_at, "expires")) if has("expires_at") else 0
    return Template(
        task=message.task,
        queue=queue,
        priority=message.priority,
        acks_early=message.acks_early,
        max_deliveries=message.max_deliveries,
        ignore_result=message.ignore_result,
        countdown_ms=max(0, countdown),
        eta_ms=max(0, timestamp_ms(message.eta, "eta")) if has("eta") else 0,
        expires_in_ms=expires_in,
        expires_at_ms=expires_at,
        track_started=message.track_started,
        wire=message.SerializeToString(),
        stamps=stamps(message.stamps),
        unique_for_ms=_kept_ms(message, "unique_for"),
        unique_stays=message.unique_stays,
        broadcast=message.broadcast,
        per_key=message.concurrency_per_key,
        result_expires_ms=_kept_ms(message, "result_expires"),
        failure_expires_ms=_kept_ms(message, "failure_expires"),
        apart=message.apart,
    )


def _kept_ms(message: graph_pb2.Template, field: str) -> int:
    """Return how long something is kept, at least a millisecond; 0 where nothing is said."""
    if not message.HasField(field):  # type: ignore[arg-type]
        return 0
    length = duration_ms(getattr(message, field), field)
    if length < 0:
        raise Refusal("BAD_TIME", f"{field} lies in the past: use zero or more")
    return max(1, length)


def stamps(messages: Sequence[graph_pb2.Stamp]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Check stamps and give them to the core."""
    if not messages:
        return ()
    found = []
    count = len(messages) if len(messages) > STAMPS_LIMIT else sum(len(one.values) for one in messages)
    if count > STAMPS_LIMIT:
        raise Refusal("BAD_ARGUMENTS", f"{count} values of stamps are named; {STAMPS_LIMIT} are allowed: use fewer")
    for one in messages:
        if not one.name:
            raise Refusal("NAME_TOO_LONG", "a stamp has no name: one has 1 to 255 bytes")
        check_name(one.name, "the name of a stamp")
        found.append((one.name, tuple(check_name(value, "the value of a stamp") for value in one.values)))
    return tuple(found)


def _attachment(message: graph_pb2.Attachment, node_count: int) -> Attachment:
    if len(message.node) != GRAPH_ID_BYTES + 4:
        raise Refusal("MALFORMED", f"an attachment names a node id of {len(message.node)} bytes, not 16")
    if not 1 <= message.kind <= 2:
        raise Refusal("MALFORMED", "an attachment has no kind that this coordinator knows: set it")
    if message.final >= node_count:
        raise Refusal("DANGLING_EDGE", f"an attachment names node {message.final}, which the graph does not have")
    return Attachment(AttachmentKind(message.kind), message.node, message.token, message.final)


def chunk(
    client: object, message: graph_pb2.GraphChunk, payload_limit: int, node_limit: int, apart: Sequence[bytes] = ()
) -> ChunkArrived:
    """Check a piece of a graph and give it to the core.

    Args:
        client: whom to answer.
        message: the piece.
        payload_limit: largest payload in bytes.
        node_limit: most nodes of a graph.
        apart: payloads of its one run that are not in the piece.
    """
    _check_graph_id(message.graph)
    if message.node_count == 0 or (message.last and not message.sequence and not message.runs):
        raise Refusal("EMPTY_GRAPH", "the graph has no nodes: there is nothing to run")
    if message.node_count > node_limit:
        raise Refusal("NODE_LIMIT", f"the graph has {message.node_count} nodes; {node_limit} are allowed: split it")
    if message.outcome > message.node_count:
        raise Refusal("DANGLING_EDGE", f"the graph's outcome is node {message.outcome - 1}, which it does not have")
    if (most := max(len(message.runs), len(message.templates))) > limits.CHUNK_RUNS_MOST:
        told = f"the piece holds {most} runs or templates; {limits.CHUNK_RUNS_MOST} are allowed"
        raise Refusal("CHUNK_TOO_LONG", f"{told}: send more pieces")
    _check_edges(message)
    templates = tuple(template(one) for one in message.templates)
    if any(one.apart for one in templates):
        _check_apart(message, templates)
    return ChunkArrived(
        client=client,
        graph=message.graph,
        sequence=message.sequence,
        last=message.last,
        node_count=message.node_count,
        templates=templates,
        runs=[_run(one, message.node_count, payload_limit, apart) for one in message.runs],
        reject_id_reuse=message.reject_id_reuse,
        attachment=_attachment(message.attachment, message.node_count) if message.HasField("attachment") else None,
        outcome=(message.outcome or message.node_count) - 1,
    )


def _check_edges(message: graph_pb2.GraphChunk) -> None:
    """Refuse more edges than there can be, or than are to be read in one go, before they are read one by one."""
    edges = [len(run.inputs) + len(run.children) + len(run.join.members) for run in message.runs]
    if max(edges, default=0) > 2 * message.node_count:
        raise Refusal("MALFORMED", f"a run has {max(edges)} edges, and its graph {message.node_count} nodes")
    if len(edges) > 1 and sum(edges) > limits.CHUNK_EDGES_MOST:
        told = f"the piece holds {sum(edges)} edges in {len(edges)} runs; {limits.CHUNK_EDGES_MOST} are allowed"
        raise Refusal("CHUNK_TOO_LONG", f"{told}: send more pieces, or each run in a piece of its own")


def _check_apart(message: graph_pb2.GraphChunk, templates: Sequence[Template]) -> None:
    """Refuse independent calls that are not: each could be acted on alone then, and others would not hear of it."""
    if not message.last or message.sequence or message.HasField("attachment"):
        raise Refusal("MALFORMED", "calls that are `apart` come in one piece, and are attached to nothing")
    if not all(one.apart for one in templates):
        raise Refusal("MALFORMED", "some templates of the graph are `apart` and some are not: send two graphs")
    if any(one.countdown_ms or one.eta_ms or one.broadcast for one in templates):
        raise Refusal("MALFORMED", "calls that are `apart` have no countdown, eta or broadcast: send each by itself")
    for run in message.runs:
        if run.inputs or run.children or run.id or run.unique_key or run.group or run.HasField("join"):
            raise Refusal(
                "MALFORMED", f"the run at node {run.first} is `apart` and tied to others: send it as a graph of its own"
            )


def _check_graph_id(graph: bytes) -> None:
    if len(graph) != GRAPH_ID_BYTES:
        raise Refusal("BAD_GRAPH_ID", f"a graph id has {GRAPH_ID_BYTES} bytes, this one {len(graph)}")
    if graph[6] >> 4 != 7 or graph[8] >> 6 != 2:
        raise Refusal("BAD_GRAPH_ID", "a graph id is the first 12 bytes of a UUID of version 7: mint it so")


def _run(
    message: graph_pb2.NodeRun, node_count: int, payload_limit: int, apart: Sequence[bytes]
) -> tuple[Run, list[bytes]]:
    first, count = message.first, message.count
    payloads = list(apart or message.payloads)
    members = _members(message, first) if message.HasField("join") else None
    if not 0 < count <= RUN_LIMIT or (len(payloads) != count if members is None else count != 1 or payloads):
        raise Refusal("MALFORMED", f"the run at node {first} says {count} nodes and has {len(payloads)} payloads")
    if first + count > node_count:
        raise Refusal(
            "DANGLING_EDGE", f"node {first + count - 1} is beyond the {node_count} that the graph says it has"
        )
    if payloads and max(map(len, payloads)) > payload_limit:
        raise Refusal(
            "PAYLOAD_TOO_LARGE",
            f"the arguments of a task have {max(map(len, payloads))} bytes; {payload_limit} are allowed: "
            "put the data where tasks can read it and pass its address",
        )
    if len(message.group) not in (0, GRAPH_ID_BYTES + 4):
        raise Refusal("MALFORMED", f"the run at node {first} names a group of {len(message.group)} bytes, not 16")
    if count > 1 and (message.inputs or message.id):
        raise Refusal("MALFORMED", f"the run at node {first} has inputs or an id and is not a run of one")
    children = tuple(message.children)
    if children and min(children) < first + count:
        raise Refusal(
            "GRAPH_CYCLE",
            f"node {first} leads to node {min(children)}: parents come before their children, so this is a cycle",
        )
    if children and max(children) >= node_count:
        raise Refusal("DANGLING_EDGE", f"node {first} leads to node {max(children)}, which the graph does not have")
    own_id = check_name(message.id, "the task id", code="ID_TOO_LONG") if message.id else ""
    inputs = tuple(_edge(edge, first, node_count) for edge in message.inputs) if message.inputs else ()
    if members is not None and any(edge.mode is not EdgeMode.AFTER for edge in inputs):
        raise Refusal("MALFORMED", f"join {first} takes values from its members only: its inputs are EDGE_MODE_AFTER")
    if len({edge.mode >= EdgeMode.ERROR for edge in inputs}) > 1:
        raise Refusal("MALFORMED", f"node {first} is an errback and something else as well")
    run = Run(first, count, message.template, inputs, children, own_id, members)
    if message.group:
        _take_group(run, message)
    if message.fairness_key or message.concurrency_key or message.unique_key:
        _take_keys(run, message)
    return run, payloads


def _take_group(run: Run, message: graph_pb2.NodeRun) -> None:
    """Check the place of a run in its group."""
    if message.group_index + run.count > _INDEXES:  # a worker could never be told
        raise Refusal("MALFORMED", f"the run at node {run.first} stands at {message.group_index} of its group: too far")
    run.group, run.group_index, run.in_chord = message.group, message.group_index, message.in_chord


def _take_keys(run: Run, message: graph_pb2.NodeRun) -> None:
    """Check the keys of a run."""
    if message.unique_key and (run.count > 1 or run.is_join):
        raise Refusal("MALFORMED", f"the run at node {run.first} has a unique key and is not one task")
    run.fairness_key = check_name(message.fairness_key, "a fairness key")
    run.concurrency_key = check_name(message.concurrency_key, "a concurrency key")
    run.unique_key = check_name(message.unique_key, "a unique key")


def _edge(message: graph_pb2.Edge, child: int, node_count: int) -> Edge:
    if message.parent >= node_count:
        raise Refusal("DANGLING_EDGE", f"node {child} waits for node {message.parent}, which the graph does not have")
    if message.parent >= child:
        raise Refusal(
            "GRAPH_CYCLE",
            f"node {child} waits for node {message.parent}: parents come before their children, so this is a cycle",
        )
    if not 1 <= message.mode <= 4:
        raise Refusal("EDGES_DISAGREE", f"an edge of node {child} has no mode that this coordinator knows: set it")
    # A number from the future is read as the zero value, which means PASS.
    on_failure = message.on_failure if 1 <= message.on_failure <= 3 else 1
    return Edge(message.parent, EdgeMode(message.mode), FailureMode(on_failure))


def _members(message: graph_pb2.NodeRun, join: int) -> tuple[tuple[int, int], ...]:
    members = tuple((one.first, one.count) for one in message.join.members)
    if any(first + count > join for first, count in members):
        raise Refusal("GRAPH_CYCLE", f"join {join} collects a node that does not come before it: this is a cycle")
    if len(members) > 1:
        reached = 0
        for first, count in sorted(one for one in members if one[1]):  # by ranges: many joins may collect many nodes
            if first < reached:
                raise Refusal("DUPLICATE_ID", f"join {join} collects a node twice")
            reached = first + count
    return members


def failure(message: value_pb2.Failure) -> Failure:
    """Give a worker's failure to the core; what it does not need stays opaque."""
    return Failure(
        type_name=message.type_name[: limits.NAME_LIMIT],
        message=message.message[:200],
        reason=message.reason[:64],
        raw=message.SerializeToString(),
    )


def report(message: worker_service_pb2.Report, payload_limit: int) -> Report:
    """Give a report to the core; one that is too large becomes a failure of its task."""
    if message.ByteSize() > payload_limit + limits.MESSAGE_OVERHEAD // 2:
        return Raised(message.token, too_large("the report", message.ByteSize(), payload_limit))
    which = message.WhichOneof("outcome")
    data = message.value.data if which == "value" else message.retry.payload if which == "retry" else b""
    if len(data) > payload_limit:
        what = "the result" if which == "value" else "the new arguments of the retry"
        return Raised(message.token, too_large(what, len(data), payload_limit))
    if which == "value":
        if message.value.WhichOneof("kind") != "data":
            raise Refusal("MALFORMED", "a reported value is not one encoded value: send its bytes as data")
        return Value(message.token, message.value.data, check_content_type(message.value.content_type))
    if which == "failure":
        return Raised(message.token, failure(message.failure))
    if which == "retry":
        retry = message.retry
        content_type = check_content_type(retry.content_type)
        return Retried(
            message.token, min(retry.countdown_ms, _LAST_MS), failure(retry.failure), retry.payload, content_type
        )
    if which == "progressed":
        told = message.progressed
        meta = checked_meta(told.meta, payload_limit)
        return Progressed(message.token, check_state(told.state), meta, check_content_type(told.meta.content_type))
    if which == "rejected":
        return Ended(
            message.token, "requeued" if message.rejected.requeue else "rejected", failure(message.rejected.failure)
        )
    if which == "lost":
        return Ended(message.token, "lost", Failure("WorkerLostError", message.lost.message[:500], "WORKER_LOST"))
    if which is None:
        raise Refusal("MALFORMED", "a report has no outcome that this coordinator knows")
    return Ended(message.token, which)


def check_state(state: str) -> str:
    """Refuse a state of a task's own that is none, or that ends a node."""
    check_name(state, "a state")
    if not state or state in limits.TERMINAL_STATES:
        ends = ", ".join(limits.TERMINAL_STATES)
        raise Refusal(
            "BAD_STATE", f"{state!r} cannot be set: {ends} are set by how a task ends, and a state has a name"
        )
    return state


def checked_meta(meta: value_pb2.Value, payload_limit: int) -> bytes:
    """Refuse what comes with a state where it is too large."""
    if len(meta.data) > payload_limit:
        size = f"what comes with a state has {len(meta.data)} bytes; {payload_limit} are allowed"
        raise Refusal("PAYLOAD_TOO_LARGE", f"{size}: put the data where others can read it and pass its address")
    return meta.data


def too_large(what: str, size: int, limit: int) -> Failure:
    """Return the failure of a value that is over the limit."""
    message = (
        f"{what} has {size} bytes; {limit} are allowed: put the data where others can read it and pass its address"
    )
    return Failure("PayloadTooLarge", message, "TOO_LARGE")


class Outcomes(Protocol):
    """Where outcomes are read."""

    def outcome(self, graph: bytes, index: int) -> Outcome | None:
        """Return how a node settled."""
        ...


def failure_message(found: Failure, graph: bytes, outcomes: Outcomes) -> value_pb2.Failure:
    """Return a failure for the wire; one that was handed on is read where it began."""
    raw = found.raw
    if found.kept_by:
        began = outcomes.outcome(found.kept_in or graph, found.kept_by - 1)
        raw = began.failure.raw if began is not None and began.failure is not None else b""
    if raw:
        message = value_pb2.Failure.FromString(raw)
    else:
        message = value_pb2.Failure(
            type_name=found.type_name, module="grpcflow.errors", message=found.message, reason=found.reason
        )
    if found.origin:
        message.origin = found.origin
    if found.cause is not None:
        message.cause.CopyFrom(failure_message(found.cause, graph, outcomes))
    return message


def result(graph: bytes, index: int, own_id: str, outcome: Outcome, outcomes: Outcomes) -> value_pb2.Result:
    """Return a settled node for the wire."""
    message = value_pb2.Result(
        node=node_id(graph, index),
        id=own_id,
        state=int(outcome.state),  # type: ignore[arg-type]
        settled_at_ms=outcome.settled_ms,
        worker=outcome.worker,
        retries=outcome.retries,
        known=True,
    )
    if outcome.failure is not None:
        message.failure.CopyFrom(failure_message(outcome.failure, graph, outcomes))
    elif outcome.data:
        message.value.data = outcome.data
        message.value.content_type = outcome.content_type
    return message


def ranges(message: Sequence[graph_pb2.Range]) -> list[tuple[int, int]]:
    """Return ranges (first, count) of a node set."""
    return [(one.first, one.count) for one in message]
