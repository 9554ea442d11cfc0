"""A graph as boxes and lines between them, few enough for a picture. Pure: folds runs, asks nobody.

Neighbours that are alike (the members of a group) are one box. Where that leaves more boxes than people can read,
calls of the same task that wait for the same boxes are one box too: a group of a thousand chains becomes one chain
of boxes of a thousand calls each. What is beyond the limit even then is left out and counted.
"""

from array import array
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from grpcflow.graph.model import Edge, Node, Run, Summary, Tally

__all__ = ["LIMIT", "Box", "Line", "Picture", "fold"]

#: Boxes of a picture at most, unless the caller says.
LIMIT: Final = 500

#: Boxes up to which only neighbours are folded.
_FEW: Final = 100

#: Runs that are kept to fold them once more, where neighbours turn out to be different.
_KEPT: Final = 2_000

#: Nodes that did not succeed of a folded box that are shown.
_TROUBLED: Final = 10

#: Nodes that found no place, after which no more are looked at.
_ENOUGH: Final = 5_000

_NOWHERE: Final = 0xFFFF_FFFF


@dataclass(slots=True)
class Box:
    """Calls that are shown as one.

    Attributes:
        run: The first of its runs.
        count: How many nodes it stands for.
        tally: How they stand.
        nodes: The node where it is one; else those that did not succeed, the first 10.
    """

    run: Run
    count: int
    tally: Tally
    nodes: list[Node] = field(default_factory=list)

    @property
    def state(self) -> str:
        """Where it stands as a whole: the worst of what has ended, RUNNING, WAITING, or a task's own words."""
        if self.count == 1 and self.nodes:
            state = self.nodes[0].state
            return "WAITING" if state == "PENDING" and self.nodes[0].waiting else state
        counts = self.tally.counts
        order = ("FAILURE", "REVOKED", "REJECTED", "RUNNING", "WAITING", "SUCCESS", "IGNORED")
        return next((state for state in order if state in counts), "PENDING")

    @property
    def title(self) -> str:
        """The name of its task, or ``join``."""
        return "join" if self.run.join else self.run.task

    def take(self, run: Run) -> None:
        """Take one more run into it."""
        if self.count == 1:
            self.nodes = [node for node in self.nodes if _is_trouble(node)]
        self.count += run.count
        self.tally += run.tally
        troubled = [node for node in run.nodes if _is_trouble(node)]
        self.nodes += troubled[: _TROUBLED - len(self.nodes)]


@dataclass(frozen=True, slots=True)
class Line:
    """A line from a box to one that waits for it.

    Attributes:
        parent: Place of the box that is waited for.
        child: Place of the box that waits.
        kind: As in an ``Edge``.
    """

    parent: int
    child: int
    kind: str

    @property
    def is_error(self) -> bool:
        """True: the child runs only where the parent fails."""
        return self.kind.startswith("error")


@dataclass(slots=True)
class Picture:
    """What is drawn of a graph.

    Attributes:
        summary: The graph in short.
        boxes: Its boxes; those that are waited for stand before those that wait.
        lines: The lines between them.
            left_out: How many nodes are not shown.
    """

    summary: Summary
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    end: int = 0
    left_out: int = 0


class _Folding:
    """Boxes as they come about, by one rule of what is alike.

    Args:
        nodes: How many nodes the graph has.
        limit: Most boxes.
        near: True: only neighbours are folded.
        cuts: Indexes of nodes that have nothing in common with the one before.
    """

    def __init__(self, nodes: int, limit: int, *, near: bool, cuts: Collection[int] = ()) -> None:
        self.places = array("I", [_NOWHERE]) * nodes
        self.boxes: list[Box] = []
        self.lines: dict[Line, None] = {}
        self.left_out = 0
        self.limit = limit
        self._near = near
        self._cuts = cuts
        #: Where what waits tells neighbours in one box apart.
        self.new_cuts: set[int] = set()
        self._by_key: dict[object, int] = {}

    @property
    def is_near(self) -> bool:
        """True: only neighbours are folded."""
        return self._near

    def farther(self, limit: int) -> "_Folding":
        """Return the same boxes folded by the other rule."""
        made = _Folding(len(self.places), limit, near=False)
        for box in self.boxes:
            made.take(replace(box.run, count=box.count, tally=box.tally, nodes=tuple(box.nodes)))
        return made

    def take(self, run: Run) -> None:
        """Put a run into the box of those that are like it, or into a new one."""
        if self.left_out and self._waits_for_left_out(run):
            self.left_out += run.count
            return
        parents = self._parents_of(run)
        if self._near:
            self._find_cuts(run)
            if run.first in self._cuts:
                self._by_key.clear()
            key: object = self._key_of_neighbour(run)
        else:
            key = (run.task, run.queue, run.join, tuple(dict.fromkeys(parents)))
        place = self._by_key.get(key, -1)
        if place >= 0:
            self.boxes[place].take(run)
        elif len(self.boxes) < self.limit:
            place = len(self.boxes)
            self.boxes.append(Box(run, run.count, run.tally, list(run.nodes)))
            if self._near:
                self._by_key.clear()  # what comes behind another run is no neighbour any more
            self._by_key[key] = place
            self.lines.update((Line(parent, place, kind), None) for parent, kind in parents)
        else:
            self.left_out += run.count
            return
        self.places[run.first : run.first + run.count] = array("I", [place]) * run.count

    def _key_of_neighbour(self, run: Run) -> object:
        """Return what neighbours have in common; joins, and calls with an id of the user's, are alone."""
        if run.join or run.id:
            return run.first
        return (run.task, run.queue, tuple((edge.parents, edge.kind) for edge in run.edges))

    def _find_cuts(self, run: Run) -> None:
        """Note where a run waits for a part of a box only."""
        waited: list[range] = []
        for edge in run.edges:
            if waited and waited[-1].stop == edge.parents.start:
                waited[-1] = range(waited[-1].start, edge.parents.stop)
            else:
                waited.append(edge.parents)
        for indexes in waited:
            for cut in (indexes.start, indexes.stop):
                if 0 < cut < len(self.places) and self.places[cut - 1] == self.places[cut] != _NOWHERE:
                    self.new_cuts.add(cut)

    def _waits_for_left_out(self, run: Run) -> bool:
        """Return whether a run waits for something that is not shown, so that its place cannot be told."""
        return any(_NOWHERE in self.places[edge.parents.start : edge.parents.stop] for edge in run.edges)

    def _parents_of(self, run: Run) -> list[tuple[int, str]]:
        """Return the boxes that a run waits for, each with the kind of the edge.

        A group behind a call: the call goes into the members, which tell more than that the join comes after it.
        """
        edges = [edge for edge in run.edges if edge.kind == "member" or edge.is_error] if run.join else []
        if not any(edge.kind == "member" for edge in edges):
            edges = list(run.edges)
        return [(place, edge.kind) for edge in edges for place in self._places_of(edge)]

    def _places_of(self, edge: Edge) -> list[int]:
        """Return the boxes of an edge's parents that are shown."""
        places = self.places[edge.parents.start : edge.parents.stop]
        return [place for place in dict.fromkeys(places) if place != _NOWHERE]

    def show_the_end(self, last: Run) -> None:
        """Show the node that counts although there is no room: in the place of the last box."""
        place = len(self.boxes) - 1
        if len(self.boxes) < self.limit:
            place += 1
        else:
            self.boxes.pop()
            self.lines = {line: None for line in self.lines if place not in (line.parent, line.child)}
            self.places = array("I", (_NOWHERE if at == place else at for at in self.places))
        self.boxes.append(Box(last, last.count, last.tally, list(last.nodes)))
        self.lines.update((Line(parent, place, kind), None) for parent, kind in self._parents_of(last))
        self.places[last.first : last.first + last.count] = array("I", [place]) * last.count


def fold(summary: Summary, runs: Iterable[Run], end: int, last: Callable[[], Run], limit: int = LIMIT) -> Picture:
    """Return a graph as boxes.

    Args:
        summary: The graph in short.
        runs: Its runs in order; taken one by one, and no further than needed.
        end: Index of the node whose value is the value of the whole.
        last: Returns the run of that node; called where it was not among those that were taken.
        limit: Most boxes, at least 1. Default 500.

    Raises:
        ValueError: The limit is below 1.
    """
    if limit < 1:
        message = f"a picture has at least one box; limit={limit}"
        raise ValueError(message)
    nodes = summary.tally.nodes
    made = _Folding(nodes, min(limit, _FEW), near=True)
    kept: list[Run] = []
    for run in runs:
        made.take(run)
        if made.is_near:
            kept += [run] if len(kept) <= _KEPT else []
            if made.left_out:
                made = made.farther(limit)
                made.take(run)
        if made.left_out > _ENOUGH:
            break
    if made.is_near and made.new_cuts:
        made = (_again(made, kept) if len(kept) <= _KEPT else None) or made.farther(limit)
    if made.places[end] == _NOWHERE:
        made.show_the_end(last())
    left_out = max(0, nodes - sum(box.count for box in made.boxes))
    return Picture(summary, made.boxes, list(made.lines), made.places[end], left_out)


def _again(near: _Folding, runs: Iterable[Run]) -> _Folding | None:
    """Fold once more, with those apart that others tell apart; None where that are too many boxes."""
    made = _Folding(len(near.places), near.limit, near=True, cuts=near.new_cuts)
    for run in runs:
        made.take(run)
    return None if made.left_out else made


def _is_trouble(node: Node) -> bool:
    return bool(node.error) or node.state in {"FAILURE", "REVOKED", "REJECTED"}
