"""One coordinator as one set of credentials sees it: a connection, what is known by now, and who is told of news.

Three threads look, as those of `grpcflow top` do: at the coordinator, at the workers, at what happened. They look once
in ten seconds while nobody watches, so that there are curves when somebody comes. It may not know of HTTP.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from grpcflow import errors
from grpcflow.cli.top.gather import Gatherer
from grpcflow.cli.top.model import View
from grpcflow.connection import Connection
from grpcflow.dashboard.history import History
from grpcflow.dashboard.recorder import KINDS, Recorder
from grpcflow.event_model import EventFilter

__all__ = ["IDLE", "Link"]

#: Seconds between two looks while nobody watches.
IDLE: Final = 10.0
#: Seconds between two looks at least, and those that a worker has to answer.
_SHORTEST: Final = 0.05
_PATIENCE: Final = 1.0
#: Seconds back from which on events are read at first; reading them costs the coordinator something.
_BACK: Final = 3600


@dataclass(slots=True, eq=False)
class _Ear:
    """A coroutine that is told of news."""

    loop: asyncio.AbstractEventLoop
    rung: asyncio.Event = field(default_factory=asyncio.Event)


class Link:
    """What is known of the cluster, kept fresh by threads of its own.

    Args:
        connection: Asks the coordinator; closed when the link stops.
        interval: Seconds between two looks while somebody watches.

    Attributes:
        connection: The same.
        history: What happened over the last day.
    """

    def __init__(self, connection: Connection, interval: float = 1.0) -> None:
        self.connection = connection
        self.history = History()
        self._recorder = Recorder(self.history)
        self._gatherer = Gatherer(self, _PATIENCE)
        self._interval = interval
        self._faults: dict[str, errors.GrpcflowError | None] = {}
        self._read: int | None = None
        self._has_read = False
        self._lock = threading.Lock()
        self._ears: set[_Ear] = set()
        self._over = threading.Event()
        self._woken = [threading.Event() for _ in range(3)]
        self._threads: list[threading.Thread] = []

    # --- its life -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look; where it does already, nothing happens."""
        with self._lock:
            if self._threads or self._over.is_set():
                return
            looks = (self._ask_coordinator, self._gatherer.ask_workers, self._read_events)
            for look, woken, name in zip(looks, self._woken, ("coordinator", "workers", "events"), strict=True):
                thread = threading.Thread(
                    target=self._look_again, args=(name, look, woken), name=f"grpcflow-dashboard-{name}", daemon=True
                )
                self._threads.append(thread)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Look no more, close the connection, and tell who listens; a question under way has a second to end."""
        self._over.set()
        self.wake()
        self.connection.close()
        deadline = time.monotonic() + 1.0
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._tell()

    @property
    def is_over(self) -> bool:
        """True once it was stopped."""
        return self._over.is_set()

    def wake(self) -> None:
        """Look at once: somebody has come, or something was changed."""
        for woken in self._woken:
            woken.set()

    # --- looking ------------------------------------------------------------------------------------------

    def _look_again(self, name: str, look: Callable[[], None], woken: threading.Event) -> None:
        while not self._over.is_set():
            woken.clear()
            began = time.monotonic()
            try:
                look()
                self._faults[name] = None
            except errors.GrpcflowError as error:
                self._faults[name] = error
            self._tell()
            took = time.monotonic() - began
            # Questions take half of the time at most, as in `top`: a cluster that answers slowly has much to do.
            woken.wait(max((self._interval if self._ears else IDLE) - took, took, _SHORTEST))

    def _ask_coordinator(self) -> None:
        self._gatherer.ask_coordinator()
        view = self._gatherer.view()
        depths = {line.queue: (line.waiting, line.oldest or 0.0) for line in view.queues.lines if not line.is_lane}
        summary = view.summary
        self.history.stood(time.time(), depths, (summary.workers.get("live", 0), summary.running, summary.places))

    def _read_events(self) -> None:
        """Take in what has happened since the last time; at first all that the coordinator keeps of the last hour."""
        since = datetime.now(UTC) - timedelta(seconds=_BACK)
        since_ms = round(since.timestamp() * 1000) if self._read is None else None
        with closing(self.connection.read_events(EventFilter(self._read, since_ms, KINDS))) as pages:
            for page in pages:
                if page is None or self._over.is_set():
                    return
                self._read = page.next
                self._gatherer.rates.take(page)
                self._recorder.take(page)
        self._has_read = True

    # --- telling ------------------------------------------------------------------------------------------

    @property
    def fault(self) -> str:
        """Why what is known is not fresh; "": it is."""
        return next((str(error) for error in self._faults.values() if error is not None), "")

    @property
    def has_read(self) -> bool:
        """True once what the coordinator kept of the last hour has been read."""
        return self._has_read

    @property
    def is_refused(self) -> bool:
        """True where the coordinator no longer takes the token."""
        return any(error is not None and error.code.startswith("TOKEN_") for error in self._faults.values())

    def view(self, wanted: str = "") -> View:
        """Return what is known by now.

        Args:
            wanted: Only lines in which this text stands.
        """
        return self._gatherer.view(wanted, self.fault)

    def tasks(self) -> dict[str, dict[str, Any]]:
        """Return how tasks did lately: of each how often it ended in which way, and its run times."""
        return self._recorder.tasks()

    @contextmanager
    def heard(self) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever there is news; to be used on an event loop."""
        ear = _Ear(asyncio.get_running_loop())
        with self._lock:
            first = not self._ears
            self._ears.add(ear)
        self.start()
        if first:
            self.wake()
        try:
            yield ear.rung
        finally:
            with self._lock:
                self._ears.discard(ear)

    def _tell(self) -> None:
        """Tell who listens; a loop that has ended needs to know nothing."""
        with self._lock:
            ears = list(self._ears)
        for ear in ears:
            try:
                ear.loop.call_soon_threadsafe(ear.rung.set)
            except RuntimeError:
                with self._lock:
                    self._ears.discard(ear)
