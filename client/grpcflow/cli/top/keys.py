"""The line of keys at the foot of a screen. Draws only."""

from collections.abc import Iterable

from rich.text import Text

from grpcflow.cli.top.colours import COOL, DIM

__all__ = ["keys_text"]


def keys_text(keys: Iterable[tuple[str, str]]) -> Text:
    """Return keys and what they do on one line."""
    line = Text(no_wrap=True, overflow="ellipsis")
    for key, meaning in keys:
        line.append(" " if line.plain else "").append(key, f"bold {COOL}").append(f" {meaning} ", DIM)
    return line
