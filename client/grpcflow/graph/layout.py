"""Places for boxes and ways for lines: columns by what waits for what, left to right, in bands below each other. Pure.

A box stands one column behind the last that it waits for. Lines over several columns get a place of their own in each,
so that they run between boxes and not over them. Within a column boxes stand as near to their neighbours' height as
they can. What is wider than a page goes on in the next band, as text does.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from grpcflow.graph.boxes import Line

__all__ = ["Layout", "Spot", "Way", "lay_out"]

#: Columns of a band at most.
_COLUMNS: Final = 8
#: Pixels between columns, between boxes above each other, and between bands; height of a passing line.
_GAP_X: Final = 46.0
_GAP_Y: Final = 18.0
_GAP_BAND: Final = 44.0
_PASSING: Final = 6.0
#: Pixels between lines that run beside each other from band to band.
_LANE: Final = 6.0
#: Rounds in which columns are brought in order, and into line.
_ORDER_ROUNDS: Final = 6
_LINE_ROUNDS: Final = 12
#: Weight of lines to errbacks and of all other lines: what matters runs straight, errbacks stand beside it.
_LIGHT: Final = 0.0005
_HEAVY: Final = 1.0
#: Places by which errbacks stand below what they would stand beside.
_BESIDE: Final = 0.6
#: Places for passing lines at most; beyond that long lines run straight, over what is in the way.
_PASSING_MOST: Final = 3_000


@dataclass(slots=True)
class Spot:
    """A place in a column: of a box, or of a line that passes.

    Attributes:
        width: In pixels.
        height: In pixels.
        layer: Its column, counted over all bands.
        x: Left edge.
        y: Middle.
        before: Places to the left that it is joined to, each with the weight of the line.
        behind: Places to the right.
        weight: How much it holds on to the height that it wants.
    """

    width: float
    height: float
    layer: int
    x: float = 0.0
    y: float = 0.0
    before: list[tuple[int, float]] = field(default_factory=list)
    behind: list[tuple[int, float]] = field(default_factory=list)
    weight: float = _LIGHT


@dataclass(frozen=True, slots=True)
class Way:
    """The way of a line: through these points, and ``breaks`` says before which of them it goes to the next band.

    Attributes:
        line: The line.
        points: x and y.
        breaks: Indexes of points, each with its lane.
    """

    line: Line
    points: tuple[tuple[float, float], ...]
    breaks: dict[int, int]


@dataclass(slots=True)
class Layout:
    """Where everything is.

    Attributes:
        spots: The places, those of the boxes first and in their order.
        ways: The ways of the lines.
        bands: Top and bottom of each band.
        width: Of the whole.
        height: Of the whole.
    """

    spots: list[Spot]
    ways: list[Way] = field(default_factory=list)
    bands: list[tuple[float, float]] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0


def lay_out(sizes: Sequence[tuple[float, float]], lines: Sequence[Line]) -> Layout:
    """Return places for boxes and ways for the lines between them.

    Args:
        sizes: Width and height of each box; a box stands behind those that it waits for.
        lines: The lines.
    """
    layers = _layers(len(sizes), lines)
    layout = Layout([Spot(width, height, layers[place]) for place, (width, height) in enumerate(sizes)])
    routes = _routes(layout.spots, lines)
    columns: list[list[int]] = [[] for _ in range(max(layers, default=-1) + 1)]
    for place, spot in enumerate(layout.spots):
        columns[spot.layer].append(place)
    _order(layout.spots, columns)
    _bring_into_line(layout.spots, columns)
    per_band = _per_band(len(columns))
    _place_bands(layout, columns, per_band)
    _find_ways(layout, lines, routes, per_band)
    return layout


def _per_band(columns: int) -> int:
    """Return how many columns a band has, so that all are about equally long."""
    bands = -(-columns // _COLUMNS) or 1
    return -(-columns // bands) or 1


def _layers(count: int, lines: Iterable[Line]) -> list[int]:
    """Return the column of each box; what waits for nothing stands right before the first that waits for it."""
    layers, first, has_parent = [0] * count, [count] * count, [False] * count
    ordered = sorted(lines, key=lambda line: line.child)
    for line in ordered:
        layers[line.child] = max(layers[line.child], layers[line.parent] + 1)
        has_parent[line.child] = True
    for line in ordered:
        first[line.parent] = min(first[line.parent], layers[line.child])
    return [
        first[place] - 1 if not has_parent[place] and first[place] < count else layers[place] for place in range(count)
    ]


def _routes(spots: list[Spot], lines: Sequence[Line]) -> list[list[int]]:
    """Return for each line the places that it joins, with new ones in the columns that it passes."""
    passing = sum(max(0, spots[line.child].layer - spots[line.parent].layer - 1) for line in lines)
    routes = []
    for line in lines:
        route = [line.parent]
        if passing <= _PASSING_MOST:
            for layer in range(spots[line.parent].layer + 1, spots[line.child].layer):
                route.append(len(spots))
                spots.append(Spot(0.0, _PASSING, layer))
        route.append(line.child)
        weight = _LIGHT if line.is_error else _HEAVY
        for left, right in pairwise(route):
            spots[left].behind.append((right, weight))
            spots[right].before.append((left, weight))
            for place in (left, right) if right != line.child or not line.is_error else (left,):
                spots[place].weight = max(spots[place].weight, weight)
        routes.append(route)
    return routes


def _order(spots: list[Spot], columns: list[list[int]]) -> None:
    """Bring each column in the order of the middles of what its places are joined to, from both sides by turns."""
    rank = {place: float(index) for column in columns for index, place in enumerate(column)}
    for turn in range(_ORDER_ROUNDS):
        for column in columns if turn % 2 == 0 else reversed(columns):
            middles = {}
            for place in column:
                joined = _joined(spots[place], turn)
                below = _BESIDE if spots[place].weight < _HEAVY else 0.0
                middles[place] = (_middle(joined, rank) if joined else rank[place]) + below
            column.sort(key=lambda place: (middles[place], rank[place]))
            rank.update({place: float(index) for index, place in enumerate(column)})


def _joined(spot: Spot, turn: int) -> list[tuple[int, float]]:
    """Return what a place looks at in a turn: one side after the other, the same where there is but one."""
    sides = (spot.before, spot.behind) if turn % 2 == 0 else (spot.behind, spot.before)
    return sides[0] or sides[1]


def _middle(joined: Iterable[tuple[int, float]], at: Mapping[int, float]) -> float:
    """Return the middle of what a place is joined to, by weight."""
    joined = list(joined)
    return sum(at[one] * weight for one, weight in joined) / sum(weight for _, weight in joined)


def _bring_into_line(spots: list[Spot], columns: list[list[int]]) -> None:
    """Give all places a height near that of their neighbours, none over another."""
    at = {place: spot.y for place, spot in enumerate(spots)}
    for turn in range(_LINE_ROUNDS):
        for column in columns if turn % 2 == 0 else reversed(columns):
            wanted = []
            for place in column:
                spot = spots[place]
                joined = spot.before + spot.behind if turn == _LINE_ROUNDS - 1 else _joined(spot, turn)
                wanted.append(_middle(joined, at) if joined else at[place])
            found = _spread(
                wanted, [spots[place].height for place in column], [spots[place].weight for place in column]
            )
            at.update(zip(column, found, strict=True))
    for place, y in at.items():
        spots[place].y = y


def _spread(wanted: list[float], heights: list[float], weights: list[float]) -> list[float]:
    """Return heights as near to the wanted ones as can be, in their order and with gaps: pooled where they meet."""
    offsets, at = [], 0.0
    for index, height in enumerate(heights):
        at += height / 2 + (heights[index - 1] / 2 + _GAP_Y if index else 0.0)
        offsets.append(at)
    pools: list[tuple[float, float, int]] = []
    for want, offset, weight in zip(wanted, offsets, weights, strict=True):
        mean, size = want - offset, 1
        while pools and pools[-1][0] > mean:
            before, heavy, count = pools.pop()
            mean = (before * heavy + mean * weight) / (heavy + weight)
            weight, size = heavy + weight, count + size
        pools.append((mean, weight, size))
    shifts = [mean for mean, _, size in pools for _ in range(size)]
    return [shift + offset for shift, offset in zip(shifts, offsets, strict=True)]


def _place_bands(layout: Layout, columns: list[list[int]], per_band: int) -> None:
    """Give all places their x, and put the bands below each other."""
    spots, top = layout.spots, 0.0
    for start in range(0, len(columns), per_band):
        band = columns[start : start + per_band]
        inside = [spots[place] for column in band for place in column]
        above = min(spot.y - spot.height / 2 for spot in inside)
        x = 0.0
        for column in band:
            width = max(spots[place].width for place in column)
            for place in column:
                spot = spots[place]
                spot.x = x + (width - spot.width) / 2
                spot.y += top - above
            x += width + _GAP_X
        bottom = max(spot.y + spot.height / 2 for spot in inside)
        layout.bands.append((top, bottom))
        layout.width = max(layout.width, x - _GAP_X)
        layout.height = bottom
        top = bottom + _GAP_BAND


def _find_ways(layout: Layout, lines: Sequence[Line], routes: list[list[int]], per_band: int) -> None:
    """Find the points of all lines."""
    lanes: dict[int, int] = {}
    for line, route in zip(lines, routes, strict=True):
        points: list[tuple[float, float]] = []
        breaks: dict[int, int] = {}
        for left, right in pairwise(route):
            here, there = layout.spots[left], layout.spots[right]
            points.append((here.x + here.width, here.y))
            band = here.layer // per_band
            if there.layer // per_band != band:
                lanes[band] = lanes.get(band, -1) + 1
                breaks[len(points)] = lanes[band]
            points.append((there.x, there.y))
        layout.ways.append(Way(line, tuple(points), breaks))


def lane_offset(lane: int) -> float:
    """Return how far a line from band to band stands off from the first one, in pixels."""
    return (lane % 5) * _LANE
