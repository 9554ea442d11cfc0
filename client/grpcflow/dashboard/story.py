"""All that is known of one node, when somebody asks: arguments, result, error, attempts, why it is where it is.

What it shows is text: values are decoded where that is harmless (never pickle), written out, and cut. Knows no HTTP.
"""

from typing import TYPE_CHECKING, Any, Final

from grpcflow import codec, errors, ids
from grpcflow.dashboard.pages import plain
from grpcflow.event_model import EventFilter
from grpcflow.graph.model import Summary
from grpcflow.graph.view import GraphView, explain

if TYPE_CHECKING:
    from grpcflow.dashboard.link import Link
    from grpcflow.settled import Settled
    from grpcflow_protos.v1 import value_pb2

__all__ = ["story"]

#: Letters of a value and of a traceback that are shown.
_VALUE: Final = 20_000
_TRACE: Final = 60_000
#: Lines of its log that are shown, the last ones, and letters of each.
_LINES: Final = 500
_LINE: Final = 4_000
#: Nodes of a graph up to which its events are read for what happened to one of them, and most of those.
_SMALL: Final = 5_000
_EVENTS: Final = 1_000


def story(link: "Link", id: str) -> dict[str, Any]:
    """Return what is known of a node.

    Args:
        link: Whose coordinator is asked.
        id: Its id, as users know it.

    Raises:
        NotFound: There is none, or it has expired.
        CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
    """
    connection = link.connection
    settled = connection.lookup([id], states_only=True, details=True)[0]
    if settled is None:
        raise errors.NotFound(f"there is no task {id!r}, or it has expired", code="UNKNOWN_NODE")
    view = GraphView(link, id)
    node, call = view.node(), settled.details
    args, kwargs, note = _arguments(settled)
    inputs = _inputs(view, node.index) if view.summary.tally.nodes <= _SMALL else []
    if settled.state not in ("SUCCESS", "PENDING", "STARTED", "RECEIVED", "RETRY"):
        settled = connection.lookup([id])[0] or settled
    return {
        "id": id,
        "graph": view.summary.graph,
        "task": node.task,
        "queue": node.queue,
        "priority": call.priority if call is not None else 0,
        "node": plain(node),
        "args": None if args is None else [_text(one) for one in args],
        "kwargs": None if kwargs is None else {name: _text(one) for name, one in kwargs.items()},
        "arguments": note,
        "inputs": inputs,
        "python": _python(node.task, node.queue, args, kwargs, inputs),
        # Of a call whose arguments nobody is to be shown, nobody is shown the value either.
        "result": _result(link, id, settled, is_join=not node.task) if args is not None or not node.task else None,
        "failure": _failure(settled.failure),
        "why": plain(explain(link, id)),
        "log": _logged(link, id),
        "events": _happened(link, id, node.index, view.summary) if view.summary.tally.nodes <= _SMALL else [],
    }


def _arguments(settled: "Settled") -> tuple[list[Any] | None, dict[str, Any] | None, str]:
    """Return the arguments of a call, or why they cannot be shown."""
    call = settled.details
    if call is None or not call.task:
        return None, None, "It collects the values of others, and takes none."
    if not call.payload:
        return None, None, "They are not kept any more, or nobody is to be shown them."
    try:
        args, kwargs = codec.decode_call(call.payload, call.content_type)
    except errors.SerializationError as error:
        return None, None, f"They cannot be read here: {error}"
    return list(args), dict(kwargs), ""


def _inputs(view: GraphView, index: int) -> list[str]:
    """Return the ids of the tasks whose values a node gets as its first arguments."""
    for run in view.runs():
        if run.first <= index < run.first + run.count:
            graph = bytes.fromhex(view.summary.graph)
            return [ids.node_id(graph, parent) for edge in run.edges if edge.kind == "value" for parent in edge.parents]
    return []


def _result(link: "Link", id: str, settled: "Settled", *, is_join: bool) -> str | None:
    """Return the value as text; None: there is none to show."""
    if settled.state != "SUCCESS":
        return None
    if is_join:
        return "the list of what its members returned"
    found = link.connection.lookup([id])[0]
    if found is None or found.data is None:
        return None
    try:
        return _text(codec.decode(found.data, found.content_type or codec.JSON))
    except errors.SerializationError as error:
        return f"it cannot be read here: {error}"


def _failure(failure: "value_pb2.Failure | None") -> dict[str, str] | None:
    if failure is None:
        return None
    return {
        "type": failure.type_name,
        "message": _text(failure.message, plainly=True),
        "traceback": failure.traceback.rstrip("\n")[-_TRACE:],
        "reason": failure.reason,
        "origin": failure.origin,
    }


def _logged(link: "Link", id: str) -> list[dict[str, Any]]:
    """Return the last lines that the attempts of a node logged, in order."""
    return [
        {
            "attempt": line.attempt,
            "time": line.time.timestamp(),
            "level": line.level,
            "logger": line.logger,
            "text": line.text if len(line.text) <= _LINE else f"{line.text[:_LINE]}… ({len(line.text):,} letters)",
        }
        for line in link.connection.read_logs(id, tail=_LINES)
    ]


def _happened(link: "Link", id: str, index: int, graph: Summary) -> list[dict[str, Any]]:
    """Return what the feed still tells of a node, in order."""
    found: list[dict[str, Any]] = []
    since = int(graph.created.timestamp() * 1000)
    for page in link.connection.read_events(EventFilter(since_ms=since, id=id, limit=_EVENTS)):
        for event in page.events if page is not None else ():
            if event.kind == "task-sent" or index in event.nodes:
                told = {"kind": event.kind, "time": event.time.timestamp(), "worker": event.worker}
                found.append({**told, "detail": event.detail, "retries": event.retries})
    return found


def _python(task: str, queue: str, args: list[Any] | None, kwargs: dict[str, Any] | None, inputs: list[str]) -> str:
    """Return code that makes the same call again; "": it cannot be told, or is too long to be read."""
    if not task or args is None or kwargs is None:
        return ""
    before = [f"app.AsyncResult({id!r}).get()" for id in inputs]
    given = ", ".join([*before, *map(repr, args)])
    words = [repr(task), *([f"args=[{given}]"] if given else []), *([f"kwargs={kwargs!r}"] if kwargs else [])]
    code = f"app.send_task({', '.join(words)}, queue={queue!r})"
    return code if len(code) <= _VALUE else ""


def _text(value: Any, *, plainly: bool = False) -> str:
    text = value if plainly and isinstance(value, str) else repr(value)
    return text if len(text) <= _VALUE else f"{text[:_VALUE]}… ({len(text):,} letters)"
