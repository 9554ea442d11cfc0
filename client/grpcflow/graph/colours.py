"""The colours of states, the same in every picture."""

from dataclasses import dataclass
from typing import Final

__all__ = ["COLOURS", "Colour", "colour_of"]


@dataclass(frozen=True, slots=True)
class Colour:
    """How a state is painted.

    Attributes:
        line: Of borders, stripes and bars.
        fill: Behind text.
        style: On a terminal, in the words of rich.
    """

    line: str
    fill: str
    style: str


#: By state, in the order of the legend.
COLOURS: Final[dict[str, Colour]] = {
    "SUCCESS": Colour("#1a9c5b", "#f0faf4", "green"),
    "FAILURE": Colour("#d43a3a", "#fdf0f0", "bold red"),
    "REVOKED": Colour("#8e5bb5", "#f7f1fb", "magenta"),
    "REJECTED": Colour("#b5527e", "#fbf1f5", "magenta"),
    "RUNNING": Colour("#2673c9", "#eef5fd", "blue"),
    "RETRY": Colour("#d98a1c", "#fdf6ea", "yellow"),
    "WAITING": Colour("#8a94a3", "#f6f7f9", "bright_black"),
    "IGNORED": Colour("#b9c0ca", "#fafbfc", "bright_black"),
}

#: States that look like another one.
_LIKE: Final = {"STARTED": "RUNNING", "RECEIVED": "RUNNING", "PENDING": "WAITING"}


def colour_of(state: str) -> Colour:
    """Return the colour of a state; one that a task gave itself looks like RUNNING."""
    return COLOURS.get(_LIKE.get(state, state), COLOURS["RUNNING"])
