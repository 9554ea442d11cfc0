"""A graph as boxes and lines with their places, for a browser to draw: folded, so that it stays small. Pure.

The folding and the places are those of `GraphView.svg`; what is here is what a page needs to colour, name and press
them.
"""

from typing import Any, Final

from grpcflow.graph.boxes import Box, Picture
from grpcflow.graph.layout import Spot, lay_out
from grpcflow.graph.svg import lanes_room, path_of

__all__ = ["BOXES", "drawing"]

#: Boxes that are drawn at most.
BOXES: Final = 300
#: Pixels: of a box, of what collects a group, of each line of text, and around everything.
_WIDTH: Final = 208.0
_JOIN: Final = 26.0
_HEIGHT: Final = 46.0
_LINE: Final = 16.0
_MARGIN: Final = 14.0
#: Letters that fit a title and a small line.
_TITLE: Final = 25
_SMALL: Final = 29


def drawing(picture: Picture) -> dict[str, Any]:
    """Return boxes and lines as plain data.

    Args:
        picture: The folded graph.

    Returns:
        ``boxes`` (``x``, ``y``, ``width``, ``height``, ``state``, ``title``, ``small``, ``counts``, ``first``, ``ids``,
        ...), ``lines`` (``path``, ``is_error``), ``width`` and ``height`` of the whole, ``left_out``: nodes not drawn.
    """
    layout = lay_out([_size(box) for box in picture.boxes], picture.lines)
    room = lanes_room(layout) if len(layout.bands) > 1 else 0.0
    return {
        "width": round(layout.width + 2 * (room + _MARGIN)),
        "height": round(layout.height + 2 * _MARGIN),
        "left": room + _MARGIN,
        "top": _MARGIN,
        "boxes": [
            _box(box, spot, place == picture.end)
            for place, (box, spot) in enumerate(zip(picture.boxes, layout.spots, strict=False))
        ],
        "lines": [{"path": path_of(way, layout), "is_error": way.line.is_error} for way in layout.ways],
        "left_out": picture.left_out,
    }


def _size(box: Box) -> tuple[float, float]:
    if box.run.join:
        return _JOIN, _JOIN
    more = (1 if box.count > 1 else 0) + (1 if _error(box) else 0)
    return _WIDTH, _HEIGHT + more * _LINE


def _box(box: Box, spot: Spot, is_end: bool) -> dict[str, Any]:
    title = "join" if box.run.join else box.run.task
    node = box.nodes[0] if box.count == 1 and box.nodes else None
    return {
        "x": round(spot.x, 1),
        "y": round(spot.y - spot.height / 2, 1),
        "width": round(spot.width, 1),
        "height": round(spot.height, 1),
        "join": box.run.join,
        "state": box.state,
        "end": is_end,
        "count": box.count,
        "title": title,
        "short": _title(box),
        "small": _cut(str(box.tally) if node is None else _fact(box), _SMALL),
        "error": _cut(_error(box), _SMALL),
        "queue": box.run.queue,
        "counts": box.tally.counts,
        "first": box.run.first,
        "id": node.id if node else "",
        # Of many those that did not succeed; the timeline has the others.
        "nodes": [{"id": one.id, "state": one.state, "error": one.error} for one in box.nodes],
    }


def _title(box: Box) -> str:
    """Return the last two parts of a task's name, and how many calls there are."""
    name = ".".join(box.run.task.split(".")[-2:])
    many = f" \N{MULTIPLICATION SIGN} {box.count:,}" if box.count > 1 else ""
    return _cut(name, _TITLE - len(many)) + many


def _fact(box: Box) -> str:
    node = box.nodes[0]
    facts = [box.state]
    if node.started and node.settled:
        facts.append(f"{(node.settled - node.started).total_seconds():.2f} s")
    if node.retries:
        facts.append(f"retried {node.retries}")
    if node.replaced_by:
        facts.append("replaced")
    return " \N{MIDDLE DOT} ".join(facts)


def _error(box: Box) -> str:
    """Return the first line of what went wrong here, and not of what only followed."""
    node = next((one for one in box.nodes if one.error and not one.origin), None)
    return node.error.splitlines()[0] if node is not None else ""


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
