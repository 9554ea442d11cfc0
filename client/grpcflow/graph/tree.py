"""A picture as a tree of lines: steps below each other, members of groups further in, callbacks below their call.

A graph is no tree. A box stands where all that waits for it is together: in the chain that is a group's member, or
before the group. Pure, and without recursion: canvases nest as deeply as they like. Colours are the command line's.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from grpcflow.graph.boxes import Box, Line, Picture
from grpcflow.graph.model import Node, Summary, Tally

__all__ = [
    "BAR_WIDTH",
    "Row",
    "bar_parts",
    "details",
    "facts",
    "headline",
    "left_out_text",
    "lines_of",
    "rows",
    "span",
    "tree",
]

#: Characters of the bar of a folded box.
BAR_WIDTH: Final = 20

#: Nodes of a folded box that did not succeed that have lines of their own.
_TROUBLED: Final = 3

#: Where a box stands: what it is in ("in" a group, "at" a call as its callback, "" the whole) and its chain there.
_Place = tuple[str, int, int]

_BARS: Final = {"SUCCESS": "█", "FAILURE": "▓", "REVOKED": "▓", "REJECTED": "▓", "IGNORED": "░", "RUNNING": "▒"}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the tree.

    Attributes:
        prefix: The branches before it.
        label: What it is.
        box: The box that it shows; None: a chain within a group, or a node of a folded box.
        node: The node that it shows, of a folded box; None: none.
    """

    prefix: str
    label: str
    box: Box | None = None
    node: Node | None = None


class _Tree:
    """Where each box of a picture stands.

    Args:
        picture: What is shown.
    """

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        count = len(picture.boxes)
        self._parents: list[list[Line]] = [[] for _ in range(count)]
        self._children: list[list[Line]] = [[] for _ in range(count)]
        for line in picture.lines:
            self._parents[line.child].append(line)
            if not line.is_error:
                self._children[line.parent].append(line)
        self._main = self._ancestors(picture.end)
        self._places: list[_Place] = [("", -1, -1)] * count
        #: What is in a group, or hangs at a call, chain by chain.
        self.content: dict[tuple[str, int], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for place in reversed(range(count)):
            self._places[place] = self._place(place)
        for place, (kind, owner, chain) in enumerate(self._places):
            self.content[kind, owner][chain].append(place)

    def _ancestors(self, end: int) -> set[int]:
        """Return the boxes that the end waits for, and itself."""
        found, waiting = {end}, [end]
        while waiting:
            for line in self._parents[waiting.pop()]:
                if not line.is_error and line.parent not in found:
                    found.add(line.parent)
                    waiting.append(line.parent)
        return found

    def _place(self, place: int) -> _Place:
        """Return where a box stands; all that waits for it has its place."""
        children = self._children[place]
        if place in self._main:
            children = [line for line in children if line.child in self._main]
        if place == self.picture.end or not (children or self._parents[place]):
            return ("", -1, -1)
        if not children:
            anchor = self._anchor(place)
            # Where what waits for it is left out, it is nobody's callback.
            return ("at", anchor, place) if anchor in self._main else ("", -1, -1)
        ways = [self._way(place, line) for line in children]
        others = [set(way) for way in ways[1:]]
        return next(step for step in ways[0] if all(step in other for other in others))

    def _way(self, place: int, line: Line) -> list[_Place]:
        """Return the places from that of one who waits for a box up to the whole."""
        child = line.child
        boxes = self.picture.boxes
        if line.kind == "member":
            way: list[_Place] = [("in", child, place)]
        else:
            way = [self._places[child]]
            fans_out = boxes[place].count < boxes[child].count
            if fans_out and way[0][0] == "in":
                child = way[0][1]
                way = [self._places[child]]
        while way[-1][0]:
            way.append(self._places[way[-1][1]] if way[-1][0] == "in" else ("", -1, -1))
        return way

    def _anchor(self, place: int) -> int:
        """Return the call that a callback hangs at."""
        at = place
        while at not in self._main and self._parents[at]:
            at = self._parents[at][0].parent
        return at

    def is_errback(self, place: int) -> bool:
        """Return whether a box runs only where another one fails."""
        return any(line.is_error for line in self._parents[place])

    def members(self, join: int) -> int:
        """Return how many nodes a join collects."""
        return sum(len(edge.parents) for edge in self.picture.boxes[join].run.edges if edge.kind == "member")


@dataclass(slots=True)
class _Item:
    """A line that is to be written, with what stands below it.

    Attributes:
        label: What it is.
        box: Place of its box; -1: none.
        chain: Boxes below it, where it is a chain of several.
        node: A node of a folded box.
    """

    label: str
    box: int = -1
    chain: Sequence[int] = ()
    node: Node | None = None


def rows(picture: Picture) -> Iterator[Row]:
    """Yield the lines of the tree.

    Args:
        picture: What is shown.
    """
    tree = _Tree(picture)
    whole = [_item(tree, place) for chain in tree.content["", -1].values() for place in chain]
    stack = [("", iter(_with_last(whole)))]
    while stack:
        indent, items = stack[-1]
        found = next(items, None)
        if found is None:
            stack.pop()
            continue
        item, is_last = found
        box = picture.boxes[item.box] if item.box >= 0 else None
        yield Row(indent + ("└─ " if is_last else "├─ "), item.label, box, item.node)
        stack.append((indent + ("   " if is_last else "│  "), iter(_with_last(_below(tree, item)))))


def _with_last(items: list[_Item]) -> list[tuple[_Item, bool]]:
    return [(item, item is items[-1]) for item in items]


def _item(tree: _Tree, place: int, before: str = "") -> _Item:
    """Return the line of a box."""
    box = tree.picture.boxes[place]
    if box.run.join:
        label = f"group of {tree.members(place):,}"
    else:
        label = box.run.task + (f" [{box.run.id}]" if box.run.id else "")
    return _Item(before + label + (f" x {box.count:,}" if box.count > 1 else ""), place)


def _below(tree: _Tree, item: _Item) -> list[_Item]:
    """Return the lines below a line."""
    if item.chain:
        return [_item(tree, place) for place in item.chain]
    if item.box < 0:
        return []
    box = tree.picture.boxes[item.box]
    found: list[_Item] = []
    if box.count > 1:
        found += [_Item(f"#{node.index}", node=node) for node in box.nodes[:_TROUBLED]]
    for chain in tree.content["in", item.box].values():
        found.append(_item(tree, chain[0]) if len(chain) == 1 else _Item("chain", chain=chain))
    for chain in tree.content["at", item.box].values():
        before = "on error: " if tree.is_errback(chain[0]) else "then: "
        found.append(_item(tree, chain[0], before) if len(chain) == 1 else _Item(f"{before}chain", chain=chain))
    return found


def tree(picture: Picture) -> str:
    """Return the tree as text.

    Args:
        picture: What is shown.
    """
    made = list(rows(picture))
    width = min(60, max((len(row.prefix + row.label) for row in made), default=0))
    lines = [headline(picture.summary)]
    for row in made:
        lines.append("  ".join([(row.prefix + row.label).ljust(width), *lines_of(row)]).rstrip())
    if picture.left_out:
        lines.append(left_out_text(picture))
    return "\n".join(lines)


def headline(summary: Summary) -> str:
    """Return the first line: id, state and tally."""
    marks = ", cancelled" if summary.cancelled else ""
    return f"{summary.id}  {summary.state}  {summary.tally}{marks}"


def left_out_text(picture: Picture) -> str:
    """Return what is said of nodes that have no room."""
    return f"... and {picture.left_out:,} more that are not shown; ask for more boxes to see them"


def lines_of(row: Row) -> list[str]:
    """Return what stands behind a label: bar, state, worker, time, error."""
    node = row.node
    if row.box is not None and row.box.count == 1 and row.box.nodes:
        node = row.box.nodes[0]
    if node is not None:
        return [row.box.state if row.box is not None else node.state, *details(node)]
    if row.box is None:
        return []
    bar = "".join(_BARS.get(state, "·") * width for state, width in bar_parts(row.box.tally))
    return [bar, str(row.box.tally)] if row.box.count > 1 else [row.box.state]


def span(seconds: float) -> str:
    """Return a length of time for people: ``12 ms``, ``3.5 s``, ``1,250 s``."""
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:,.0f} s"


def facts(node: Node) -> list[str]:
    """Return worker, time, retries and losses of a node, those that it has."""
    parts = []
    if node.worker:
        parts.append(node.worker)
    if node.seconds is not None:
        parts.append(span(node.seconds))
    if node.retries:
        parts.append("1 retry" if node.retries == 1 else f"{node.retries} retries")
    if node.losses:
        parts.append(f"lost {node.losses} times" if node.losses > 1 else "lost once")
    if node.replaced_by:
        parts.append(f"replaced by {node.replaced_by}")
    return parts


def details(node: Node) -> list[str]:
    """Return the facts of a node, and what went wrong."""
    if node.origin:
        return [*facts(node), f"because of {node.origin}"]
    return [*facts(node), node.error.splitlines()[0]] if node.error else facts(node)


def bar_parts(tally: Tally, width: int = BAR_WIDTH) -> list[tuple[str, int]]:
    """Return the parts of a bar, each with its state and its width; what there is at all is seen.

    Args:
        tally: What the bar shows.
        width: Of the whole, in any unit; more than the number of states.
    """
    counts = tally.counts
    widths = {state: max(1, round(count * width / tally.nodes)) for state, count in counts.items()}
    while widths and (excess := sum(widths.values()) - width):
        widest = max(widths, key=lambda state: widths[state])
        widths[widest] -= max(1, min(excess, widths[widest] - 1)) if excess > 0 else excess
    return list(widths.items())
