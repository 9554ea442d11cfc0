"""What a graph takes along of its trace: the context of the submission, and which calls each of its calls waits for.

The context travels in the headers of the propagator that the program uses; W3C's ``traceparent``, ``tracestate`` and
``baggage`` unless it chose others. Beside them the header ``grpcflow_parents`` says which calls one takes values from,
as a list of ``[first, count]``: indexes in the graph, or, where negative, how far before the call itself; ``"failed"``
for an errback, which is told which call it is for. What is broadcast runs in another graph, and is told the id of this
one before the list. It may not import the parts that make spans.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from opentelemetry import propagate

from grpcflow import codec, ids
from grpcflow.lower.model import EdgeSpec, LoweredGraph, Mode, Run, TemplateSpec

__all__ = ["FAILED", "MOST_LINKS", "PARENTS", "annotate", "parents_of"]

#: The header that names the calls that one takes values from.
PARENTS: Final = "grpcflow_parents"

#: What it says for an errback.
FAILED: Final = "failed"

#: Most calls that it names, and that a span links to: OpenTelemetry keeps as many.
MOST_LINKS: Final = 128

#: Ranges of indexes as (first, count); before them the graph that they are of, where that is another one.
_Ranges = tuple[tuple[int, int] | str, ...]
_Said = _Ranges | str | None

#: Indexes of nodes end before this one.
_INDEXES: Final = 1 << 32


def annotate(graph: LoweredGraph, context: Mapping[str, str], graph_id: bytes = b"") -> None:
    """Give the calls of a graph the headers of its trace; those of an earlier trace are left out.

    Args:
        graph: The lowered canvas; its runs get other templates.
        context: Headers of the context of the submission.
        graph_id: The 12 bytes of its id; empty: it runs here, where nothing is broadcast.
    """
    annotated = _Annotated(graph.templates, context, graph_id)
    parents = _Parents(graph, broadcasts=bool(graph_id))
    for run in graph.runs:
        if run.members is None:
            run.template = annotated.index(run, parents.of(run))
    graph.templates[:] = annotated.templates


class _Annotated:
    """The templates with their headers, in the order of their first use, as they have to be.

    Args:
        templates: Those of the graph.
        context: Headers of the context of the submission.
        graph_id: Id of the graph, for what is broadcast; empty: nothing is.
    """

    def __init__(self, templates: list[TemplateSpec], context: Mapping[str, str], graph_id: bytes) -> None:
        self.templates: list[TemplateSpec] = []
        self._given = templates
        self._context = context
        self._graph = graph_id.hex()
        self._old = propagate.get_global_textmap().fields
        self._places: dict[tuple[int, _Said], int] = {}
        self._last: dict[int, _Said] = {}

    def index(self, run: Run, parents: _Said) -> int:
        """Return the index of the template of a run, which is made where no other run says the same.

        Steps of a chain say the same by the distance to their parents, members of a group by what these are.
        """
        template, relative = self._given[run.template], parents
        if parents is None and template.is_tied:
            relative = parents = ()  # it waits, though for no call
        elif isinstance(parents, tuple) and template.broadcast and self._graph:
            relative = parents = (self._graph, *parents)
        elif isinstance(parents, tuple):
            relative = _moved(parents, -run.first)
        for said in (parents, relative):
            known = self._places.get((run.template, said))
            if known is not None:
                return known
        said = parents if self._last.get(run.template) == parents else relative
        self._last[run.template] = parents
        self.templates.append(self._template(template, said))
        place = self._places[run.template, said] = len(self.templates) - 1
        return place

    def _template(self, template: TemplateSpec, said: _Said) -> TemplateSpec:
        own = codec.decode(template.headers) if template.headers else {}
        headers = {name: value for name, value in own.items() if name not in self._old and name != PARENTS}
        headers.update(self._context)
        if said is not None:
            headers[PARENTS] = said if isinstance(said, str) else [_written(part) for part in said]
        return replace(template, headers=codec.encode(headers, path="headers"))


class _Parents:
    """Which calls the calls of a graph wait for, groups being what they are made of.

    Args:
        graph: The graph.
        broadcasts: False: what is broadcast runs as all else does.
    """

    def __init__(self, graph: LoweredGraph, *, broadcasts: bool) -> None:
        self._joins = {run.first: run.members for run in graph.runs if run.members is not None}
        #: What is broadcast does not run itself: its shares do, in a graph that nobody knows yet.
        self._spread = {
            index
            for run in graph.runs
            if broadcasts and run.members is None and graph.templates[run.template].broadcast
            for index in range(run.first, run.first + run.count)
        }

    def of(self, run: Run) -> _Said:
        """Return those of a call; None: it waits for none."""
        if not run.inputs:
            return None
        if any(edge.mode is Mode.ERROR for edge in run.inputs):
            return FAILED
        return _ranges(self._calls([edge for edge in run.inputs if edge.mode is not Mode.ERROR_AFTER]))

    def _calls(self, edges: Iterable[EdgeSpec]) -> list[int]:
        """Return the indexes of the first calls behind some edges, in order."""
        calls: list[int] = []
        waiting = [(edge.parent, 1) for edge in edges][::-1]
        while waiting and len(calls) < MOST_LINKS:
            first, count = waiting.pop()
            if count > 1:
                waiting.append((first + 1, count - 1))
            members = self._joins.get(first)
            if members is not None:
                waiting.extend(members[::-1])
            elif first not in self._spread:
                calls.append(first)
        return calls


def _ranges(indexes: Iterable[int]) -> _Ranges:
    ranges: list[tuple[int, int]] = []
    for index in indexes:
        if ranges and sum(ranges[-1]) == index:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + 1)
        else:
            ranges.append((index, 1))
    return tuple(ranges)


def _written(part: tuple[int, int] | str) -> list[int] | str:
    return part if isinstance(part, str) else list(part)


def _moved(ranges: _Ranges, by: int) -> _Ranges:
    return tuple(part if isinstance(part, str) else (part[0] + by, part[1]) for part in ranges)


def parents_of(headers: Mapping[str, Any], node: bytes) -> list[bytes]:
    """Return the 16 bytes of the nodes that a call takes values from; what is no such header names none.

    Args:
        headers: Headers of the call.
        node: The 16 bytes of its own node.
    """
    said = headers.get(PARENTS)
    if not isinstance(said, (list, tuple)) or not said:
        return []
    graph, index = node[: ids.GRAPH_BYTES], int.from_bytes(node[ids.GRAPH_BYTES :], "big")
    if isinstance(said[0], str):
        graph, index, said = _graph(said[0]), _INDEXES, said[1:]
    found: list[bytes] = []
    for pair in said if graph else ():
        if not (isinstance(pair, (list, tuple)) and len(pair) == 2 and all(type(number) is int for number in pair)):
            return []
        first = pair[0] if pair[0] >= 0 else index + pair[0]
        last = min(first + pair[1], index, first + MOST_LINKS)
        found += [ids.node_bytes(graph, parent) for parent in range(max(first, 0), last)]
    return found[:MOST_LINKS]


def _graph(text: str) -> bytes:
    """Return a graph id that was written as hex digits; empty for any other text."""
    try:
        data = bytes.fromhex(text)
    except ValueError:
        return b""
    return data if len(data) == ids.GRAPH_BYTES else b""
