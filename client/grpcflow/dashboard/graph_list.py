"""Graphs by what is looked for, a page at a time: by id, task, state, arguments, stamp and time. Knows no HTTP."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from grpcflow import errors
from grpcflow.dashboard.pages import plain
from grpcflow.graph import reading
from grpcflow_protos.v1 import graph_service_pb2 as pb

if TYPE_CHECKING:
    from grpcflow.dashboard.link import Link

__all__ = ["found", "listed"]

#: Graphs of a page, and seconds after which what was found by then is shown: the coordinator may hold a million.
_PAGE: Final = 50
_PATIENCE: Final = 2.0
#: Letters of what is looked for.
_LONGEST: Final = 255


def listed(link: "Link", said: Mapping[str, str], clock: Any = time.monotonic) -> dict[str, Any]:
    """Return a page of graphs, the newest first.

    Args:
        link: Whose coordinator is asked.
        said: ``task`` (a pattern, or a part of a name), ``states`` (with commas between), ``argument`` (a text in
            encoded arguments), ``stamp`` (NAME=VALUE), ``since`` and ``until`` (Unix time), ``unfinished``, and
            ``after``: `next` of the page before.
        clock: Monotonic time in seconds.

    Returns:
        ``graphs``, ``next`` (empty: there is none), and ``until``: how far back it has looked where there is more.

    Raises:
        InvalidRequest: There is no such state, or a moment is none.
        CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
    """
    request, graphs, deadline = _request(said), list[dict[str, Any]](), clock() + _PATIENCE
    while True:
        request.limit = _PAGE - len(graphs)
        page = link.connection.list_graphs(request)
        graphs += [plain(reading.summary(message)) for message in page.graphs]
        request.after = page.next
        if not page.next or len(graphs) >= _PAGE or clock() > deadline:
            # Ids begin with the time at which they were made.
            looked = int.from_bytes(page.next[:6], "big") / 1000 if page.next else 0
            return {"graphs": graphs, "next": page.next.hex(), "until": looked, "at": time.time()}


def found(link: "Link", text: str) -> str:
    """Return the graph that an id names, be it of a task, a graph, or a user's own; "": none.

    Raises:
        CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
    """
    if not text or len(text) > _LONGEST:
        return ""
    try:
        return link.connection.graph_summary(text).graph.hex()
    except (errors.NotFound, errors.InvalidRequest):
        return ""


def _request(said: Mapping[str, str]) -> pb.ListGraphsRequest:
    try:
        task = said.get("task", "").strip()[:_LONGEST]
        return pb.ListGraphsRequest(
            states=[reading.state_number(name) for name in said.get("states", "").split(",") if name],
            task=task if not task or any(letter in task for letter in "*?") else f"*{task}*",
            since_ms=_milliseconds(said.get("since", "")),
            until_ms=_milliseconds(said.get("until", "")),
            unfinished=said.get("unfinished") == "1",
            argument=said.get("argument", "").strip(),
            stamp=said.get("stamp", "").strip(),
            after=bytes.fromhex(said.get("after", "")),
        )
    except (ValueError, OverflowError) as error:
        raise errors.InvalidRequest(str(error), code="BAD_ARGUMENTS") from None


def _milliseconds(text: str) -> int:
    return max(1, round(datetime.fromtimestamp(float(text), UTC).timestamp() * 1000)) if text else 0
