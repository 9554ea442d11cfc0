"""All that is known of one call that failed, for `grpcflow failed show`: gathered here, drawn in ``failed_screen``."""

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from grpcflow.cli.invocation import Invocation, Unknown
from grpcflow.graph.model import Explanation, Node, Summary, plain

if TYPE_CHECKING:
    from grpcflow.settled import Settled
    from grpcflow_protos.v1 import value_pb2

__all__ = ["Story", "told"]

#: States of a call that failed for good.
_FAILED: Final = ("FAILURE", "REJECTED")


@dataclass(frozen=True, slots=True)
class Story:
    """A call that failed.

    Attributes:
        id: Its id.
        state: FAILURE or REJECTED.
        task: Name of the task; empty: it collects the members of a group.
        queue: Name of its queue.
        priority: 0 to 9.
        error: The failure in short, ``type: message``; empty: it has none.
        reason: Stable code where grpcflow made the failure itself; empty: the task raised it.
        traceback: As the worker kept it; empty: there is none.
        origin: Id of the call where the failure began; empty: here.
        failed_at: When, UTC; None: it is not known.
        worker: Name of the worker that ran it last; empty: none did.
        args: The positional arguments; None: they cannot be shown.
        kwargs: The keyword arguments; None likewise.
        arguments: Why the arguments cannot be shown; empty: they can.
        node: How it stands in its graph.
        graph: Its graph in short.
        why: Why it is where it is.
    """

    id: str
    state: str
    task: str
    queue: str
    priority: int
    error: str
    reason: str
    traceback: str
    origin: str
    failed_at: datetime | None
    worker: str
    args: list[Any] | None
    kwargs: dict[str, Any] | None
    arguments: str
    node: Node
    graph: Summary
    why: Explanation

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        own = (
            "id",
            "state",
            "task",
            "queue",
            "priority",
            "error",
            "reason",
            "traceback",
            "origin",
            "failed_at",
            "worker",
        )
        shown = {name: plain(getattr(self, name)) for name in own}
        shown |= {"args": self.args, "kwargs": self.kwargs, "retries": self.node.retries, "losses": self.node.losses}
        return {**shown, "index": self.node.index, "graph": self.graph.to_dict(), "explanation": self.why.to_dict()}


def told(said: Invocation, id: str) -> Story:
    """Return all that is known of a call that failed.

    Raises:
        Unknown: The coordinator does not know it, or it has not failed.
        GrpcflowError: The coordinator could not be asked.
    """
    from grpcflow.graph.view import GraphView, explain

    settled = said.connection.lookup([id], details=True)[0]
    if settled is None:
        raise Unknown(f"The coordinator does not know {id}: it never did, or its time is over.")
    if settled.state not in _FAILED:
        raise Unknown(f"{id} has not failed: it is {settled.state}. `grpcflow explain {id}` says more.")
    view = GraphView(said, id)
    failure, details = settled.failure, settled.details
    args, kwargs, note = _arguments(said, settled)
    return Story(
        id=id,
        state=settled.state,
        task=details.task if details is not None else "",
        queue=details.queue if details is not None else "",
        priority=details.priority if details is not None else 0,
        error=_short(failure) if failure is not None else "",
        reason=failure.reason if failure is not None else "",
        traceback=failure.traceback.rstrip("\n") if failure is not None else "",
        origin=failure.origin if failure is not None else "",
        failed_at=settled.settled_at,
        worker=settled.worker,
        args=args,
        kwargs=kwargs,
        arguments=note,
        node=view.node(),
        graph=view.summary,
        why=explain(said, id),
    )


def _short(failure: "value_pb2.Failure") -> str:
    return f"{failure.type_name}: {failure.message}" if failure.message else failure.type_name


def _arguments(said: Invocation, settled: "Settled") -> tuple[list[Any] | None, dict[str, Any] | None, str]:
    """Return the arguments of a call, or why they cannot be shown; the app's settings are asked only where needed."""
    from grpcflow import codec, errors

    call = settled.details
    if call is None or not call.task:
        return None, None, "it collects the members of a group, and takes none"
    if not call.payload:
        return None, None, "gone: they were kept for a shorter time than the rest, so it cannot be retried either"
    try:
        try:
            args, kwargs = codec.decode_call(call.payload, call.content_type)
        except errors.ContentDisallowed:
            accepted = said.app_or_plain().conf.accepted_values
            args, kwargs = codec.decode_call(call.payload, call.content_type, accept=accepted)
    except errors.SerializationError as error:
        return None, None, f"cannot be read here: {error}"
    return args, kwargs, ""
