"""An interpreter of lowered graphs: what the pieces that a client would send come to, with no cluster in between.

It visits the nodes in index order, which is an order in which parents come before children, and applies the edges as
graph.proto describes them. Where it and the reference evaluator disagree, lowering is wrong (or one of the two is).

It may not import the coordinator, and of the client only the codec.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.support.reference import (
    FAILED_ID,
    ChordFailed,
    Error,
    Functions,
    Raised,
    call_function,
    describe_call,
)

from grpcflow import codec
from grpcflow_protos import limits
from grpcflow_protos.v1 import graph_pb2


@dataclass(frozen=True, slots=True)
class Node:
    """One node of a graph, with its payload decoded."""

    index: int
    run: graph_pb2.NodeRun
    template: graph_pb2.Template
    args: list[Any]
    kwargs: dict[str, Any]

    @property
    def is_join(self) -> bool:
        """True for a node that no worker runs."""
        return self.run.HasField("join")

    @property
    def via(self) -> str:
        """The text "map" or "starmap" where the task is called for each item; empty otherwise."""
        headers = codec.decode(self.template.headers, codec.JSON) if self.template.headers else {}
        return str(headers.get("via", ""))


@dataclass(frozen=True, slots=True)
class Success:
    """A node gave a value."""

    value: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """A node failed; a silent one only passes on what failed before it."""

    error: Error
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Spared:
    """An errback whose parents did not fail, or what waits for one."""


End = Success | Failure | Spared

#: The modes of edges that lead to errbacks.
ON_ERROR: Final = frozenset({graph_pb2.EDGE_MODE_ERROR, graph_pb2.EDGE_MODE_ERROR_AFTER})


def nodes_of(chunks: Sequence[graph_pb2.GraphChunk]) -> Iterator[Node]:
    """Yields the nodes of a graph in index order."""
    templates = chunks[0].templates
    for chunk in chunks:
        for run in chunk.runs:
            for offset in range(run.count):
                if run.HasField("join"):
                    yield Node(run.first, run, graph_pb2.Template(), [], {})
                else:
                    template = templates[run.template]
                    args, kwargs = codec.decode(run.payloads[offset], template.content_type or codec.JSON)
                    yield Node(run.first + offset, run, template, args, kwargs)


def interpret(chunks: Sequence[graph_pb2.GraphChunk], functions: Functions) -> tuple[list[End], Counter[str]]:
    """Runs a graph and returns how each node ended and how often each call ran."""
    ends: list[End] = []
    calls: Counter[str] = Counter()
    for node in nodes_of(chunks):
        ends.append(_join(node, ends) if node.is_join else _task(node, ends, functions, calls))
    return ends, calls


def _join(node: Node, ends: Sequence[End]) -> End:
    broken = _broken(node, ends)
    if broken is not None:
        return broken
    members = [ends[index] for part in node.run.join.members for index in range(part.first, part.first + part.count)]
    for member in members:
        if isinstance(member, Failure):
            return Failure(member.error)
    if any(isinstance(member, Spared) for member in members):
        return Spared()
    return Success([member.value for member in members if isinstance(member, Success)])


def _broken(node: Node, ends: Sequence[End]) -> Failure | None:
    """Returns the failure that a parent hands to this node; None where none does."""
    for edge in node.run.inputs:
        parent = ends[edge.parent]
        if isinstance(parent, Failure) and edge.mode not in ON_ERROR:
            if parent.silent or edge.on_failure == graph_pb2.FAILURE_MODE_PASS:
                return Failure(parent.error, silent=True)
            if edge.on_failure == graph_pb2.FAILURE_MODE_BODY:
                return Failure(parent.error)
            return Failure(ChordFailed(parent.error))
    return None


def _task(node: Node, ends: Sequence[End], functions: Functions, calls: Counter[str]) -> End:
    broken = _broken(node, ends)
    if broken is not None:
        return broken
    args = node.args
    loud = spared = told = False
    for edge in node.run.inputs:
        parent = ends[edge.parent]
        if edge.mode == graph_pb2.EDGE_MODE_VALUE and isinstance(parent, Success):
            args = [parent.value, *args]
        loud = loud or (isinstance(parent, Failure) and not parent.silent)
        spared = spared or isinstance(parent, Spared)
        told = told or edge.mode == graph_pb2.EDGE_MODE_ERROR
    is_errback = any(edge.mode in ON_ERROR for edge in node.run.inputs)
    if spared or (is_errback and not loud):
        return Spared()
    if told:
        args = [FAILED_ID, *args]
    task, via = node.template.task, node.via
    calls[describe_call(task, args, node.kwargs, via)] += 1
    try:
        return Success(call_function(functions, task, args, node.kwargs, via))
    except Exception as error:
        return Failure(Raised(type(error).__name__, str(error)))


def describe(chunks: Sequence[graph_pb2.GraphChunk]) -> str:
    """Returns a graph as text, one line for each node."""
    lines = []
    for node in nodes_of(chunks):
        edges = [
            f"{edge.parent}:{graph_pb2.EdgeMode.Name(edge.mode)[10:]}:{graph_pb2.FailureMode.Name(edge.on_failure)[13:]}"
            for edge in node.run.inputs
        ]
        members = [f"{part.first}+{part.count}" for part in node.run.join.members]
        what = (
            f"join {members}" if node.is_join else f"{node.via} {node.template.task} {node.args} {node.kwargs}".strip()
        )
        lines.append(f"{node.index}: {what} <- {edges} -> {list(node.run.children)}")
    return "\n".join(lines)


def check_shape(chunks: Sequence[graph_pb2.GraphChunk]) -> None:
    """Asserts what graph.proto demands of a graph: order of nodes and pieces, edges mirrored by children, runs cut."""
    assert [chunk.sequence for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert len({chunk.graph for chunk in chunks}) == 1
    assert len(chunks[0].graph) == 12
    assert not any(chunk.templates for chunk in chunks[1:])
    next_index = 0
    from_children: Counter[tuple[int, int]] = Counter()
    from_parents: Counter[tuple[int, int]] = Counter()
    for run in (run for chunk in chunks for run in chunk.runs):
        assert run.first == next_index
        _check_run(run, len(chunks[0].templates))
        next_index += run.count
        parents = {edge.parent for edge in run.inputs}
        parents |= {index for part in run.join.members for index in range(part.first, part.first + part.count)}
        assert all(parent < run.first for parent in parents)
        from_children.update((parent, run.first) for parent in parents)
        from_parents.update((index, child) for index in range(run.first, next_index) for child in run.children)
    assert {chunk.node_count for chunk in chunks} == {next_index}
    assert from_parents == from_children, "children do not mirror the edges"


def _check_run(run: graph_pb2.NodeRun, templates: int) -> None:
    assert 1 <= run.count <= limits.RUN_NODES
    if run.HasField("join"):
        assert run.count == 1
        assert not run.payloads
    else:
        assert len(run.payloads) == run.count
        assert run.template < templates
    if run.inputs or run.id:
        assert run.count == 1
    assert all(edge.mode != graph_pb2.EDGE_MODE_UNSPECIFIED for edge in run.inputs)
    errback = [edge.mode in ON_ERROR for edge in run.inputs]
    assert not (any(errback) and run.HasField("join")), "a join cannot be an errback"
    assert all(errback) or not any(errback), "an errback has other parents, too"
