"""Looks at the cluster again and again, in threads of its own, so that the screen never waits; and does what keys ask.

Three threads: one asks the coordinator, one the workers (a silent one costs its time-out, and holds up nobody else),
one reads what happened. What goes wrong with the coordinator is told in the view, and tried again.
"""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from grpcflow import errors
from grpcflow.cli.top.gather import Gatherer
from grpcflow.cli.top.model import View
from grpcflow.cli.top.rates import COUNTED, KEPT
from grpcflow.cli.top.text import clean
from grpcflow.control import Connected
from grpcflow.event_model import EventFilter
from grpcflow.graph.boxes import Picture
from grpcflow.graph.view import GraphView

__all__ = ["Source", "Watch"]

#: Seconds that lie between two questions at least.
_SHORTEST: Final = 0.02

#: Boxes of a graph that are drawn.
_BOXES: Final = 300


class Source(Protocol):
    """Where the screen has what it shows, and who does what its keys ask."""

    @property
    def address(self) -> str:
        """Where the coordinator is."""
        ...

    def start(self, on_view: Callable[[View], None], on_crash: Callable[[BaseException], None]) -> None:
        """Begin to tell views, from any thread; a bug of ours is told as it is."""
        ...

    def stop(self) -> None:
        """Tell nothing any more."""
        ...

    def choose(self, wanted: str) -> None:
        """Tell only lines with this text from now on."""
        ...

    def picture(self, id: str) -> Picture:
        """Return the graph of a task as it is now; blocks."""
        ...

    def pause_queue(self, queue: str, paused: bool) -> str:
        """Pause a queue, or resume it; blocks. Returns what was done, as a sentence."""
        ...

    def revoke(self, id: str, terminate: bool) -> str:
        """Revoke a task; blocks. Returns what was done."""
        ...

    def cancel(self, id: str, terminate: bool) -> str:
        """Cancel the graph of a task; blocks. Returns what was done."""
        ...

    def retry(self, id: str) -> str:
        """Run again what did not succeed of the graph of a task; blocks. Returns what was done."""
        ...


@dataclass(slots=True)
class _Faults:
    """What is wrong, by who found it; empty: nothing."""

    found: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        return next((text for text in self.found.values() if text), "")


class Watch:
    """The source of a real cluster.

    Args:
        app: Whose coordinator is asked.
        address: Where that is, for people.
        interval: Seconds between two looks.
    """

    def __init__(self, app: Connected, address: str, interval: float) -> None:
        self._app = app
        self._address = address
        self._interval = interval
        self._gatherer = Gatherer(app, min(1.0, max(0.2, interval)))
        self._faults = _Faults({"coordinator": "", "workers": "", "events": ""})
        self._wanted = ""
        #: Offset of the event behind which to read on; None: nothing was read yet.
        self._read: int | None = None
        self._over = threading.Event()
        self._again = threading.Event()
        self._threads: list[threading.Thread] = []
        self._on_view: Callable[[View], None] = lambda _: None
        self._on_crash: Callable[[BaseException], None] = lambda _: None

    @property
    def address(self) -> str:
        """Where the coordinator is."""
        return self._address

    # --- looking ------------------------------------------------------------------------------------------

    def start(self, on_view: Callable[[View], None], on_crash: Callable[[BaseException], None]) -> None:
        """Begin to tell views; see ``Source``."""
        self._on_view, self._on_crash = on_view, on_crash
        for name, run in (
            ("coordinator", self._ask_coordinator),
            ("workers", self._ask_workers),
            ("events", self._read_along),
        ):
            thread = threading.Thread(target=self._guarded, args=(name, run), name=f"grpcflow-top-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Tell nothing any more; a question that is under way is not waited for longer than a moment."""
        self._over.set()
        self._again.set()
        deadline = time.monotonic() + 1.0
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def choose(self, wanted: str) -> None:
        """Tell only lines with this text, beginning at once."""
        self._wanted = wanted
        self._again.set()

    def _guarded(self, name: str, run: Callable[[str], None]) -> None:
        """Run a loop; what is no fault of the coordinator is ours, and is not hidden behind the screen."""
        try:
            run(name)
        except BaseException as error:  # noqa: BLE001 - it is handed on, to be raised where the program ends
            if not self._over.is_set():
                self._on_crash(error)

    def _ask_coordinator(self, name: str) -> None:
        while not self._over.is_set():
            self._again.clear()
            rest = self._look(name, self._gatherer.ask_coordinator)
            self._tell()
            self._again.wait(rest)

    def _ask_workers(self, name: str) -> None:
        first = True
        while not self._over.is_set():
            rest = self._look(name, self._gatherer.ask_workers)
            if first:  # later the other one tells it, so that there is one view for an interval
                self._tell()
            first = False
            self._over.wait(rest)

    def _look(self, name: str, ask: Callable[[], None]) -> float:
        """Ask once; returns the seconds until the next time."""
        began = time.monotonic()
        try:
            ask()
            self._faults.found[name] = ""
        except errors.GrpcflowError as error:
            self._faults.found[name] = clean(str(error))
        # Questions take half of the time at most: a cluster that answers slowly is large, or has much to do.
        took = time.monotonic() - began
        return max(self._interval - took, took, _SHORTEST)

    def _tell(self) -> None:
        """Tell what is known."""
        if not self._over.is_set():
            self._on_view(self._gatherer.view(self._wanted, self._faults.text()))

    def _read_along(self, name: str) -> None:
        while not self._over.is_set():
            self._over.wait(self._look(name, self._read_events))

    def _read_events(self) -> None:
        """Count what has happened since the last time; at first in the last minute, so that there is a curve at once.

        Who follows the feed gets a message for each commit, which costs both sides several times as much as this.
        """
        since = datetime.now(UTC) - timedelta(seconds=KEPT)
        since_ms = max(1, round(since.timestamp() * 1000)) if self._read is None else None
        with closing(self._app.connection.read_events(EventFilter(self._read, since_ms, COUNTED))) as pages:
            for page in pages:
                if page is None or self._over.is_set():
                    return
                self._read = page.next
                self._gatherer.rates.take(page)

    # --- acting -------------------------------------------------------------------------------------------

    def picture(self, id: str) -> Picture:
        """Return the graph of a task as it is now."""
        return GraphView(self._app, id).picture(_BOXES)

    def pause_queue(self, queue: str, paused: bool) -> str:
        """Pause a queue, or resume it."""
        connection = self._app.connection
        (connection.pause_queue if paused else connection.resume_queue)(queue)
        self._again.set()
        return f"Queue {queue} is {'paused; what runs goes on' if paused else 'resumed'}."

    def revoke(self, id: str, terminate: bool) -> str:
        """Revoke a task."""
        done = self._app.connection.revoke([id], terminate, "SIGTERM")
        self._again.set()
        if done.unknown:
            return f"The coordinator does not know {id} any more; nothing was revoked."
        return f"Revoked {id}." if done.revoked else f"{id} had ended already; nothing was revoked."

    def cancel(self, id: str, terminate: bool) -> str:
        """Cancel the graph of a task."""
        done = GraphView(self._app, id).cancel(terminate)
        self._again.set()
        return clean(done)

    def retry(self, id: str) -> str:
        """Run again what did not succeed of the graph of a task."""
        done = GraphView(self._app, id).retry()
        self._again.set()
        return clean(done)
