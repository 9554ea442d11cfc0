"""A pen for the drawings of the documentation: boxes, arrows and lanes as SVG text that follows light and dark.

Knows nothing of what is drawn. Colours are named by what they stand for; a drawing that stands in a page takes those of
the page, one that is looked at by itself those of the system.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

__all__ = ["Drawing", "Step", "page_style", "sequence"]

#: Colours by name, in light and in dark: ink and line, then what fills boxes.
COLOURS: Final = {
    "ink": ("#1f2733", "#e6e9ef"),
    "line": ("#5d6b80", "#a3aec0"),
    "plain": ("#f2f4f8", "#2b313d"),
    "client": ("#dcecff", "#1f3d5c"),
    "coordinator": ("#e8e1ff", "#3d3268"),
    "worker": ("#dbf3e2", "#1e4731"),
    "disk": ("#ffeccb", "#57451c"),
    "bad": ("#fddcdc", "#612a2a"),
    "red": ("#b3261e", "#ff9b94"),
}

_RULES: Final = """text { fill: var(--ink); font: 14px system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; }
.small { font-size: 12.5px; }
.bold { font-weight: 600; }
.code { font-family: ui-monospace, 'DejaVu Sans Mono', monospace; font-size: 13px; }
.line { stroke: var(--line); stroke-width: 1.5; fill: none; }
.head { fill: var(--line); }
.dashed { stroke-dasharray: 5 4; }
.box { stroke: var(--line); stroke-width: 1.2; }
.red { fill: var(--red); }"""


def _colours(dark: bool) -> str:
    return " ".join(f"--{name}: {pair[dark]};" for name, pair in COLOURS.items())


def _style() -> str:
    """Returns the style of a drawing by itself."""
    fills = "\n".join(f".{name} {{ fill: var(--{name}); }}" for name in list(COLOURS)[2:-1])
    dark = f"@media (prefers-color-scheme: dark) {{ svg {{ {_colours(True)} }} }}"
    return f"<style>\nsvg {{ {_colours(False)} }}\n{dark}\n{_RULES}\n{fills}\n</style>"


def page_style() -> str:
    """Returns the rules of a site whose pages hold drawings: the same, in the colours that the reader chose."""
    fills = [f".{name} {{ fill: var(--{name}); }}" for name in list(COLOURS)[2:-1]]
    rules = "\n".join(f".drawing svg {rule}" for rule in [*_RULES.splitlines(), *fills])
    light = f"[data-md-color-scheme] .drawing {{ {_colours(False)} }}"
    halo = ".drawing svg .said { paint-order: stroke; stroke: var(--md-default-bg-color); stroke-width: 4px; }"
    return f"{light}\n{halo}\n[data-md-color-scheme=slate] .drawing {{ {_colours(True)} }}\n{rules}\n"


@dataclass
class Drawing:
    """One drawing, made from left to right and from top to bottom.

    Args:
        title: What it shows, for who cannot see it.
        width: In units of which a letter is about seven wide.
        height: In the same units.
    """

    title: str
    width: int
    height: int
    parts: list[str] = field(default_factory=list)

    def box(self, x: float, y: float, width: float, height: float, text: str, kind: str = "plain") -> None:
        """Draws a box with lines of text in its middle; a line that begins with `~` is small."""
        self.parts.append(
            f'<rect class="box {kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7"/>'
        )
        lines = text.split("\n")
        top = y + height / 2 - (len(lines) - 1) * 9.5 + 5
        for number, line in enumerate(lines):
            self.text(x + width / 2, top + number * 19, line, "middle")

    def text(self, x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> None:
        """Writes a line of text; one that begins with `~` is small, with `*` bold, with `>` code."""
        mark = {"~": "small", "*": "bold", ">": "code"}.get(text[:1], "")
        classes = " ".join(filter(None, (mark, kind)))
        named = f' class="{classes}"' if classes else ""
        where = "" if anchor == "start" else f' text-anchor="{anchor}"'
        told = escape(text[1:] if mark else text, quote=False)
        self.parts.append(f'<text x="{x:g}" y="{y:g}"{where}{named}>{told}</text>')

    def arrow(self, *points: tuple[float, float], text: str = "", dashed: bool = False, up: float = 6) -> None:
        """Draws an arrow through points, with a text above the middle of its longest piece."""
        way = " ".join(f"{'L' if number else 'M'}{x:g} {y:g}" for number, (x, y) in enumerate(points))
        self.parts.append(f'<path class="line{" dashed" if dashed else ""}" d="{way}"/>')
        (x1, y1), (x2, y2) = points[-2:]
        length = ((x2 - x1) ** 2 + (y2 - y1) ** 2) ** 0.5
        dx, dy = (x2 - x1) / length, (y2 - y1) / length
        wings = [(x2 - 9 * dx - side * 4.5 * dy, y2 - 9 * dy + side * 4.5 * dx) for side in (-1, 1)]
        head = " ".join(f"{x:.1f},{y:.1f}" for x, y in [(x2, y2), *wings])
        self.parts.append(f'<polygon class="head" points="{head}"/>')
        if text:
            pairs = list(itertools.pairwise(points))
            (x1, y1), (x2, y2) = max(
                pairs, key=lambda pair: abs(pair[0][0] - pair[1][0]) + abs(pair[0][1] - pair[1][1])
            )
            self.text((x1 + x2) / 2, (y1 + y2) / 2 - up, text, "middle", "said")

    def line(self, x1: float, y1: float, x2: float, y2: float, dashed: bool = False) -> None:
        """Draws a line."""
        self.parts.append(f'<path class="line{" dashed" if dashed else ""}" d="M{x1:g} {y1:g} L{x2:g} {y2:g}"/>')

    def svg(self) -> str:
        """Returns the text of the file."""
        size = f'width="{self.width}" height="{self.height}" viewBox="0 0 {self.width} {self.height}"'
        inner = "\n".join(self.parts)
        title = f"<title>{escape(self.title, quote=False)}</title>"
        return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{title}\n{_style()}\n{inner}\n</svg>\n'


@dataclass(frozen=True)
class Step:
    """One line of a sequence: an arrow between two lanes, or a box over one.

    Attributes:
        at: Number of the lane that begins it.
        to: Number of the lane that it goes to; the same: a box over that lane.
        text: What is said or done.
        kind: Colour of the box.
        dashed: True: an answer, or what gets lost.
    """

    at: int
    to: int
    text: str
    kind: str = "plain"
    dashed: bool = False


def sequence(title: str, lanes: Sequence[tuple[str, str]], steps: Sequence[Step], gap: int = 215) -> Drawing:
    """Draws who says what to whom, downwards in time.

    Args:
        title: What it shows.
        lanes: Name and colour of each who takes part.
        steps: What happens, in its order.
        gap: Between two lanes.
    """
    row, top = 44, 84
    made = Drawing(title, gap * (len(lanes) - 1) + 190, top + row * len(steps) + 8)
    middles = [95 + gap * number for number in range(len(lanes))]
    for x, (name, kind) in zip(middles, lanes, strict=True):
        made.line(x, 46, x, made.height - 8, dashed=True)
        made.box(x - 75, 8, 150, 38, f"*{name}", kind)
    for number, step in enumerate(steps):
        y = top + row * number
        if step.at == step.to:
            width = max(len(line) for line in step.text.split("\n")) * 7.2 + 22
            left = min(max(middles[step.at] - width / 2, 3), made.width - width - 3)
            made.box(left, y - 18, width, 19 * (step.text.count("\n") + 1) + 13, step.text, step.kind)
        else:
            side = 1 if step.to > step.at else -1
            made.arrow(
                (middles[step.at] + side * 2, y), (middles[step.to] - side * 2, y), text=step.text, dashed=step.dashed
            )
    return made
