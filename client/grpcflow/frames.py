"""Graphs that are being run in this process: their calls, their nodes, and what edges do with the ends of parents.

It runs nothing, knows no canvas, and may not import grpc or protobuf.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from grpcflow import errors, ids, lower
from grpcflow.context import Context
from grpcflow.lower.model import LoweredGraph, OnFailure, Run, TemplateSpec
from grpcflow.result.eager import End, Ran

__all__ = ["Frame", "Kept", "KeptCalls", "Node", "failed_by", "handed", "in_place_of"]


class Kept(bytes):
    """A payload that does not travel: the arguments as they are, and no bytes at all."""

    args: Sequence[Any]
    kwargs: Mapping[str, Any]


class KeptCalls(lower.Calls):
    """Makes calls whose arguments stay the objects that they are, and are checked by the call itself."""

    def payload(self, template: TemplateSpec, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """Return the call as it is."""
        kept = Kept()
        kept.args, kept.kwargs = args, kwargs
        return kept

    def checker(self, name: str) -> None:
        """Return no check: arguments that a task does not take fail its call, as in Celery's ``apply()``."""
        return


class Frame:
    """One graph that is being run.

    Args:
        ran: Where its ends are kept.
        graph: The graph.
        above: The frame and the node that it replaces, with that node's last request; None: it replaces none.
    """

    def __init__(self, ran: Ran, graph: LoweredGraph, above: "tuple[Node, Context] | None" = None) -> None:
        self.ran = ran
        self.graph = graph
        self.above = above
        self.nesting: int = 0 if above is None else above[0].frame.nesting + 1
        self.nodes: Iterator[Node] = self._nodes()
        self.joins = {run.first: run for run in graph.runs if run.members is not None}
        self._own_ids = {run.first: run.id for run in graph.runs if run.id}
        #: Ends that running members added to a join, by its index.
        self.added: dict[int, list[End]] = {}

    def id_of(self, index: int) -> str:
        """Return the id of a node as the user knows it."""
        return self._own_ids.get(index) or ids.node_id(self.ran.graph, index)

    def _nodes(self) -> "Iterator[Node]":
        for run in self.graph.runs:
            for offset in range(run.count):
                yield Node(self, run, run.first + offset)


class Node:
    """One node of a graph that is being run."""

    __slots__ = ("frame", "index", "run")

    def __init__(self, frame: Frame, run: Run, index: int) -> None:
        self.frame = frame
        self.run = run
        self.index = index

    @property
    def id(self) -> str:
        """Its id as the user knows it; that of the call that it replaces where it is the last of a replacement."""
        place = self.standing()
        return place.frame.id_of(place.index)

    @property
    def template(self) -> TemplateSpec:
        """What it shares with other calls."""
        return self.frame.graph.templates[self.run.template]

    def standing(self) -> "Node":
        """Return the node in whose place this one stands: itself, unless its end is that of a replaced one."""
        node = self
        while node.frame.above is not None and node.index == node.frame.graph.outcome.node:
            node = node.frame.above[0]
        return node

    def parents(self) -> Iterator[tuple[End, OnFailure | None]]:
        """Yield the ends of what it waits for, in the order in which they came; None: of a member."""
        ends = self.frame.ran.ends
        for edge in sorted(self.run.inputs, key=lambda edge: edge.parent):
            yield ends[edge.parent], edge.on_failure
        for first, count in self.run.members or ():
            for end in ends[first : first + count]:
                yield end, None
        for end in self.frame.added.get(self.index, ()):
            yield end, None


def handed(end: End) -> Any:
    """Return the value that what waits for a node gets."""
    return end.value if end.hands_on else None


def in_place_of(end: End, request: Context) -> End:
    """Return how a replaced call ended: as its replacement did, and on its own account."""
    end = replace(end, request=request, fires=True)
    if request._emits is not None:
        end.items = [*request._emits.items, *end.items]
    return end


def failed_by(parent: End, mode: OnFailure | None) -> End:
    """Return how a node ends because a parent did not succeed; ``mode`` None: the parent is a member of it.

    A failing member is loud: the errbacks of its join fire. Along an edge the failure is what the edge says, unless the
    parent itself only passed on what began before it: that stays silent to the end.
    """
    is_member = mode is None
    if mode is None or not parent.fires:
        mode = OnFailure.PASS
    if parent.state == "IGNORED" and not (is_member and parent.fires):
        # Of a spared errback `fires` is false. What a task ignored stays told along its chain, for a join at its end.
        return End("IGNORED", origin=parent.origin, fires=parent.fires)
    error = parent.error or errors.RemoteError("Ignored")
    if mode is OnFailure.CHORD:
        chord = errors.ChordError(f"Dependency {parent.origin} raised {_shown(error)}")
        chord.__cause__ = error
        error = chord
    return End("FAILURE", None, error, origin=parent.origin, fires=is_member or mode is not OnFailure.PASS)


def _shown(error: BaseException) -> str:
    """Return an exception as its repr looks where it has one plain argument."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - the exception's own code may do anything; its name is told all the same
        message = ""
    return f"{type(error).__qualname__}({message!r})" if message else f"{type(error).__qualname__}()"
