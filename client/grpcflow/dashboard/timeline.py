"""When the nodes of a graph waited and ran, a page at a time: what a waterfall is drawn of. Knows no HTTP."""

import time
from typing import TYPE_CHECKING, Any, Final

from grpcflow.graph import reading
from grpcflow.graph.model import Run

if TYPE_CHECKING:
    from grpcflow.dashboard.link import Link

__all__ = ["timeline"]

#: Nodes of a page, at least where there are so many: runs are not torn apart.
_PAGE: Final = 200
#: Runs that are asked for at first.
_FIRST: Final = 1
#: Parents of a run, and those of all the runs of a page, that are asked for where they are on another page.
_FEW: Final = 2
_ASKED: Final = 20


def timeline(link: "Link", id: str, first: int) -> dict[str, Any]:
    """Return the nodes from an index on, in order.

    Since when a node is queued is not told by the coordinator: of one that waits for nothing it is the submission, of
    others the end of the last of its parents, where these are on the same page or few.

    Args:
        link: Whose coordinator is asked.
        id: Id of any node of the graph, or its own.
        first: Index from which on.

    Returns:
        ``rows``, ``next`` (0: there is none), and ``created``; moments as Unix time, None: not yet, or not known.

    Raises:
        NotFound: There is no such graph, or it has expired.
        CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
    """
    rows: list[dict[str, Any]] = []
    ends: dict[int, float] = {}
    count, at, asked = _FIRST, first, 0
    while True:
        page = link.connection.graph_run(id, at, count=count)
        summary = reading.summary(page.summary)
        created = summary.created.timestamp()
        for message in page.runs:
            run = reading.run(message, page.templates, page.summary.graph)
            asked = _learn(link, id, run, ends, asked)
            rows += _rows(run, created, ends)
            at = run.first + run.count
        nodes = summary.tally.nodes
        if not page.runs or at >= nodes or len(rows) >= _PAGE:
            more = at if page.runs and at < nodes else 0
            return {"rows": rows, "next": more, "nodes": nodes, "created": created, "at": time.time()}
        # Where runs are short, as many as are still wanted.
        average = max(1, sum(run.count for run in page.runs) // len(page.runs))
        count = max(1, (_PAGE - len(rows)) // average)


def _learn(link: "Link", id: str, run: Run, ends: dict[int, float], asked: int) -> int:
    """Ask when the few parents of a run ended that are not on the page; returns how often was asked for the page."""
    parents = [parent for edge in run.edges for parent in edge.parents[: _FEW + 1]]
    lacking = [parent for parent in dict.fromkeys(parents) if parent not in ends]
    if run.join or len(parents) > _FEW or asked + len(lacking) > _ASKED:
        return asked
    for parent in lacking:
        page = link.connection.graph_run(id, parent)
        for message in page.runs:
            for node in reading.run(message, page.templates, page.summary.graph).nodes:
                if node.index == parent and node.settled is not None:
                    ends[parent] = node.settled.timestamp()
    return asked + len(lacking)


def _rows(run: Run, created: float, ends: dict[int, float]) -> list[dict[str, Any]]:
    queued = _queued(run, created, ends)
    rows = []
    for node in run.nodes:
        settled = None if node.settled is None else node.settled.timestamp()
        if settled is not None:
            ends[node.index] = settled
        rows.append(
            {
                "index": node.index,
                "id": node.id,
                "task": node.task,
                "state": node.state,
                "worker": node.worker,
                "queued": queued,
                "started": None if node.started is None else node.started.timestamp(),
                "settled": settled,
                "error": node.error,
            }
        )
    return rows


def _queued(run: Run, created: float, ends: dict[int, float]) -> float | None:
    """Return since when the nodes of a run wait for a worker; None: not known, or they never do."""
    if run.join:
        return None
    parents = [parent for edge in run.edges for parent in edge.parents]
    if not parents:
        return created
    known = [ends[parent] for parent in parents if parent in ends]
    return max(known) if len(known) == len(parents) else None
