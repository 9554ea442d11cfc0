"""What a soak saw, second by second: the verdict on memory, and the plot. Measures nothing itself.

The plot is SVG written here, so that it needs no other package.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

#: Growth of memory, from the first third after the warm-up to the last one, that is none: a part, and bytes.
GROWTH: Final = 0.05
SLACK: Final = 4 * 1024 * 1024

#: Size of the plot, and of the panel of one line of it.
_WIDTH, _PANEL, _LEFT, _TOP = 900, 150, 90, 30


@dataclass(frozen=True)
class Sample:
    """One look.

    Attributes:
        at: Seconds since the begin.
        coordinator: Anonymous bytes of the coordinator.
        worker: Anonymous bytes of the worker and its children.
        depth: Tasks that waited in queues.
        latency_ms: The slowest but one in a hundred of the single calls since the look before; 0 where there were none.
        done: Things that the load did so far.
        fed: Nodes that the events named so far, as the coordinator's feed counts them.
    """

    at: float
    coordinator: int
    worker: int
    depth: int
    latency_ms: float
    done: int
    fed: int = 0


@dataclass(frozen=True)
class Verdict:
    """Whether memory grew.

    Attributes:
        who: Of which process.
        first: Median of the first third after the warm-up, in bytes.
        last: That of the last third.
        an_hour: Slope by least squares, in bytes an hour.
    """

    who: str
    first: float
    last: float
    an_hour: float

    @property
    def grew(self) -> bool:
        """True where it grew by more than chance."""
        return self.last - self.first > max(SLACK, GROWTH * self.first)

    def __str__(self) -> str:
        said = "GREW" if self.grew else "did not grow"
        return (
            f"{self.who}: {said}: {self.first / 1e6:.1f} MB, then {self.last / 1e6:.1f} MB; "
            f"slope {self.an_hour / 1e6:+.1f} MB an hour"
        )


def filled(samples: Sequence[Sample], bound: int) -> float | None:
    """Return the second from which on the feed of events has as much as it keeps; None: it has less all along.

    Until then the coordinator's memory grows, as it should; nothing else that it keeps takes as long to fill.

    Args:
        samples: All looks.
        bound: Nodes that the feed keeps.
    """
    return next((sample.at for sample in samples if sample.fed >= bound), None)


def minutes_to_fill(samples: Sequence[Sample], bound: int) -> float:
    """Return after how many minutes the feed would be full, at the pace so far; infinity where nothing came."""
    last = samples[-1]
    return last.at * bound / last.fed / 60 if last.fed else float("inf")


def judge(samples: Sequence[Sample], warm: float) -> list[Verdict]:
    """Return the verdict on each process.

    Args:
        samples: All looks.
        warm: Seconds that do not count.

    Raises:
        SystemExit: too few looks are left.
    """
    counted = [sample for sample in samples if sample.at >= warm]
    third = len(counted) // 3
    if third < 2:
        raise SystemExit("too few looks to judge: let it run for longer, or warm up for less")
    found = []
    for who in ("coordinator", "worker"):
        sizes = [float(getattr(sample, who)) for sample in counted]
        slope = statistics.linear_regression([sample.at for sample in counted], sizes).slope
        found.append(Verdict(who, statistics.median(sizes[:third]), statistics.median(sizes[-third:]), slope * 3600))
    return found


def draw(samples: Sequence[Sample], warm: float, title: str) -> str:
    """Return the plot as SVG: memory of both, queue depth and latency over time."""
    lines = (
        ("coordinator, MB", [sample.coordinator / 1e6 for sample in samples]),
        ("worker, MB", [sample.worker / 1e6 for sample in samples]),
        ("tasks in queues", [float(sample.depth) for sample in samples]),
        ("p99 of a call, ms", [sample.latency_ms for sample in samples]),
    )
    height = _TOP + len(lines) * _PANEL + 30
    end = max(samples[-1].at, 1.0)
    across = [_LEFT + sample.at / end * (_WIDTH - _LEFT - 20) for sample in samples]
    warm_x = _LEFT + min(warm / end, 1.0) * (_WIDTH - _LEFT - 20)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}">',
        '<g font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="{_LEFT}" y="18" font-size="14">{escape(title)}</text>',
        f'<rect x="{_LEFT}" y="{_TOP}" width="{warm_x - _LEFT:.0f}" height="{len(lines) * _PANEL}" fill="#f0f0f0"/>',
    ]
    for number, (name, values) in enumerate(lines):
        parts.append(_panel(name, across, values, _TOP + number * _PANEL))
    parts.append(f'<text x="{_LEFT}" y="{height - 8}">0</text>')
    parts.append(f'<text x="{_WIDTH - 20}" y="{height - 8}" text-anchor="end">{end / 60:.1f} minutes</text></g></svg>')
    return "\n".join(parts) + "\n"


def _panel(name: str, across: Sequence[float], values: Sequence[float], top: float) -> str:
    most = max([*values, 1.0]) * 1.1
    bottom = top + _PANEL - 15
    points = " ".join(
        f"{x:.1f},{bottom - value / most * (_PANEL - 25):.1f}" for x, value in zip(across, values, strict=True)
    )
    return (
        f'<line x1="{_LEFT}" y1="{bottom}" x2="{_WIDTH - 20}" y2="{bottom}" stroke="#888"/>'
        f'<polyline points="{points}" fill="none" stroke="#1f77b4" stroke-width="1.2"/>'
        f'<text x="{_LEFT - 6}" y="{top + 20}" text-anchor="end">{max(values):,.0f}</text>'
        f'<text x="{_LEFT - 6}" y="{bottom}" text-anchor="end">0</text>'
        f'<text x="{_LEFT + 6}" y="{top + 12}" fill="#555">{escape(name)}</text>'
    )
