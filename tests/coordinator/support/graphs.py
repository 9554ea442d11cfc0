"""Small graphs for the coordinator's tests, with children that mirror the edges."""

from __future__ import annotations

import itertools
from dataclasses import replace

from grpcflow_coordinator.core.events import ChunkArrived
from grpcflow_coordinator.core.model import Edge, EdgeMode, FailureMode, Run, Template

_numbers = itertools.count(1)

PLAIN = Template("t", "default")


def graph_id(wall_ms: int = 1_000) -> bytes:
    """Return a new graph id: what a client would mint, with a counter in the place of chance."""
    return wall_ms.to_bytes(6, "big") + b"\x70\x00\x80" + next(_numbers).to_bytes(3, "big")


class Sketch:
    """A graph in the making; `chunks` turns it into what a client would send."""

    def __init__(self, *templates: Template, graph: bytes | None = None) -> None:
        self.id = graph or graph_id()
        self.templates = list(templates) or [PLAIN]
        self.runs: list[tuple[Run, list[bytes]]] = []
        self.count = 0

    def __repr__(self) -> str:
        return f"Sketch({', '.join(repr(run) for run, _ in self.runs)})"

    def _add(self, run: Run, payloads: list[bytes]) -> int:
        self.runs.append((run, payloads))
        self.count += run.count
        return run.first

    def task(self, *inputs: Edge, template: int = 0, own_id: str = "") -> int:
        """Add one call; return its index."""
        return self._add(Run(self.count, 1, template, inputs, own_id=own_id), [b"[[],{}]"])

    def keyed(self, fairness: str = "", concurrency: str = "", unique: str = "", template: int = 0) -> int:
        """Add one call with keys; return its index."""
        run = Run(self.count, 1, template, fairness_key=fairness, concurrency_key=concurrency, unique_key=unique)
        return self._add(run, [b"[[],{}]"])

    def group(self, count: int, template: int = 0) -> int:
        """Add calls that differ in their payload only; return the first one's index."""
        payloads = [b"[[%d],{}]" % number for number in range(count)]
        return self._add(Run(self.count, count, template), payloads)

    def join(self, *members: tuple[int, int], inputs: tuple[Edge, ...] = ()) -> int:
        """Add a join of ranges (first, count); return its index."""
        return self._add(Run(self.count, 1, 0, inputs, members=members), [])

    def with_children(self) -> list[tuple[Run, list[bytes]]]:
        """Return the runs, each with the children that its edges say."""
        children: dict[int, list[int]] = {}
        for run, _ in self.runs:
            parents = {self._run_at(edge.parent).first for edge in run.inputs}
            for first, count in run.members or ():
                parents |= {self._run_at(index).first for index in range(first, first + count)}
            for parent in parents:
                children.setdefault(parent, []).append(run.first)
        return [(replace(run, children=tuple(children.get(run.first, ()))), payloads) for run, payloads in self.runs]

    def _run_at(self, index: int) -> Run:
        return next(run for run, _ in self.runs if run.first <= index < run.first + run.count)

    def chunks(self, client: object, runs_each: int = 1 << 30) -> list[ChunkArrived]:
        """Return the graph's pieces."""
        runs = self.with_children()
        pieces = [runs[start : start + runs_each] for start in range(0, len(runs), runs_each)]
        return [
            ChunkArrived(
                client=client,
                graph=self.id,
                sequence=number,
                last=number == len(pieces) - 1,
                node_count=self.count,
                templates=tuple(self.templates) if number == 0 else (),
                runs=piece,
            )
            for number, piece in enumerate(pieces)
        ]


def value(parent: int, on_failure: FailureMode = FailureMode.PASS) -> Edge:
    """Return an edge that hands the parent's value on."""
    return Edge(parent, EdgeMode.VALUE, on_failure)


def after(parent: int, on_failure: FailureMode = FailureMode.PASS) -> Edge:
    """Return an edge that only waits."""
    return Edge(parent, EdgeMode.AFTER, on_failure)


def on_error(parent: int) -> Edge:
    """Return the edge of an errback."""
    return Edge(parent, EdgeMode.ERROR, FailureMode.PASS)


def one(template: Template = PLAIN, own_id: str = "", graph: bytes | None = None) -> Sketch:
    """Return a graph of one call."""
    sketch = Sketch(template, graph=graph)
    sketch.task(own_id=own_id)
    return sketch


def chain(length: int, template: Template = PLAIN) -> Sketch:
    """Return a chain of that many calls."""
    sketch = Sketch(template)
    last = sketch.task()
    for _ in range(length - 1):
        last = sketch.task(value(last))
    return sketch


def chord(members: int, template: Template = PLAIN) -> Sketch:
    """Return a chord: members at 0.., then the join, then the body."""
    sketch = Sketch(template)
    sketch.group(members)
    join = sketch.join((0, members))
    sketch.task(value(join, FailureMode.CHORD))
    return sketch
