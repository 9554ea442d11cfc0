"""The short way for one call with nothing around it, which is most of what is submitted.

What it gives is what the walk would give; where it cannot tell at a glance, it leaves the call to the walk. Pure; it
may not import grpc or protobuf.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from grpcflow.lower.keys import NO_KEYS
from grpcflow.lower.model import LoweredGraph, TemplateSpec
from grpcflow.lower.templates import Calls

__all__ = ["Plain", "plain", "plain_call", "plain_of"]

#: A call that shares nothing with others: its template and its encoded arguments.
Plain = tuple[TemplateSpec, bytes]


def plain(canvas: Mapping[str, Any], calls: Calls) -> Plain | None:
    """Return a signature as a plain call; None where it is more than that.

    Args:
        canvas: A signature of any kind.
        calls: Makes templates and payloads.

    Raises:
        The errors of ``lower``.
    """
    if canvas["subtask_type"] is not None or canvas["options"] or calls.asks_for_routes:
        return None
    name, args, kwargs = canvas["task"], canvas["args"], canvas["kwargs"]
    check = calls.checker(name)
    if check is not None:
        check(args, kwargs, 0)
    return plain_call(name, args, kwargs, calls)


def plain_call(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], calls: Calls) -> Plain | None:
    """Return a call whose arguments were checked as a plain call; None where it is more than that.

    Args:
        name: Name of the task.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        calls: Makes templates and payloads.

    Raises:
        SerializationError: An argument cannot travel.
        PayloadTooLarge: The encoded arguments are over the limit.
    """
    template = calls.template(name)
    return None if template.is_tied else (template, calls.payload(template, args, kwargs))


def plain_of(graph: LoweredGraph) -> Plain | None:
    """Return a lowered graph as a plain call; None where it is more than that."""
    if graph.node_count != 1:
        return None
    [run] = graph.runs
    if run.members is not None or run.id or run.keys is not NO_KEYS or graph.outcome.callbacks:
        return None
    template = graph.templates[run.template]
    return None if template.is_tied else (template, run.payloads[0])
