"""The first screen: head, four panes, the line of what is said, and the keys. Draws what comes and asks nobody.

What is to be done is posted as messages; the app does it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Final

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container, Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, Static

from grpcflow.cli.top.colours import BAD, DIM, WARN
from grpcflow.cli.top.header import Header
from grpcflow.cli.top.keys import keys_text
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

__all__ = ["ClusterScreen"]

#: Cells from which on there are two columns of panes.
_WIDE: Final = 140

#: Lines of the head, and of what stands below the panes.
_HEAD: Final = 3
_FOOT: Final = 2

#: Seconds for which a message stands.
_MESSAGE: Final = 8.0

_WORKERS, _QUEUES, _RUNNING, _FAILURES = range(4)

#: Keys of each pane, besides those of all.
_KEYS: Final = (
    (("↵", "only its"),),
    (("p", "pause"), ("↵", "only its")),
    (("↵", "graph"), ("c", "cancel")),
    (("↵", "graph"), ("r", "retry")),
)
_ALWAYS: Final = (("Tab", "pane"), ("/", "filter"), ("z", "zoom"), ("space", "freeze"), ("?", "help"), ("q", "quit"))


class ClusterScreen(Screen[None]):
    """The cluster at a glance.

    Args:
        address: Where the coordinator is.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(at + 1), f"choose({at})", show=False) for at in range(4)),
        Binding("slash", "filter", show=False),
        Binding("escape", "show_all", show=False),
        Binding("z", "zoom", show=False),
        Binding("space", "freeze", show=False),
        Binding("enter", "open", show=False),
        Binding("p", "pause", show=False),
        Binding("c", "cancel", show=False),
        Binding("r", "retry", show=False),
    ]

    class Asked(Message):
        """A key asks for something.

        Args:
            what: `graph`, `cancel`, `retry`, `pause`, `resume`, or `filter`.
            subject: Id of a task, name of a queue, or the text of the filter.
            about: The chosen line in words.
        """

        def __init__(self, what: str, subject: str, about: str = "") -> None:
            super().__init__()
            self.what = what
            self.subject = subject
            self.about = about

    def __init__(self, address: str) -> None:
        super().__init__()
        self._head = Header(address, _now())
        self._panes = (
            Pane(1, "WORKERS", WORKER_COLUMNS, "no worker is connected"),
            Pane(2, "QUEUES", QUEUE_COLUMNS, "no queue is served, and nothing waits"),
            Pane(3, "RUNNING", RUNNING_COLUMNS, "nothing runs"),
            Pane(4, "FAILURES", FAILURE_COLUMNS, "nothing has failed for good"),
        )
        self._needs = [0] * len(self._panes)
        self._chosen = _WORKERS
        self._ready = False
        self._zoomed = False
        self._frozen = False
        self._latest = View()
        self._shown = View()
        self._wanted = ""
        self._message: tuple[str, bool] | None = None
        self._said = 0

    def compose(self) -> ComposeResult:
        """Build the screen."""
        yield self._head
        with Container(id="panes"):
            with Vertical(id="left"):
                yield from self._panes[:_RUNNING]
            with Vertical(id="right"):
                yield from self._panes[_RUNNING:]
        with Horizontal(id="filter"):
            yield Static(Text("only with: ", WARN))
            yield Input(placeholder="a text; Enter keeps it, Escape shows all", compact=True)
        yield Static(id="status")
        yield Static(id="keys")

    def on_mount(self) -> None:
        """Begin with the first pane."""
        self.query_one("#filter").display = False
        self._panes[_WORKERS].focus()
        self.set_interval(1.0, self._tick)
        self._ready = True
        self._draw()

    def on_unmount(self) -> None:
        """Draw nothing any more."""
        self._ready = False

    # --- what it shows ------------------------------------------------------------------------------------

    def show(self, view: View) -> None:
        """Show another view, unless the screen stands still."""
        self._latest = view
        if self._ready and not self._frozen:
            self._draw()

    def _tick(self) -> None:
        """Move the clock, though nothing comes."""
        self._head.show(self._shown, _now(), frozen=self._frozen)

    def _draw(self) -> None:
        view = self._shown = self._latest
        now = _now()
        self._head.show(view, now, frozen=self._frozen)
        self._fill(_WORKERS, view.workers, [worker_row(line) for line in view.workers.lines])
        self._fill(_QUEUES, view.queues, [queue_row(line) for line in view.queues.lines])
        self._fill(_RUNNING, view.running, [running_row(line) for line in view.running.lines])
        self._fill(_FAILURES, view.failures, [failure_row(line, now) for line in view.failures.lines])
        self._arrange()
        self._draw_status()

    def _fill(self, at: int, listing: Listing[Line], rows: Sequence[Row]) -> None:
        count = sum(1 for line in listing.lines if not (isinstance(line, QueueLine) and line.is_lane))
        whole = f"{count + listing.left_out:,}{'+' if listing.at_least else ''}"
        more = f"and {listing.left_out:,} more" if listing.left_out else "and more" if listing.at_least else ""
        empty = "" if self._shown.asked else "…"
        if self._wanted and self._shown.asked:
            empty = f"nothing with {self._wanted!r} in it"
        self._panes[at].show(rows, whole if rows else "", more, empty=empty, old=bool(self._shown.fault))
        self._needs[at] = max(self._needs[at], self._panes[at].need)

    def _arrange(self, *, anew: bool = False) -> None:
        """Share the room among the panes.

        Args:
            anew: True: what they needed before is forgotten; else none shrinks, so that little moves.
        """
        if anew:
            self._needs = [pane.need for pane in self._panes]
        room = max(4, self.size.height - _HEAD - _FOOT)
        wide = self.size.width >= _WIDE
        left, right = self.query_one("#left"), self.query_one("#right")
        self.query_one("#panes").set_class(wide and not self._zoomed, "wide")
        for at, pane in enumerate(self._panes):
            pane.display = not self._zoomed or at == self._chosen
        left.display = not self._zoomed or self._chosen < _RUNNING
        right.display = not self._zoomed or self._chosen >= _RUNNING
        heights = self._heights(room, wide)
        for pane, height in zip(self._panes, heights, strict=True):
            pane.styles.height = height
        both = (sum(heights[:_RUNNING]), sum(heights[_RUNNING:]))
        left.styles.height, right.styles.height = (room, room) if wide or self._zoomed else both

    def _heights(self, room: int, wide: bool) -> list[int]:
        if self._zoomed:
            return [room if at == self._chosen else 0 for at in range(len(self._panes))]
        if not wide:
            return shared(room, self._needs, self._chosen)
        halves = (self._needs[:_RUNNING], self._needs[_RUNNING:])
        places = (self._chosen, self._chosen - _RUNNING)
        return [
            height
            for half, place in zip(halves, places, strict=True)
            for height in shared(room, half, place if 0 <= place < len(half) else None)
        ]

    def on_resize(self, event: events.Resize) -> None:
        """Share the room anew."""
        del event
        self._arrange(anew=True)

    def on_pane_moved(self, event: Pane.Moved) -> None:
        """Show the line that is chosen now; a message has been read by then."""
        del event
        self._message = None
        for at, pane in enumerate(self._panes):
            if pane.has_focus and at != self._chosen:
                self._chosen = at
                self._arrange(anew=True)
        self._draw_status()

    # --- what it says -------------------------------------------------------------------------------------

    def say(self, text: str, *, wrong: bool = False) -> None:
        """Say something on the line above the keys, for some seconds.

        Args:
            text: What.
            wrong: True: something could not be done.
        """
        self._message = (text, wrong)
        self._said += 1
        said = self._said
        self.set_timer(_MESSAGE, lambda: self._unsay(said))
        self._draw_status()

    def _unsay(self, said: int) -> None:
        if said == self._said:
            self._message = None
            self._draw_status()

    def _draw_status(self) -> None:
        line = Text(no_wrap=True, overflow="ellipsis")
        if self._message is not None:
            line.append(self._message[0], BAD if self._message[1] else "bold")
        else:
            if self._wanted:
                line.append(f"only {self._wanted!r}, Esc shows all  ", WARN)
            row = self._panes[self._chosen].chosen
            line.append("" if row is None else row.detail, DIM)
        self.query_one("#status", Static).update(line)
        self.query_one("#keys", Static).update(keys_text((*_KEYS[self._chosen], *_ALWAYS)))

    # --- keys ---------------------------------------------------------------------------------------------

    def action_choose(self, at: int) -> None:
        """Choose a pane."""
        if self._zoomed:
            self._panes[at].display = True
            (self.query_one("#left") if at < _RUNNING else self.query_one("#right")).display = True
        self._panes[at].focus()

    def action_zoom(self) -> None:
        """Show the chosen pane alone, or all again."""
        self._zoomed = not self._zoomed
        self._arrange(anew=True)

    def action_freeze(self) -> None:
        """Stand still, or go on."""
        self._frozen = not self._frozen
        self._draw()

    def action_filter(self) -> None:
        """Let a text be typed."""
        self.query_one("#filter").display, self.query_one("#status").display = True, False
        self.query_one(Input).focus()

    def action_show_all(self) -> None:
        """End the filter."""
        self._want("")
        self._close_filter()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show what fits so far."""
        self._want(event.value)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the filter."""
        del event
        self._close_filter()

    def _want(self, text: str) -> None:
        if text != self._wanted:
            self._wanted = text
            self.post_message(self.Asked("filter", text))

    def _close_filter(self) -> None:
        with self.prevent(Input.Changed):
            self.query_one(Input).value = self._wanted
        self.query_one("#filter").display, self.query_one("#status").display = False, True
        self._panes[self._chosen].focus()
        self._arrange(anew=True)
        self._draw_status()

    def on_pane_opened(self, event: Pane.Opened) -> None:
        """Open what was clicked on."""
        del event
        self.action_open()

    def action_open(self) -> None:
        """Look into the graph of the chosen task; of a worker or a queue: show what it has to do with."""
        row = self._panes[self._chosen].chosen
        if row is None:
            return
        if self._chosen in {_RUNNING, _FAILURES}:
            self.post_message(self.Asked("graph", row.key))
        else:
            queue = self._queue()
            self._want(self._shown.workers.lines[self._line()].name if queue is None else queue.queue)
            self._close_filter()

    def _line(self) -> int:
        """Return which line of the chosen pane the cursor is on."""
        return self._panes[self._chosen].at

    def _queue(self) -> QueueLine | None:
        """Return the chosen queue; None: the pane of queues is not the chosen one."""
        return self._shown.queues.lines[self._line()] if self._chosen == _QUEUES and self._shown.queues.lines else None

    def action_pause(self) -> None:
        """Pause the chosen queue, or resume it."""
        queue = self._queue()
        if queue is None:
            self.say("p pauses a queue: choose one in pane 2.")
            return
        paused = any(line.paused for line in self._shown.queues.lines if line.queue == queue.queue)
        self.post_message(self.Asked("resume" if paused else "pause", queue.queue))

    def action_cancel(self) -> None:
        """Ask whether the chosen task is to be cancelled."""
        row = self._panes[self._chosen].chosen
        if self._chosen != _RUNNING or row is None:
            self.say("c cancels a task that runs: choose one in pane 3.")
            return
        self.post_message(self.Asked("cancel", row.key, row.detail))

    def action_retry(self) -> None:
        """Ask whether the chosen failure is to be run again."""
        row = self._panes[self._chosen].chosen
        if self._chosen != _FAILURES or row is None:
            self.say("r runs a failure again: choose one in pane 4.")
            return
        self.post_message(self.Asked("retry", row.key, row.detail))


def _now() -> datetime:
    """Return the time of day here."""
    return datetime.now().astimezone()
