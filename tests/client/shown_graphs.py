"""A coordinator of graphs in memory: shows a lowered canvas as the real one would, with states as a test wants them.

It stands in for the connection where graphs are asked for: the same methods, no network, and notes of what was asked.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from grpcflow import Grpcflow, errors, ids
from grpcflow.graph_calls import Page
from grpcflow.lower import Calls, lower, to_chunks
from grpcflow_protos.v1 import graph_pb2, value_pb2
from grpcflow_protos.v1 import graph_service_pb2 as pb

#: Unix time in milliseconds at which the first graph was submitted.
BEGAN = 1_750_000_000_000

app = Grpcflow("shown", set_as_current=False)


@app.task(name="shop.add")
def add(*args: Any) -> None:
    """Do nothing."""


@app.task(name="shop.total")
def total(*args: Any) -> None:
    """Do nothing."""


@app.task(name="shop.report")
def report(*args: Any) -> None:
    """Do nothing."""


_FIELDS = {
    "SUCCESS": "succeeded",
    "FAILURE": "failed",
    "REVOKED": "revoked",
    "IGNORED": "ignored",
    "REJECTED": "rejected",
}

Told = Callable[[int], Mapping[str, Any]]


def succeeded(_index: int) -> Mapping[str, Any]:
    """Says of a node that all went well."""
    return {"state": "SUCCESS", "worker": "w1", "started_at_ms": BEGAN + 100, "settled_at_ms": BEGAN + 350}


class ShownGraph:
    """One graph.

    Args:
        canvas: What was submitted.
        told: Says of each node by its index what is in its ``NodeView``.
        number: Of the graph among others: the higher, the later.
        page: Runs of one page.
        **given: Arguments of the submission.
    """

    def __init__(self, canvas: Any, told: Told = succeeded, number: int = 0, page: int = 1_000, **given: Any) -> None:
        lowered = lower(canvas, Calls(app), **given)
        assert lowered is not None
        self.graph = (BEGAN + number).to_bytes(6, "big") + b"\x70\x00\x80" + number.to_bytes(3, "big")
        self.chunks = to_chunks(lowered, self.graph)
        self.end = lowered.outcome.node
        self.nodes = lowered.node_count
        self.told = told
        self.created = BEGAN + number
        self.page = page
        self.cancelled = False
        self.attached_to = ""
        self.runs = [run for chunk in self.chunks for run in chunk.runs]
        self.own_id = next((run.id for run in self.runs if run.first == self.end), "")

    @property
    def id(self) -> str:
        return self.own_id or ids.node_id(self.graph, self.end)

    def node(self, index: int) -> pb.NodeView:
        return pb.NodeView(**{"index": index, **self.told(index)})

    def tally(self, first: int, count: int) -> pb.Tally:
        states = Counter(self.told(index)["state"] for index in range(first, first + count))
        tally = pb.Tally(nodes=count)
        for state, number in states.items():
            if state in _FIELDS:
                setattr(tally, _FIELDS[state], number)
            else:
                tally.unsettled += number
                tally.running += number if state in {"STARTED", "RECEIVED", "PROGRESS"} else 0
        return tally

    def summary(self) -> pb.GraphSummary:
        tally = self.tally(0, self.nodes)
        end = self.node(self.end)
        state = end.state if end.state in _FIELDS else "STARTED"
        return pb.GraphSummary(
            graph=self.graph,
            id=self.id,
            state=value_pb2.State.Value(f"STATE_{state}"),
            tally=tally,
            created_at_ms=self.created,
            settled_at_ms=end.settled_at_ms,
            task=self.chunks[0].templates[0].task if self.chunks[0].templates else "",
            templates=sum(len(chunk.templates) for chunk in self.chunks),
            cancelled=self.cancelled,
            attached_to=self.attached_to,
            ended=tally.unsettled == 0,
        )

    def templates(self) -> tuple[pb.TemplateView, ...]:
        found = [one for chunk in self.chunks for one in chunk.templates]
        return tuple(pb.TemplateView(task=one.task, queue=one.queue, priority=one.priority) for one in found)

    def run(self, run: graph_pb2.NodeRun, *, every: bool) -> pb.RunView:
        tally = self.tally(run.first, run.count)
        join = run.HasField("join")
        view = pb.RunView(first=run.first, count=run.count, template=run.template, join=join, tally=tally, id=run.id)
        view.members.extend(run.join.members)
        view.inputs.extend(run.inputs)
        nodes = (self.node(index) for index in range(run.first, run.first + run.count))
        if every or run.count == 1:
            view.nodes.extend(nodes)
        else:
            view.nodes.extend([one for one in nodes if one.state in _FIELDS and one.state != "SUCCESS"][:10])
        return view


class ShownGraphs:
    """The connection of an app that is asked for graphs.

    Args:
        *graphs: What there is.
    """

    def __init__(self, *graphs: ShownGraph) -> None:
        self.graphs = list(graphs)
        self.asked: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.answers: dict[str, Any] = {}

    @property
    def connection(self) -> Any:
        """Stands for the app, too."""
        return self

    def find(self, id: str) -> ShownGraph:
        if self.error is not None:
            raise self.error
        parsed = ids.parse(id)
        for one in self.graphs:
            if id in (one.own_id, one.graph.hex()) or (parsed is not None and parsed[0] == one.graph):
                return one
        message = f"there is no graph {id!r}, or it has expired: see `grpcflow graph list`"
        raise errors.NotFound(message, code="UNKNOWN_GRAPH")

    def list_graphs(self, request: pb.ListGraphsRequest) -> pb.ListGraphsResponse:
        self.asked.append(("list", pb.ListGraphsRequest.FromString(request.SerializeToString())))
        if self.error is not None:
            raise self.error
        older = sorted(self.graphs, key=lambda one: one.graph, reverse=True)
        older = [one for one in older if not request.after or one.graph < request.after]
        answer = pb.ListGraphsResponse(graphs=[one.summary() for one in older[: request.limit]])
        if len(older) > request.limit:
            answer.next = older[request.limit - 1].graph
        return answer

    def graph_summary(self, id: str) -> pb.GraphSummary:
        self.asked.append(("summary", id))
        return self.find(id).summary()

    def graph_pages(self, id: str, *, first: int = 0, every_node: bool = False) -> Iterator[Page]:
        graph = self.find(id)
        runs = [run for run in graph.runs if run.first >= first]
        for start in range(0, len(runs), graph.page):
            self.asked.append(("page", start, every_node))
            views = [graph.run(run, every=every_node) for run in runs[start : start + graph.page]]
            yield Page(self.find(id).summary(), graph.templates(), views)

    def graph_run(self, id: str, first: int, *, every_node: bool = True) -> Page:
        self.asked.append(("run", first, every_node))
        graph = self.find(id)
        run = next(run for run in graph.runs if run.first <= first < run.first + run.count)
        return Page(graph.summary(), graph.templates(), [graph.run(run, every=every_node)])

    def cancel_graph(self, id: str, terminate: bool, signal: str) -> pb.CancelGraphResponse:
        self.asked.append(("cancel", id, terminate, signal))
        self.find(id)
        return pb.CancelGraphResponse(**self.answers.get("cancel", {}))

    def retry_graph(self, id: str) -> pb.RetryGraphResponse:
        self.asked.append(("retry", id))
        self.find(id)
        return pb.RetryGraphResponse(**self.answers.get("retry", {}))

    def explain(self, id: str) -> pb.ExplainResponse:
        self.asked.append(("explain", id))
        self.find(id)
        return pb.ExplainResponse(**self.answers.get("explain", {}))
