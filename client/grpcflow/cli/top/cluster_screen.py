"""The first screen: head, four panes, the line of what is said, and the keys. Draws what comes and asks nobody.

What is to be done is posted as messages; the app does it.
"""

from datetime import datetime
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, Static

from grpcflow.cli.top.colours import BAD, DIM, WARN
from grpcflow.cli.top.header import Header
from grpcflow.cli.top.keys import keys_text
from grpcflow.cli.top.model import QueueLine, View, WorkerLine
from grpcflow.cli.top.pane import Pane
from grpcflow.cli.top.panes import FAILURES, RUNNING, WORKERS, Panes

__all__ = ["ClusterScreen"]

#: Seconds for which a message stands.
_MESSAGE: Final = 8.0

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
        self._panes = Panes()
        self._ready = False
        self._frozen = False
        self._latest = View()
        self._wanted = ""
        self._message: tuple[str, bool] | None = None
        self._said = 0

    def compose(self) -> ComposeResult:
        """Build the screen."""
        yield self._head
        yield self._panes
        with Horizontal(id="filter"):
            yield Static(Text("only with: ", WARN))
            yield Input(placeholder="a text; Enter keeps it, Escape shows all", compact=True)
        yield Static(id="status")
        yield Static(id="keys")

    def on_mount(self) -> None:
        """Begin with the first pane."""
        self.query_one("#filter").display = False
        self._panes.choose(WORKERS)
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
        self._head.show(self._panes.shown, _now(), frozen=self._frozen)

    def _draw(self) -> None:
        now = _now()
        self._head.show(self._latest, now, frozen=self._frozen)
        self._panes.show(self._latest, now, self._wanted)
        self._draw_status()

    def on_pane_moved(self, event: Pane.Moved) -> None:
        """Show the line that is chosen now; a message has been read by then."""
        del event
        self._message = None
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
            row = self._panes.row
            line.append("" if row is None else row.detail, DIM)
        self.query_one("#status", Static).update(line)
        self.query_one("#keys", Static).update(keys_text((*_KEYS[self._panes.chosen], *_ALWAYS)))

    # --- keys of the screen -------------------------------------------------------------------------------

    def action_choose(self, at: int) -> None:
        """Choose a pane."""
        self._panes.choose(at)

    def action_zoom(self) -> None:
        """Show the chosen pane alone, or all again."""
        self._panes.zoom()

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
        self._panes.choose_again()
        self._draw_status()

    # --- keys of the chosen line --------------------------------------------------------------------------

    def on_pane_opened(self, event: Pane.Opened) -> None:
        """Open what was clicked on."""
        del event
        self.action_open()

    def action_open(self) -> None:
        """Look into the graph of the chosen task; of a worker or a queue: show what it has to do with."""
        match self._panes.line:
            case None:
                return
            case WorkerLine(name=name) | QueueLine(queue=name):
                self._want(name)
                self._close_filter()
            case task:
                self.post_message(self.Asked("graph", task.id))

    def action_pause(self) -> None:
        """Pause the chosen queue, or resume it."""
        line = self._panes.line
        if not isinstance(line, QueueLine):
            self.say("p pauses a queue: choose one in pane 2.")
            return
        paused = any(one.paused for one in self._panes.shown.queues.lines if one.queue == line.queue)
        self.post_message(self.Asked("resume" if paused else "pause", line.queue))

    def action_cancel(self) -> None:
        """Ask whether the chosen task is to be cancelled."""
        self._ask(RUNNING, "cancel", "c cancels a task that runs: choose one in pane 3.")

    def action_retry(self) -> None:
        """Ask whether the chosen failure is to be run again."""
        self._ask(FAILURES, "retry", "r runs a failure again: choose one in pane 4.")

    def _ask(self, pane: int, what: str, else_say: str) -> None:
        row = self._panes.row
        if self._panes.chosen != pane or row is None:
            self.say(else_say)
        else:
            self.post_message(self.Asked(what, row.key, row.detail))


def _now() -> datetime:
    """Return the time of day here."""
    return datetime.now().astimezone()
