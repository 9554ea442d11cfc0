"""The four panes together: what stands in them, which one is chosen, and how they share the room. Draws only."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from textual import events
from textual.app import ComposeResult
from textual.containers import Container, Vertical

from grpcflow.cli.top.layout import shared
from grpcflow.cli.top.model import Line, Listing, QueueLine, View
from grpcflow.cli.top.pane import Pane
from grpcflow.cli.top.rows import (
    FAILURE_COLUMNS,
    QUEUE_COLUMNS,
    RUNNING_COLUMNS,
    WORKER_COLUMNS,
    failure_row,
    queue_row,
    running_row,
    worker_row,
)
from grpcflow.cli.top.table import Row

__all__ = ["FAILURES", "QUEUES", "RUNNING", "WORKERS", "Panes"]

WORKERS, QUEUES, RUNNING, FAILURES = range(4)

#: Cells from which on there are two columns of panes.
_WIDE: Final = 140


class Panes(Container):
    """The four panes.

    Attributes:
        shown: The view that stands in them.
        chosen: Which pane is chosen.
    """

    def __init__(self) -> None:
        super().__init__(id="panes")
        self.shown = View()
        self.chosen = WORKERS
        self._panes = (
            Pane(1, "WORKERS", WORKER_COLUMNS, "no worker is connected"),
            Pane(2, "QUEUES", QUEUE_COLUMNS, "no queue is served, and nothing waits"),
            Pane(3, "RUNNING", RUNNING_COLUMNS, "nothing runs"),
            Pane(4, "FAILURES", FAILURE_COLUMNS, "nothing has failed for good"),
        )
        self._left = Vertical(*self._panes[:RUNNING], id="left")
        self._right = Vertical(*self._panes[RUNNING:], id="right")
        self._needs = [0] * len(self._panes)
        self._zoomed = False

    def compose(self) -> ComposeResult:
        """Build the two columns."""
        yield self._left
        yield self._right

    # --- what stands in them ------------------------------------------------------------------------------

    def show(self, view: View, now: datetime, wanted: str) -> None:
        """Show another view.

        Args:
            view: The view.
            now: The time here.
            wanted: The text that lines are filtered by; empty: they are not.
        """
        self.shown = view
        self._fill(WORKERS, view.workers, [worker_row(line) for line in view.workers.lines], wanted)
        self._fill(QUEUES, view.queues, [queue_row(line) for line in view.queues.lines], wanted)
        self._fill(RUNNING, view.running, [running_row(line) for line in view.running.lines], wanted)
        self._fill(FAILURES, view.failures, [failure_row(line, now) for line in view.failures.lines], wanted)
        self._arrange()

    def _fill(self, at: int, listing: Listing[Line], rows: Sequence[Row], wanted: str) -> None:
        count = sum(1 for line in listing.lines if not (isinstance(line, QueueLine) and line.is_lane))
        whole = f"{count + listing.left_out:,}{'+' if listing.at_least else ''}"
        more = f"and {listing.left_out:,} more" if listing.left_out else "and more" if listing.at_least else ""
        empty = "…" if not self.shown.asked else f"nothing with {wanted!r} in it" if wanted else ""
        self._panes[at].show(rows, whole if rows else "", more, empty=empty, old=bool(self.shown.fault))
        self._needs[at] = max(self._needs[at], self._panes[at].need)

    @property
    def row(self) -> Row | None:
        """The line that the cursor of the chosen pane is on; None: there is none."""
        return self._panes[self.chosen].chosen

    @property
    def line(self) -> Line | None:
        """What that line is about."""
        listing = (self.shown.workers, self.shown.queues, self.shown.running, self.shown.failures)[self.chosen]
        return listing.lines[self._panes[self.chosen].at] if listing.lines else None

    # --- which one, and how large -------------------------------------------------------------------------

    def choose(self, at: int) -> None:
        """Choose a pane."""
        self._panes[at].display = True
        (self._left if at < RUNNING else self._right).display = True
        self._panes[at].focus()

    def choose_again(self) -> None:
        """Let the chosen pane have the keys again."""
        self._panes[self.chosen].focus()
        self._arrange(anew=True)

    def zoom(self) -> None:
        """Show the chosen pane alone, or all again."""
        self._zoomed = not self._zoomed
        self._arrange(anew=True)

    def on_pane_moved(self) -> None:
        """Note which pane is chosen now; whoever holds the panes is told, too."""
        for at, pane in enumerate(self._panes):
            if pane.has_focus and at != self.chosen:
                self.chosen = at
                self._arrange(anew=True)

    def on_resize(self, event: events.Resize) -> None:
        """Share the room anew."""
        del event
        self._arrange(anew=True)

    def _arrange(self, *, anew: bool = False) -> None:
        """Share the room among the panes.

        Args:
            anew: True: what they needed before is forgotten; else none shrinks, so that little moves.
        """
        if anew:
            self._needs = [pane.need for pane in self._panes]
        room, wide = max(4, self.size.height), self.size.width >= _WIDE
        self.set_class(wide and not self._zoomed, "wide")
        for at, pane in enumerate(self._panes):
            pane.display = not self._zoomed or at == self.chosen
        self._left.display = not self._zoomed or self.chosen < RUNNING
        self._right.display = not self._zoomed or self.chosen >= RUNNING
        heights = self._heights(room, wide)
        for pane, height in zip(self._panes, heights, strict=True):
            pane.styles.height = height
        both = (sum(heights[:RUNNING]), sum(heights[RUNNING:]))
        self._left.styles.height, self._right.styles.height = (room, room) if wide or self._zoomed else both

    def _heights(self, room: int, wide: bool) -> list[int]:
        if self._zoomed:
            return [room if at == self.chosen else 0 for at in range(len(self._panes))]
        if not wide:
            return shared(room, self._needs, self.chosen)
        halves = (self._needs[:RUNNING], self._needs[RUNNING:])
        places = (self.chosen, self.chosen - RUNNING)
        return [
            height
            for half, place in zip(halves, places, strict=True)
            for height in shared(room, half, place if 0 <= place < len(half) else None)
        ]
