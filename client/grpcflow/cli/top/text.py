"""Text for narrow columns: cleaned of what a terminal obeys, cut by cells, numbers and times in few letters. Pure."""

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size

__all__ = ["bar", "clean", "fit", "number", "per_second", "short", "spark"]

#: Letters of a text that are looked at; nobody reads more on one line.
_LONGEST: Final = 1_000

_SPARKS: Final = "▁▂▃▄▅▆▇█"
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"


def clean(text: object, longest: int = _LONGEST) -> str:
    """Return text on one line, without what a terminal would obey or what turns its direction.

    Args:
        text: What somebody said.
        longest: Letters after which it is cut.
    """
    whole = str(text)
    cut = whole if len(whole) <= longest else whole[: longest - 1] + "…"
    return cut if cut.isprintable() else "".join(letter if letter.isprintable() else " " for letter in cut)


def fit(text: str, width: int, *, right: bool = False) -> str:
    """Return text that is exactly so many cells wide, cut with an ellipsis where it is longer."""
    cells = cell_len(text)
    if cells <= width:
        room = " " * (width - cells)
        return room + text if right else text + room
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def number(count: int) -> str:
    """Return a count in at most six letters: 9,999; 12.3k; 4.5M."""
    for size, letter in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if count >= size * (10 if size == 1_000 else 1):
            return f"{count / size:.1f}{letter}" if count < size * 100 else f"{count // size}{letter}"
    return f"{count:,}"


def per_second(rate: float) -> str:
    """Return a rate: 0, 0.4, 12, 9,999, 12.3k."""
    return f"{rate:.1f}" if 0 < rate < 9.95 else number(round(rate))


def short(seconds: float | None) -> str:
    """Return a time in at most six letters: 0.4s, 12s, 3m20s, 2h05m, 4d01h, 120d; of None a question mark."""
    if seconds is None:
        return "?"
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f}s"
    whole = round(seconds)
    for unit, letter, below, name in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= unit:
            rest = f"{whole % unit // below:02}{name}" if whole < unit * 100 else ""
            return f"{whole // unit}{letter}{rest}"
    return f"{whole}s"


def spark(history: Sequence[int], width: int) -> str:
    """Return a history as a line of bars, all of it: where it is longer than the line a bar stands for several seconds.

    Args:
        history: How often in each second, the newest last.
        width: Letters; where the history is shorter it is filled from the left.
    """
    each = max(1, -(-len(history) // max(1, width)))
    sums = [sum(history[max(0, end - each) : end]) for end in range(len(history), 0, -each)][::-1]
    shown = [0] * (width - len(sums)) + sums
    top = max(shown, default=0)
    # The thinnest is for nothing at all, so that a single failure can be seen beside a thousand.
    return "".join(_SPARKS[0 if not value else 1 + (value * 7 - 1) // top if top > 7 else value] for value in shown)


def bar(part: int, whole: int, width: int) -> str:
    """Return a bar that is as full as a part is of the whole; more than the whole is full."""
    eighths = min(width * 8, part * width * 8 // whole) if whole > 0 else 0
    full, rest = divmod(eighths, 8)
    drawn = "█" * full + (_EIGHTHS[rest] if rest else "")
    return drawn + "░" * (width - len(drawn))
