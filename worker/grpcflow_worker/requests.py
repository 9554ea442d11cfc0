"""The requests (`task.request`) of the attempts of one run.

What the attempts share is computed once for the run. It may NOT know processes, threads, sockets or gRPC, and it
calls no user code.
"""

import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from grpcflow import codec, errors
from grpcflow.context import RESERVED_HEADERS, Context
from grpcflow_worker.executor import Call, CallRun
from grpcflow_worker.log_lines import LogLine

__all__ = ["read_headers", "request_maker"]

#: Makes the request of the attempt at an offset from its args and kwargs.
RequestMaker = Callable[[int, Sequence[Any], Mapping[str, Any]], Context]


def read_headers(call: Call, accept: Collection[str]) -> Mapping[str, Any]:
    """Return the headers of a call.

    Raises:
        SerializationError: they are no mapping, or cannot be read.
        ContentDisallowed: their content type is not accepted.
    """
    if not call.headers:
        return {}
    headers = codec.decode(call.headers, call.headers_content_type or codec.JSON, accept=accept)
    if not isinstance(headers, dict):
        raise errors.SerializationError("the headers of a call must be a mapping of names to values")
    return headers


def request_maker(
    run: CallRun,
    headers: Mapping[str, Any],
    hostname: str,
    progress: Callable[[int, str, bytes, str], None] | None,
    log: Callable[[int, LogLine], None] | None,
) -> RequestMaker:
    """Return a function that makes the request of one attempt of a run.

    Args:
        run: the run.
        headers: its headers, read; those that grpcflow itself sends become fields of their own.
        hostname: name of the worker.
        progress: told of what the running task says by `update_state`.
        log: told of what it prints and logs, unless it is sensitive.
    """
    shared = _shared(run, headers, hostname)
    if progress is not None:
        shared["_report"] = progress
    if log is not None and not run.call.sensitive:
        shared["_log"] = log
    text = run.graph.hex()
    prefix = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    graph, first, token, root_id = run.graph, run.first, run.token, run.call.root_id
    own_id, group, group_index = run.id, run.group, run.group_index
    # Where the submission says nothing, the root is the first call of the graph; only that one may have an own id then.
    if not root_id and not run.call.apart:
        root_id = own_id if own_id and first == 0 else f"{prefix}{0:08x}"

    def make(offset: int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Context:
        index = first + offset
        node = own_id or f"{prefix}{index:08x}"
        fields = shared.copy()
        fields["id"] = node
        fields["args"] = args
        fields["kwargs"] = kwargs
        fields["root_id"] = root_id or node
        fields["_node"] = graph + index.to_bytes(4, "big")
        fields["_token"] = token + offset
        if group:
            fields["group_index"] = group_index + offset
        return Context.of_fields(fields)

    return make


def _shared(run: CallRun, headers: Mapping[str, Any], hostname: str) -> dict[str, Any]:
    """Return the fields that are the same for all attempts of a run and are not the default."""
    call = run.call
    fields: dict[str, Any] = {
        "task": call.task,
        "retries": run.retries,
        "losses": run.losses,
        "hostname": hostname,
        "ignore_result": call.ignore_result,
        "sensitive": call.sensitive,
        "called_directly": False,
        "delivery_info": {
            "exchange": "",
            "routing_key": call.queue,
            "queue": call.queue,
            "priority": call.priority,
            "redelivered": run.losses > 0,
        },
    }
    if run.after:
        fields["_after"] = run.after
    if call.parent_id:
        fields["parent_id"] = call.parent_id
    if call.eta is not None:
        fields["eta"] = datetime.fromisoformat(call.eta)
    if call.expires is not None:
        fields["expires"] = datetime.fromisoformat(call.expires)
    if call.time_limit is not None:
        fields["time_limit"] = call.time_limit
    if call.soft_time_limit is not None:
        fields["soft_time_limit"] = call.soft_time_limit
    if call.replaced_nesting:
        fields["replaced_task_nesting"] = call.replaced_nesting
    if run.group:
        fields["group"] = str(uuid.UUID(bytes=run.group))
        if run.in_chord:
            fields["chord"] = fields["group"]
    if headers:
        fields |= _from_headers(headers)
    return fields


def _from_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    fields = {name: headers[name] for name in ("stamps", "shadow", "origin", "reply_to") if headers.get(name)}
    fields["headers"] = {name: value for name, value in headers.items() if name not in RESERVED_HEADERS}
    return fields
