"""A picture as an SVG document that stands alone: no script, no font and no file beside it. Pure.

What it shows comes from users (names, errors), so everything is escaped, and what XML cannot hold is replaced.
"""

import re
from collections.abc import Iterator
from typing import Final
from xml.sax.saxutils import escape

from grpcflow.graph.boxes import Box, Picture
from grpcflow.graph.colours import COLOURS, colour_of
from grpcflow.graph.layout import Layout, Spot, Way, lane_offset, lay_out
from grpcflow.graph.model import Node
from grpcflow.graph.tree import bar_parts, details, facts, span

__all__ = ["lanes_room", "path_of", "svg"]

#: Pixels around everything, of the head and of the legend.
_MARGIN: Final = 28.0
_HEAD: Final = 62.0
_LEGEND: Final = 46.0
#: Width of a box, and sizes of text.
_NARROWEST: Final = 112.0
_WIDEST: Final = 236.0
_TITLE_SIZE: Final = 13
_SMALL_SIZE: Final = 11
#: Widths of characters as parts of the text's size, in a wide font: what fits with it fits with others.
_WIDTHS: Final = ((re.compile("[A-Z]"), 0.7), (re.compile("[0-9]"), 0.64), (re.compile("[ilj.,:;'|! ]"), 0.34))
_ANY_WIDTH: Final = 0.61
_BOLD: Final = 1.1
#: States on one line of a tally.
_STATES_PER_LINE: Final = 2
#: Narrowest part of a bar in pixels.
_PART: Final = 2.5
_PADDING: Final = 14.0
#: Heights: of a diamond, of a box with two lines, and of each further line.
_DIAMOND: Final = 26.0
_BOX: Final = 46.0
_LINE: Final = 16.0
#: Radius of corners of lines that go to the next band.
_CORNER: Final = 8.0
_INK: Final = "#1f2733"
_SOFT: Final = "#5d6878"
_WIRE: Final = "#9aa5b4"
_FONT: Final = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def svg(picture: Picture) -> str:
    """Return a picture as an SVG document: boxes for calls, diamonds for joins, dashed lines to errbacks.

    Args:
        picture: What is drawn.
    """
    layout = lay_out(_sizes(picture), picture.lines)
    room = 2 * lanes_room(layout) if len(layout.bands) > 1 else 0.0
    around = [_width(_facts(picture), 12), *(x for x, _ in _legend_parts(picture))]
    width = max(layout.width + room, *around) + 2 * _MARGIN
    height = _HEAD + layout.height + _LEGEND + 2 * _MARGIN
    left = (width - layout.width) / 2
    size = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FONT}" role="img">',
        f"<title>{_text(_spoken(picture))}</title>",
        _MARKERS,
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        *_head(picture),
        f'<g transform="translate({left:.1f} {_MARGIN + _HEAD:.1f})">',
        *(_way(way, layout) for way in layout.ways),
        *(_drawn(box, spot) for box, spot in zip(picture.boxes, layout.spots, strict=False)),
        "</g>",
        f'<g transform="translate({_MARGIN} {height - _MARGIN:.1f})">',
        *(part for _, part in _legend_parts(picture)),
        "</g>",
        "</svg>\n",
    ]
    return "\n".join(parts)


_MARKERS: Final = (
    "<defs>"
    + "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0.8 L7.4 4 L0 7.2 Z" fill="{colour}"/></marker>'
        for name, colour in (("arrow", _WIRE), ("error", COLOURS["FAILURE"].line))
    )
    + "</defs>"
)


# --- text --------------------------------------------------------------------------------------------------


def _text(text: str) -> str:
    return escape(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", text), {'"': "&quot;"})


def _width(text: str, size: float, *, bold: bool = False) -> float:
    """Return about how many pixels a text takes."""
    parts = [(len(pattern.findall(text)), width) for pattern, width in _WIDTHS]
    others = len(text) - sum(count for count, _ in parts)
    em = sum(count * width for count, width in parts) + others * _ANY_WIDTH
    return em * size * (_BOLD if bold else 1.0)


def _cut(text: str, width: float, size: float, *, bold: bool = False) -> str:
    """Return text that fits a width; of what is too long the beginning."""
    if _width(text, size, bold=bold) <= width:
        return text
    while text and _width(text + "…", size, bold=bold) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _short(task: str) -> str:
    """Return the last two parts of a task's name."""
    return ".".join(task.split(".")[-2:])


def _spoken(picture: Picture) -> str:
    summary = picture.summary
    return f"Graph {summary.id}: {summary.state}; {summary.tally}"


def _label(x: float, y: float, text: str, size: int, colour: str = _SOFT, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}"{more}>{_text(text)}</text>'


# --- boxes -------------------------------------------------------------------------------------------------


def _title(box: Box) -> str:
    name = _short(box.run.task)
    return f"{name} \N{MULTIPLICATION SIGN} {box.count:,}" if box.count > 1 else name


def _node(box: Box) -> Node | None:
    """Return the one node of a box that stands for one."""
    return box.nodes[0] if box.count == 1 and box.nodes else None


def _never_ran(box: Box) -> bool:
    """Return whether a box failed only because of what was before it: a chord's body has no worker and no origin."""
    return bool(box.nodes) and box.state == "FAILURE" and not any(node.worker for node in box.nodes)


def _small_lines(box: Box) -> list[str]:
    """Return the small lines below a title; the error is not among them."""
    node = _node(box)
    if node is None:
        parts = str(box.tally).split(", ")
        return [", ".join(parts[at : at + _STATES_PER_LINE]) for at in range(0, len(parts), _STATES_PER_LINE)]
    if _never_ran(box):
        return [f"{box.state} · never ran"]
    return [" · ".join([box.state, *facts(node)])]


def _error(box: Box) -> str:
    """Return the first line of what went wrong here; what failed because of another one has it in its tooltip."""
    if _never_ran(box):
        return ""
    node = next((one for one in box.nodes if one.error and not one.origin), None)
    return node.error.splitlines()[0] if node is not None else ""


def _sizes(picture: Picture) -> list[tuple[float, float]]:
    """Return width and height of each box; all are equally wide, but for those that have an error to tell."""
    wanted = [0.0]
    for box in picture.boxes:
        if not box.run.join:
            small = [_width(line, _SMALL_SIZE) for line in _small_lines(box)]
            wanted.append(max(_width(_title(box), _TITLE_SIZE, bold=True), *small))
    usual = min(_WIDEST, max(_NARROWEST, max(wanted) + 2 * _PADDING))
    sizes = []
    for box in picture.boxes:
        if box.run.join:
            sizes.append((_DIAMOND, _DIAMOND))
            continue
        width = min(_WIDEST, max(usual, _width(_error(box), _SMALL_SIZE) + 2 * _PADDING))
        lines = len(_small_lines(box)) - 1 + (1 if box.count > 1 else 0) + (1 if _error(box) else 0)
        sizes.append((width, _BOX + lines * _LINE))
    return sizes


def _tip(box: Box) -> str:
    """Return what is shown when the pointer rests on a box."""
    lines = [f"{box.title} x {box.count:,}" if box.count > 1 else box.title, str(box.tally)]
    for node in box.nodes:
        lines.append(f"{node.id}: {' · '.join([node.state, *details(node)])}")
        if node.origin:
            lines.append(node.error)
    return f"<title>{_text(chr(10).join(lines))}</title>"


def _drawn(box: Box, spot: Spot) -> str:
    """Return a box or a diamond."""
    colour = colour_of(box.state)
    fill = "#ffffff" if _never_ran(box) else colour.fill
    x, y, width, height = spot.x, spot.y - spot.height / 2, spot.width, spot.height
    if box.run.join:
        points = f"{x:.1f},{spot.y:.1f} {x + width / 2:.1f},{y:.1f} {x + width:.1f},{spot.y:.1f}"
        points += f" {x + width / 2:.1f},{y + height:.1f}"
        shape = f'<polygon points="{points}" fill="{fill}" stroke="{colour.line}" stroke-width="1.6"/>'
        return f"<g>{_tip(box)}{shape}</g>"
    parts = [_tip(box)]
    for step in (6.0, 3.0) if box.count > 1 else ():
        parts.append(_card(x + step, y - step, width, height, "#ffffff", colour.line, 0.55))
    parts.append(_card(x, y, width, height, fill, colour.line, 1.0))
    stripe = f"M{x + 7:.1f} {y:.1f} h-1 a6 6 0 0 0 -6 6 v{height - 12:.1f} a6 6 0 0 0 6 6 h1 z"
    parts.append(f'<path d="{stripe}" fill="{colour.line}"/>')
    inner, at = width - 2 * _PADDING + 4, y + 19
    title = _cut(_title(box), inner, _TITLE_SIZE, bold=True)
    parts.append(_label(x + _PADDING, at, title, _TITLE_SIZE, _INK, ' font-weight="600"'))
    if box.count > 1:
        parts.extend(_bar(box, x + _PADDING, at + 8, width - 2 * _PADDING))
        at += _LINE
    for line in _small_lines(box):
        at += _LINE
        parts.append(_label(x + _PADDING, at, _cut(line, inner, _SMALL_SIZE), _SMALL_SIZE))
    if _error(box):
        error = _cut(_error(box), inner, _SMALL_SIZE)
        parts.append(_label(x + _PADDING, at + _LINE, error, _SMALL_SIZE, COLOURS["FAILURE"].line))
    return f"<g>{''.join(parts)}</g>"


def _card(x: float, y: float, width: float, height: float, fill: str, line: str, opacity: float) -> str:
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="6" fill="{fill}" '
        f'stroke="{line}" stroke-opacity="{opacity}"/>'
    )


def _bar(box: Box, x: float, y: float, width: float) -> Iterator[str]:
    """Yield the parts of a bar that says how many stand in which state."""
    for state, parts in bar_parts(box.tally, int(width / _PART)):
        part = parts * _PART
        yield f'<rect x="{x:.1f}" y="{y:.1f}" width="{part:.1f}" height="7" fill="{colour_of(state).line}"/>'
        x += part


# --- lines -------------------------------------------------------------------------------------------------


def path_of(way: Way, layout: Layout) -> str:
    """Return the way of a line in the words of SVG: what stands in the attribute `d` of a path.

    Args:
        way: The way.
        layout: The places that it is among.
    """
    points = way.points
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for index in range(1, len(points)):
        x, y = points[index]
        before_x, before_y = points[index - 1]
        if index in way.breaks:
            path.append(_to_next_band(points[index - 1], points[index], layout, way.breaks[index]))
        elif abs(y - before_y) < 0.5:
            path.append(f"L{x:.1f} {y:.1f}")
        else:
            bend = (x - before_x) / 2
            path.append(f"C{before_x + bend:.1f} {before_y:.1f} {x - bend:.1f} {y:.1f} {x:.1f} {y:.1f}")
    return " ".join(path)


def _way(way: Way, layout: Layout) -> str:
    """Return a line as a path."""
    look = f'stroke="{_WIRE}" marker-end="url(#arrow)"'
    if way.line.is_error:
        look = f'stroke="{COLOURS["FAILURE"].line}" stroke-dasharray="5 4" marker-end="url(#error)"'
    return f'<path d="{path_of(way, layout)}" fill="none" stroke-width="1.4" {look}/>'


def lanes_room(layout: Layout) -> float:
    """Return how many pixels lines from band to band take on each side."""
    most = max((lane for way in layout.ways for lane in way.breaks.values()), default=0)
    return 2 * _CORNER + lane_offset(min(most, 4)) + 6


def _to_next_band(here: tuple[float, float], there: tuple[float, float], layout: Layout, lane: int) -> str:
    """Return the way from the end of a band to the beginning of a later one: out, down, back, down and in."""
    off = lane_offset(lane)
    right, left = layout.width + _CORNER + 4 + off, -2 * _CORNER - 4 - off
    gap = next(top for top, _ in layout.bands if top > here[1]) - 22 - off + 12
    r = _CORNER
    return (
        f"L{right - r:.1f} {here[1]:.1f} q{r} 0 {r} {r} L{right:.1f} {gap - r:.1f} q0 {r} {-r} {r} "
        f"L{left + r:.1f} {gap:.1f} q{-r} 0 {-r} {r} L{left:.1f} {there[1] - r:.1f} q0 {r} {r} {r} "
        f"L{there[0]:.1f} {there[1]:.1f}"
    )


# --- around it ---------------------------------------------------------------------------------------------


def _facts(picture: Picture) -> str:
    """Return what is said of the graph in its second line."""
    summary = picture.summary
    facts = [summary.state, str(summary.tally), f"submitted {summary.created:%Y-%m-%d %H:%M:%S} UTC"]
    if summary.settled is not None:
        facts.append(f"took {span((summary.settled - summary.created).total_seconds())}")
    if summary.cancelled:
        facts.append("cancelled")
    if picture.left_out:
        facts.append(f"{picture.left_out:,} more are not shown")
    return " · ".join(facts)


def _head(picture: Picture) -> Iterator[str]:
    """Yield what stands above the picture."""
    summary = picture.summary
    yield _label(_MARGIN, _MARGIN + 14, summary.id, 16, _INK, ' font-weight="600"')
    state, rest = summary.state, _facts(picture).removeprefix(summary.state)
    yield (
        f'<text x="{_MARGIN}" y="{_MARGIN + 35}" font-size="12" fill="{_SOFT}">'
        f'<tspan fill="{colour_of(state).line}" font-weight="600">{_text(state)}</tspan>{_text(rest)}</text>'
    )


def _legend_parts(picture: Picture) -> Iterator[tuple[float, str]]:
    """Yield the parts of the legend, the states and shapes that there are, each with where it ends."""
    seen = {state for box in picture.boxes for state in (*box.tally.counts, box.state)}
    colours = {colour_of(state).line for state in seen}
    marks = [
        (f'<rect y="-9" width="10" height="10" rx="2.5" fill="{colour.line}"/>', 10, state)
        for state, colour in COLOURS.items()
        if colour.line in colours
    ]
    if any(box.run.join for box in picture.boxes):
        diamond = f'<polygon points="0,-4 6,-10 12,-4 6,2" fill="none" stroke="{_SOFT}" stroke-width="1.3"/>'
        marks.append((diamond, 12, "collects a group"))
    if any(line.is_error for line in picture.lines):
        dashes = f'stroke="{COLOURS["FAILURE"].line}" stroke-width="1.4" stroke-dasharray="5 4"'
        marks.append((f'<path d="M0 -4 h22" {dashes}/>', 22, "on error"))
    x = 0.0
    for mark, width, text in marks:
        part = f'<g transform="translate({x:.1f} 0)">{mark}{_label(width + 6, 0, text, _SMALL_SIZE)}</g>'
        x += width + 6 + _width(text, _SMALL_SIZE)
        yield x, part
        x += 16
