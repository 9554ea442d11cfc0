"""The app of `grpcflow top`: brings views to the screens, asks before it acts, and acts in threads.

It asks nobody itself: that is its source's. It restores the terminal whatever ends it.
"""

import asyncio
import signal
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Final

from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen

from grpcflow import errors
from grpcflow.cli.invocation import EXIT_FAILED, EXIT_INTERRUPTED
from grpcflow.cli.top.cluster_screen import ClusterScreen
from grpcflow.cli.top.colours import NAMED
from grpcflow.cli.top.dialogs import Answer, Help, Question
from grpcflow.cli.top.graph_view import GraphLook
from grpcflow.cli.top.model import View
from grpcflow.cli.top.text import clean
from grpcflow.cli.top.watch import Source

__all__ = ["Top"]

_GRAPH: Final = (
    Answer("g", "the whole graph; tasks that run go on to their end, for nothing", "cancel"),
    Answer("G", "the whole graph, and terminate what runs", "cancel-terminate"),
)
_TASK: Final = (
    Answer("t", "this task; it goes on to its end, for nothing", "revoke"),
    Answer("T", "this task, and terminate it", "revoke-terminate"),
)


class Top(App[int]):
    """The full-screen view.

    Args:
        source: Where it has what it shows.
        interval: Seconds between two looks into a graph.

    Attributes:
        crash: What went wrong in a thread by a fault of ours; None: nothing.
    """

    CSS_PATH = "top.tcss"
    TITLE = "grpcflow top"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "leave(0)", show=False),
        Binding("ctrl+c", f"leave({EXIT_INTERRUPTED})", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False),
        Binding("question_mark", "explain", show=False),
    ]

    class Came(Message):
        """Another view.

        Args:
            view: What is to be shown.
        """

        def __init__(self, view: View) -> None:
            super().__init__()
            self.view = view

    class Crashed(Message):
        """A thread has ended by a fault of ours."""

    class Done(Message):
        """Something was done, or could not be.

        Args:
            text: What, as a sentence.
            wrong: True: it could not be done.
        """

        def __init__(self, text: str, *, wrong: bool = False) -> None:
            super().__init__()
            self.text = text
            self.wrong = wrong

    def __init__(self, source: Source, interval: float) -> None:
        super().__init__()
        self.ansi_theme_dark = self.ansi_theme_light = NAMED
        self.crash: BaseException | None = None
        self._source = source
        self._interval = interval
        self._cluster = ClusterScreen(source.address)

    def get_default_screen(self) -> Screen[Any]:
        """Begin with the cluster."""
        return self._cluster

    def on_mount(self) -> None:
        """Begin to look, and end in order when the system asks for it."""
        if threading.current_thread() is threading.main_thread() and not self.is_headless:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self.exit, 128 + number)
        self._source.start(lambda view: self._post(self.Came(view)), self._crashed)

    def _post(self, message: Message) -> None:
        """Hand a message over, from any thread; at the end nobody takes it any more."""
        self.post_message(message)

    def _crashed(self, error: BaseException) -> None:
        """Note a fault of ours and end. Called in a thread."""
        self.crash = error
        self._post(self.Crashed())

    def on_top_crashed(self) -> None:
        """End; whoever runs the app raises what was noted, on a terminal that can be read."""
        self.exit(EXIT_FAILED)

    def on_top_came(self, message: Came) -> None:
        """Show it."""
        self._cluster.show(message.view)

    def on_top_done(self, message: Done) -> None:
        """Say it, on the screen that is seen."""
        screen = self.screen
        (screen if isinstance(screen, GraphLook) else self._cluster).say(message.text, wrong=message.wrong)

    # --- keys ---------------------------------------------------------------------------------------------

    def action_leave(self, code: int) -> None:
        """End."""
        self.exit(code)

    def action_explain(self) -> None:
        """Show the help."""
        self.push_screen(Help())

    def on_cluster_screen_asked(self, message: ClusterScreen.Asked) -> None:
        """Do what a key of the first screen asks."""
        match message.what:
            case "filter":
                self._source.choose(message.subject)
            case "graph":
                self.push_screen(GraphLook(self._source, message.subject, self._interval))
            case "pause" | "resume":
                self._act(partial(self._source.pause_queue, message.subject, message.what == "pause"))
            case "cancel":
                self._ask_cancel(message.subject, message.about, alone=True)
            case _:
                self._ask_retry(message.subject, message.about)

    def on_graph_look_asked(self, message: GraphLook.Asked) -> None:
        """Do what a key of the look into a graph asks."""
        if message.what == "cancel":
            self._ask_cancel(message.id, message.id, alone=False)
        else:
            self._ask_retry(message.id, message.id)

    # --- asking and acting --------------------------------------------------------------------------------

    def _ask_cancel(self, id: str, about: str, *, alone: bool) -> None:
        """Ask what of a graph is to be ended, and end it.

        Args:
            id: Id of one of its tasks.
            about: What it is, in words.
            alone: True: that task may also be ended alone.
        """
        source = self._source

        def answered(value: str | None) -> None:
            name, _, terminate = (value or "").partition("-")
            if name:
                self._act(partial(source.revoke if name == "revoke" else source.cancel, id, bool(terminate)))

        self.push_screen(Question("Cancel?", about, (*(_TASK if alone else ()), *_GRAPH)), answered)

    def _ask_retry(self, id: str, about: str) -> None:
        """Ask whether what did not succeed of a graph is to be run again, and run it."""

        def answered(value: str | None) -> None:
            if value:
                self._act(partial(self._source.retry, id))

        again = Answer("y", "run again what did not succeed; what succeeded keeps its value", "retry")
        self.push_screen(Question("Run it again?", about, (again,)), answered)

    def _act(self, do: Callable[[], str]) -> None:
        """Do something in a thread, and say what came of it."""

        def run() -> None:
            try:
                self._post(self.Done(clean(do())))
            except errors.GrpcflowError as error:
                cure = error.cure if error.cure and error.cure not in str(error) else ""
                self._post(self.Done(clean(f"{error} {cure}".strip()), wrong=True))

        self.run_worker(run, thread=True, name="act")
