"""What happens around the sending of a lowered graph: the signals of publishing, and more tries.

Knows what a receiver is told and when to try again; what is sent is made elsewhere. It may not import grpc or protobuf.
"""

import dataclasses
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from grpcflow import codec, ids
from grpcflow.errors import CoordinatorUnavailable, ImproperlyConfigured
from grpcflow.setting_values import POLICY, TESTS
from grpcflow.signals import after_task_publish, before_task_publish
from grpcflow_protos.limits import HIDDEN

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.exchange import Exchange
    from grpcflow.lower.model import LoweredGraph, Run

__all__ = ["emit_after", "emit_before", "publish", "rest_here", "rest_on_loop", "retry_policy"]

#: The policy of a submission that is not tried again.
_ONCE: Final[Mapping[str, Any]] = {**POLICY, "max_retries": 0}

_TRIED_AGAIN: Final[tuple[type[BaseException], ...]] = (CoordinatorUnavailable,)


def retry_policy(app: "Grpcflow", options: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the policy of a submission; None: the connection's own tries are enough.

    Those come to what the default policy says, and they are for the whole process; so only another policy adds tries.

    Args:
        app: Whose settings hold.
        options: Options of the submission: ``retry`` and ``retry_policy`` are read.

    Raises:
        ImproperlyConfigured: It is no policy.
    """
    given = options.get("retry_policy")
    holds, words = TESTS["task_publish_retry_policy"]
    if given is not None and not holds(given):
        raise ImproperlyConfigured(f"the option retry_policy is {given!r}; it must be {words}.", code="BAD_OPTION")
    wanted = options.get("retry")
    if not (app.conf.task_publish_retry if wanted is None else wanted):
        return _ONCE
    policy = {**POLICY, **app.conf.task_publish_retry_policy, **(given or {})}
    return None if policy == POLICY else policy


async def publish(
    connection: "Exchange",
    chunks: Sequence[Any],
    policy: Mapping[str, Any] | None,
    rest: Callable[[float], Awaitable[None]],
) -> None:
    """Submit a graph, again and again as the policy says; its id makes all tries the same submission.

    Args:
        connection: Where to.
        chunks: The graph.
        policy: How often, and after which time; None: as the connection does.
        rest: Waits so many seconds between two tries.

    Raises:
        CoordinatorUnavailable: No try reached a coordinator.
        GrpcflowError: The coordinator refused it.
    """
    if policy is None:
        await connection.asubmit(chunks)
        return
    if policy["max_retries"] == 0:
        await connection.asubmit(chunks, retry=False)
        return
    again = (*_TRIED_AGAIN, *(policy.get("retry_errors") or ()))
    failures = 0
    while True:
        try:
            await connection.asubmit(chunks)
        except again:
            failures += 1
            if policy["max_retries"] is not None and failures > policy["max_retries"]:
                raise
            steps = policy["interval_start"] + policy["interval_step"] * (failures - 1)
            await rest(min(steps, policy["interval_max"]))
        else:
            return


#: Waits between two tries of a thread; tests put theirs here.
pause = time.sleep


async def rest_here(seconds: float) -> None:
    """Wait between two tries, in a thread."""
    pause(seconds)


async def rest_on_loop(seconds: float) -> None:
    """Wait between two tries, on an event loop."""
    import asyncio  # it runs, so this costs nothing now

    await asyncio.sleep(seconds)


def emit_before(app: "Grpcflow", graph: "LoweredGraph", graph_id: bytes, policy: Mapping[str, Any] | None) -> None:
    """Tell who listens to ``before_task_publish`` of each call; headers that a receiver adds travel with the call.

    Args:
        app: Whose calls they are.
        graph: The lowered graph; changed where headers were added.
        graph_id: The 12 bytes of its id.
        policy: How it is tried again.

    Raises:
        SerializationError: A header that was added cannot travel.
    """
    told = dict(policy or app.conf.task_publish_retry_policy)
    runs: list[Run] = []
    for run in graph.runs:
        added: dict[int, dict[str, Any]] = {}
        name = "" if run.members is not None else graph.templates[run.template].task
        if name and before_task_publish.has_listeners(name):
            for position in range(run.count):
                about = _described(graph, graph_id, run, position)
                known = set(about["headers"])
                properties = {"correlation_id": about["headers"]["id"], "reply_to": about["headers"].get("reply_to")}
                before_task_publish.send(name, **about, declare=[], retry_policy=told, properties=properties)
                if more := {key: value for key, value in about["headers"].items() if key not in known}:
                    added[position] = more
        runs += _with_headers(graph, run, added) if added else [run]
    graph.runs[:] = runs


def emit_after(graph: "LoweredGraph", graph_id: bytes) -> None:
    """Tell who listens to ``after_task_publish`` of each call of a graph; parameters as for ``emit_before``."""
    for run in graph.runs:
        name = "" if run.members is not None else graph.templates[run.template].task
        if name and after_task_publish.has_listeners(name):
            for position in range(run.count):
                after_task_publish.send(name, **_described(graph, graph_id, run, position))


def _with_headers(graph: "LoweredGraph", run: "Run", added: Mapping[int, Mapping[str, Any]]) -> "list[Run]":
    """Return a run as runs of one, each with a template that has its own headers."""
    parts = []
    template = graph.templates[run.template]
    own = codec.decode(template.headers) if template.headers else {}
    for position, payload in enumerate(run.payloads):
        index = run.template
        if position in added:
            index = len(graph.templates)
            headers = codec.encode({**own, **added[position]}, path="headers")
            graph.templates.append(dataclasses.replace(template, headers=headers))
        part = replace(run, first=run.first + position, template=index, payloads=[payload], size=len(payload))
        part.group_index = run.group_index + position
        parts.append(part)
    return parts


def _described(graph: "LoweredGraph", graph_id: bytes, run: "Run", position: int) -> dict[str, Any]:
    """Return what both signals tell of a call, under the names of Celery's messages."""
    template = graph.templates[run.template]
    task_id = run.id or ids.node_id(graph_id, run.first + position)
    root_id = template.root_id or graph.runs[0].id or ids.node_id(graph_id, 0)
    content = template.content_type or codec.JSON
    args, kwargs = codec.decode_call(run.payloads[position], content, accept=(content,))
    own = codec.decode(template.headers) if template.headers else {}
    headers = {
        **own,
        "lang": "py",
        "task": template.task,
        "id": task_id,
        "root_id": root_id,
        "parent_id": template.parent_id or None,
        "eta": template.eta and template.eta.isoformat(),
        "expires": template.expires_at and template.expires_at.isoformat(),
        "retries": 0,
        "timelimit": [template.time_limit, template.soft_time_limit],
        "argsrepr": HIDDEN if template.sensitive else repr(tuple(args)),
        "kwargsrepr": HIDDEN if template.sensitive else repr(kwargs),
        "ignore_result": template.ignore_result,
        "origin": f"{os.getpid()}@{socket.gethostname()}",
    }
    body = (args, kwargs, {"callbacks": None, "errbacks": None, "chain": None, "chord": None})
    return {"body": body, "exchange": "", "routing_key": template.queue, "headers": headers}
