"""Figures: what one is called, and what is counted until somebody asks. Plain data; imports no library.

A figure has one `Family` and a row for each combination of its labels. Labels come from names that users choose, so
their number is bounded: see `Labels`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

#: Different names that one label shows, in one namespace; all further ones are `OTHER` together.
MOST_LABELS: Final = 200

#: What stands for all names beyond `MOST_LABELS`.
OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Family:
    """What a figure is called.

    Attributes:
        name: in full, with its unit, and `_total` where it only grows.
        kind: what it is to Prometheus.
        help: one sentence.
        labels: names of its labels.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


class Histogram:
    """How many values there were up to each of some bounds.

    Args:
        bounds: the upper bounds, ascending; one without a bound comes on top.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, count: int = 1) -> None:
        """Take in that a value came, so many times."""
        self.counts[bisect_left(self.bounds, value)] += count
        self.total += value * count

    def copy(self) -> Histogram:
        """Return it as it stands now."""
        made = Histogram(self.bounds)
        made.counts, made.total = self.counts.copy(), self.total
        return made


Value: TypeAlias = float | Histogram

#: The values of a figure, by those of its labels.
Rows: TypeAlias = Mapping[tuple[str, ...], Value]

#: All that is told at once.
Figures: TypeAlias = Sequence[tuple[Family, Rows]]


class Labels:
    """Names as labels show them: the first so many that come, each for good, and `OTHER` for all that come later.

    A name never changes from one to the other, so that what was counted under it only grows.

    Args:
        most: how many names are shown.
    """

    __slots__ = ("_most", "_shown")

    def __init__(self, most: int = MOST_LABELS) -> None:
        self._most = most
        self._shown: dict[str, str] = {}

    def of(self, name: str) -> str:
        """Return how a name is shown."""
        shown = self._shown.get(name)
        if shown is not None:
            return shown
        if len(self._shown) >= self._most:
            return OTHER
        self._shown[name] = name
        return name


class Histograms(dict[str, Histogram]):
    """Histograms by label, made as they are needed.

    Args:
        bounds: those of each.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        super().__init__()
        self._bounds = bounds

    def __missing__(self, label: str) -> Histogram:
        made = self[label] = Histogram(self._bounds)
        return made
