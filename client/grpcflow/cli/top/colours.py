"""The colours of the screen, as rich calls them. What they say stands in words too: without colours nothing is lost."""

from typing import Final

from rich.terminal_theme import TerminalTheme

__all__ = ["ACCENT", "BAD", "COOL", "DIM", "GOOD", "NAMED", "WARN", "load_colour", "state_colour"]

GOOD: Final = "#7fc98f"
WARN: Final = "#e5c07b"
BAD: Final = "bold #f0717b"
COOL: Final = "#6cb6f5"
DIM: Final = "#8b93a1"
ACCENT: Final = "bold #d7dce5"

#: What the colours with names are that pictures of graphs use: black, red, green, yellow, blue, magenta, cyan, white.
NAMED: Final = TerminalTheme(
    (21, 24, 29),
    (200, 206, 216),
    [
        (21, 24, 29),
        (240, 113, 123),
        (127, 201, 143),
        (229, 192, 123),
        (108, 182, 245),
        (198, 146, 233),
        (110, 200, 205),
        (200, 206, 216),
    ],
    [
        (139, 147, 161),
        (240, 113, 123),
        (127, 201, 143),
        (229, 192, 123),
        (108, 182, 245),
        (198, 146, 233),
        (110, 200, 205),
        (255, 255, 255),
    ],
)

_STATES: Final = {"live": GOOD, "draining": WARN, "broken": BAD, "no reply": BAD, "unknown": DIM}

#: Parts of the places from which a worker counts as busy.
_BUSY: Final = 0.8


def state_colour(state: str) -> str:
    """Return the colour of a worker's state."""
    return _STATES.get(state, DIM)


def load_colour(part: int, whole: int) -> str:
    """Return the colour of a bar that is so full."""
    if not part or not whole:
        return DIM
    return WARN if part / whole >= _BUSY else GOOD
