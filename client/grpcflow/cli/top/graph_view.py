"""A look into one graph, live: the tree that `grpcflow graph show` draws, drawn again and again.

Asks its source in a thread; what is done to the graph is asked of the app.
"""

import threading
import time
from typing import ClassVar, Final

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Static

from grpcflow import errors
from grpcflow.cli.graph_screen import drawn
from grpcflow.cli.top.colours import ACCENT, BAD, DIM
from grpcflow.cli.top.keys import keys_text
from grpcflow.cli.top.text import clean
from grpcflow.cli.top.watch import Source
from grpcflow.graph.boxes import Picture

__all__ = ["GraphLook"]

_KEYS: Final = (
    ("Esc", "back"),
    ("arrows", "scroll"),
    ("i", "ids"),
    ("c", "cancel"),
    ("r", "retry"),
    ("space", "freeze"),
    ("q", "quit"),
)


class GraphLook(Screen[None]):
    """One graph.

    Args:
        source: Where it is asked for.
        id: Id of one of its tasks.
        interval: Seconds between two looks.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,backspace", "back", show=False),
        Binding("i", "ids", show=False),
        Binding("space", "freeze", show=False),
        Binding("c", "cancel", show=False),
        Binding("r", "retry", show=False),
    ]

    class Asked(Message):
        """A key asks for something to be done to the graph.

        Args:
            what: `cancel` or `retry`.
            id: Id of one of its tasks.
        """

        def __init__(self, what: str, id: str) -> None:
            super().__init__()
            self.what = what
            self.id = id

    class Came(Message):
        """The graph as it is now, or why that is not known.

        Args:
            picture: The graph; None: it is not known.
            fault: Why not.
        """

        def __init__(self, picture: Picture | None, fault: str = "") -> None:
            super().__init__()
            self.picture = picture
            self.fault = fault

    def __init__(self, source: Source, id: str, interval: float) -> None:
        super().__init__()
        self.task_id = id
        self.ended = False
        self._source = source
        self._interval = interval
        self._over = threading.Event()
        self._picture: Picture | None = None
        self._fault = ""
        self._ids = False
        self._frozen = False

    def compose(self) -> ComposeResult:
        """Build the screen."""
        yield Static(id="title")
        with ScrollableContainer(id="tree"):
            yield Static(Text("asking …", DIM), id="drawn")
        yield Static(id="status")
        yield Static(keys_text(_KEYS), id="keys")

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one("#tree").focus()
        self._draw()
        self.run_worker(self._follow, thread=True, name="graph", exit_on_error=True)

    def on_unmount(self) -> None:
        """Look no more."""
        self._over.set()

    def _follow(self) -> None:
        """Look again and again. Runs in a thread."""
        while not self._over.is_set():
            began = time.monotonic()
            try:
                self.post_message(self.Came(self._source.picture(self.task_id)))
            except errors.GrpcflowError as error:
                self.post_message(self.Came(None, clean(str(error))))
            took = time.monotonic() - began
            self._over.wait(max(self._interval - took, took))

    def on_graph_look_came(self, message: Came) -> None:
        """Draw what came."""
        if self._frozen:
            return
        if self._fault and not message.fault:
            self.say("")
        self._picture, self._fault = message.picture or self._picture, message.fault
        self._draw()

    def _draw(self) -> None:
        title = Text.assemble(("graph of ", DIM), (self.task_id, ACCENT), ("   FROZEN" if self._frozen else "", BAD))
        self.query_one("#title", Static).update(title)
        if self._picture is not None:
            self.ended = self._picture.summary.ended
            whole = drawn(self._picture, ids=self._ids)
            # Same length, so that the colours stay where they are.
            whole.plain = "\n".join(_printable(line) for line in whole.plain.split("\n"))
            self.query_one("#drawn", Static).update(whole)
        if self._fault:
            text = self._fault if self._picture is None else f"Trying again: {self._fault}"
            self.say(text, wrong=True)
            if self._picture is None:
                self.query_one("#drawn", Static).update(Text(""))

    def say(self, text: str, *, wrong: bool = False) -> None:
        """Say something on the line above the keys."""
        self.query_one("#status", Static).update(Text(text, BAD if wrong else ""))

    def action_back(self) -> None:
        """Go back to the cluster."""
        self.dismiss(None)

    def action_ids(self) -> None:
        """Show the ids of the tasks, or do not."""
        self._ids = not self._ids
        self._draw()

    def action_cancel(self) -> None:
        """Ask for its end."""
        self.post_message(self.Asked("cancel", self.task_id))

    def action_retry(self) -> None:
        """Ask for another run."""
        self.post_message(self.Asked("retry", self.task_id))

    def action_freeze(self) -> None:
        """Stand still, or go on."""
        self._frozen = not self._frozen
        self._draw()


def _printable(line: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in line)
