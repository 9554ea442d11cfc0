"""The view of one graph, and the list of all: lazy, in pages, through the app's connection.

Protobuf is imported when something is asked.
"""

import json
from collections.abc import Callable, Collection, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol, Self

from grpcflow import ids
from grpcflow.errors import NotFound
from grpcflow.graph.boxes import LIMIT, Picture, fold
from grpcflow.graph.model import Cancelled, Edge, Explanation, Node, Retried, Run, Summary

if TYPE_CHECKING:
    from grpcflow.connection import Connection
    from grpcflow_protos.v1 import graph_service_pb2 as pb

__all__ = ["GraphView", "explain", "graphs"]

#: Graphs of one page of a list.
_LISTED: Final = 100

#: What of a tally tells whether a run may have a node in a state; all others are states of unsettled nodes.
_SETTLED: Final = {
    "SUCCESS": "succeeded",
    "FAILURE": "failed",
    "REVOKED": "revoked",
    "REJECTED": "rejected",
    "IGNORED": "ignored",
}


class _HasConnection(Protocol):
    """An app, or anything else with a connection."""

    @property
    def connection(self) -> "Connection":
        """The connection to the coordinator."""
        ...


class GraphView:
    """One graph as a thing. Making it asks nobody; what is asked is asked in pages, so a graph may be of any size.

    The summary is kept until ``refresh()``; everything else is asked for each time.

    Args:
        app: The app whose coordinator knows the graph.
        id: Id of any of its nodes, or its own 24 hexadecimal digits.
        on_retry: Called once the graph runs again: a result lets go of the end that it knew. None: nothing.

    Raises:
        NotFound: Raised by all methods that ask: the coordinator knows no such graph, or it has expired.
        CoordinatorUnavailable: Raised likewise: it could not be reached.
    """

    def __init__(self, app: _HasConnection, id: str, *, on_retry: Callable[[], None] | None = None) -> None:
        self._app = app
        self._asked = id
        self._on_retry = on_retry
        self._summary: Summary | None = None

    @property
    def _calls(self) -> "Connection":
        return self._app.connection

    # --- in short -----------------------------------------------------------------------------------------

    @property
    def summary(self) -> Summary:
        """The graph in short, as it stood at the first question or at the last ``refresh()``."""
        if self._summary is None:
            self.refresh()
        assert self._summary is not None
        return self._summary

    def refresh(self) -> Self:
        """Ask how the graph stands now; returns this view."""
        self._take(self._calls.graph_summary(self._asked))
        return self

    def _take(self, message: "pb.GraphSummary") -> Summary:
        from grpcflow.graph import reading

        self._summary = reading.summary(message)
        return self._summary

    @property
    def id(self) -> str:
        """Id of the node whose value is the value of the whole."""
        return self.summary.id

    @property
    def state(self) -> str:
        """Where that node stands; before it settles STARTED once anything of the graph runs or has settled."""
        return self.summary.state

    # --- in pages -----------------------------------------------------------------------------------------

    def runs(self, *, every: bool = False) -> Iterator[Run]:
        """Yield the graph's runs in order: neighbouring nodes that differ in their arguments only.

        Args:
            every: True: with all their nodes; False: of a run of many only the first 10 that did not succeed.
        """
        for page in self._calls.graph_pages(self._asked, every_node=every):
            yield from self._runs_of(page)

    def _runs_of(self, page: Any) -> Iterator[Run]:
        from grpcflow.graph import reading

        for message in page.runs:
            yield reading.run(message, page.templates, page.summary.graph)

    def _run_at(self, index: int, *, every: bool) -> Run:
        """Return the run of one node."""
        return next(self._runs_of(self._calls.graph_run(self._asked, index, every_node=every)))

    def nodes(self, states: Collection[str] | str | None = None, *, every: bool = True) -> Iterator[Node]:
        """Yield the graph's nodes in order.

        Args:
            states: Only those in one of these states; runs that have none are passed over unread. None: all.
            every: False: of a run of many only the first 10 that did not succeed. Default True.
        """
        wanted = None if states is None else {states} if isinstance(states, str) else set(states)
        if wanted is None or not every:
            for run in self.runs(every=every):
                yield from (node for node in run.nodes if wanted is None or node.state in wanted)
            return
        for run in self.runs():
            if run.count > 1 and _may_have(run, wanted):
                run = self._run_at(run.first, every=True)
            yield from (node for node in run.nodes if node.state in wanted)

    def node(self) -> Node:
        """Return how the node stands whose id the view was made of; of a graph's own id: the one that counts."""
        wanted = self.id if self._asked == self.summary.graph else self._asked
        place = ids.parse(wanted)
        if place is not None:
            for run in self._runs_of(self._calls.graph_run(self._asked, place[1], every_node=True)):
                if run.first == place[1]:  # else it stands within a run that begins before it
                    return run.nodes[0]
        for run in self.runs():
            if run.id == wanted:
                return run.nodes[0]
            if place is not None and run.first <= place[1] < run.first + run.count:
                return self._run_at(run.first, every=True).nodes[place[1] - run.first]
        raise NotFound(f"there is no task {wanted!r} in its graph, or it has expired", code="UNKNOWN_NODE")

    def edges(self) -> Iterator[Edge]:
        """Yield what waits for what, folded: the members of a group are one edge."""
        for run in self.runs():
            yield from run.edges

    def to_dict(self, *, every: bool = False) -> dict[str, Any]:
        """Return all of it as plain data: the summary's fields, and ``runs``.

        Args:
            every: True: with every node of every run. Default False.
        """
        return {**self.refresh().summary.to_dict(), "runs": [run.to_dict() for run in self.runs(every=every)]}

    def to_json(self, *, every: bool = False) -> Iterator[str]:
        """Yield the same as the pieces of one JSON document, of which no more than a page is held.

        Args:
            every: As in ``to_dict``.
        """
        head = json.dumps(self.refresh().summary.to_dict(), indent=2, ensure_ascii=False)
        yield head.removesuffix("\n}") + ',\n  "runs": ['
        comma = "\n"
        for run in self.runs(every=every):
            yield comma + "    " + json.dumps(run.to_dict(), ensure_ascii=False)
            comma = ",\n"
        yield "]\n}" if comma == "\n" else "\n  ]\n}"

    # --- as a picture -------------------------------------------------------------------------------------

    def picture(self, limit: int = LIMIT) -> Picture:
        """Return it as boxes and lines: what ``tree``, ``dot`` and ``svg`` draw.

        Args:
            limit: Most boxes; what is beyond them is left out and counted. Default 500.

        Raises:
            ValueError: The limit is below 1.
        """
        summary = self.refresh().summary
        end = int(summary.id[-8:], 16) if ids.parse(summary.id) else self._end_by_name(summary.id)
        return fold(summary, self.runs(), end, lambda: self._run_at(end, every=False), limit)

    def _end_by_name(self, name: str) -> int:
        """Return the index of the node with an id of the user's own."""
        return next(run.first for run in self.runs() if run.id == name)

    def tree(self, limit: int = LIMIT) -> str:
        """Return it as lines of text: steps one below the other, members of groups further in.

        Args:
            limit: As in ``picture``.
        """
        from grpcflow.graph.tree import tree

        return tree(self.picture(limit))

    def dot(self, limit: int = LIMIT) -> str:
        """Return it in Graphviz's language.

        Args:
            limit: As in ``picture``.
        """
        from grpcflow.graph.dot import dot

        return dot(self.picture(limit))

    def svg(self, limit: int = LIMIT) -> str:
        """Return it as a picture, an SVG document; nothing else needs to be installed.

        Args:
            limit: As in ``picture``.
        """
        from grpcflow.graph.svg import svg

        return svg(self.picture(limit))

    # --- what is done to it -------------------------------------------------------------------------------

    def cancel(self, terminate: bool = False, signal: str = "SIGTERM") -> Cancelled:
        """End everything of it that has not settled, and of the graphs that run in place of its tasks.

        A graph that has ended is left as it is, and that is told.

        Args:
            terminate: True: running tasks are stopped; False: they run to their end, which counts for nothing.
            signal: Name of the signal to stop them with.

        Raises:
            InvalidRequest: There is no such signal.
        """
        from grpcflow.graph import reading

        done = reading.cancelled(self._calls.cancel_graph(self._asked, terminate, signal))
        self._summary = None
        return done

    def retry(self) -> Retried:
        """Run again what did not succeed; what succeeded keeps its value, and the ids stay as they are.

        A result object that has seen its failure keeps it: take a new one, ``app.AsyncResult(id)``. The result whose
        ``graph()`` this is looks again.

        Raises:
            StillRunning: It has not ended: wait for its end, or cancel it first.
        """
        from grpcflow.graph import reading

        done = reading.retried(self._calls.retry_graph(self._asked))
        self._summary = None
        if self._on_retry is not None:
            self._on_retry()
        return done

    def explain(self) -> Explanation:
        """Say why the node whose value is the value of the whole is where it is."""
        return explain(self._app, self.id)

    def __repr__(self) -> str:
        return f"<GraphView {self._asked}>"

    def __str__(self) -> str:
        """Return it on one line."""
        return f"{self.id} {self.state}: {self.summary.tally}"


def _may_have(run: Run, states: set[str]) -> bool:
    """Return whether a run may have a node in one of these states."""
    if any(getattr(run.tally, _SETTLED[state]) for state in states if state in _SETTLED):
        return True
    return bool(run.tally.unsettled) and not states <= set(_SETTLED)


def graphs(
    app: _HasConnection,
    *,
    states: Collection[str] | str = (),
    task: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int | None = None,
    attached: bool = False,
    unfinished: bool = False,
    oldest_first: bool = False,
) -> Iterator[Summary]:
    """Yield the graphs that the coordinator knows, the newest first; pages are asked for as they are needed.

    Args:
        app: The app whose coordinator is asked.
        states: Only graphs in one of these states.
        task: Only graphs that call this task; a pattern with ``*`` and ``?``.
        since: Only graphs submitted then or later, with a time zone.
        until: Only graphs submitted before, with a time zone.
        limit: Most graphs; None: all.
        attached: True: also graphs that run in place of a task of another one.
        unfinished: True: only graphs of which some node has not settled.
        oldest_first: True: the oldest first.

    Raises:
        ValueError: There is no such state, or a moment has no time zone.
        CoordinatorUnavailable: It could not be reached.
    """
    from grpcflow.graph import reading
    from grpcflow_protos.v1 import graph_service_pb2

    names = [states] if isinstance(states, str) else list(states)
    request = graph_service_pb2.ListGraphsRequest(
        states=[reading.state_number(name) for name in names],
        task=task,
        since_ms=_milliseconds(since, "since"),
        until_ms=_milliseconds(until, "until"),
        attached=attached,
        unfinished=unfinished,
        oldest_first=oldest_first,
    )
    return _listed(app, request, limit)


def _listed(app: _HasConnection, request: "pb.ListGraphsRequest", limit: int | None) -> Iterator[Summary]:
    from grpcflow.graph import reading

    given = 0
    while limit is None or given < limit:
        request.limit = _LISTED if limit is None else min(_LISTED, limit - given)
        page = app.connection.list_graphs(request)
        for message in page.graphs:
            yield reading.summary(message)
        given += len(page.graphs)
        if not page.next:
            return
        request.after = page.next


def _milliseconds(moment: datetime | None, name: str) -> int:
    if moment is None:
        return 0
    if moment.tzinfo is None:
        message = f"{name}={moment} has no time zone: say datetime.now(UTC), or app.now()"
        raise ValueError(message)
    return max(1, int(moment.timestamp() * 1000))


def explain(app: _HasConnection, id: str) -> Explanation:
    """Say why a task is where it is.

    Args:
        app: The app whose coordinator is asked.
        id: Id of the task.

    Raises:
        NotFound: The coordinator knows no such task, or it has expired.
        CoordinatorUnavailable: It could not be reached.
    """
    from grpcflow.graph import reading

    return reading.explanation(app.connection.explain(id), id)
