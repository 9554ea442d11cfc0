"""What the parts of a cluster share: the event loop, the coordinator and the works of the workers on it.

Not for tests to use: `Cluster`, `Worker` and `Time` are the faces of it.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from grpcflow.queues import DIRECT
from grpcflow.testing.calls import CallLog
from grpcflow.testing.clock import Clock
from grpcflow.testing.loop import BackgroundLoop
from grpcflow.testing.stillness import Stillness
from grpcflow_coordinator.config import Config
from grpcflow_coordinator.core.events import Tick
from grpcflow_coordinator.engine import Engine
from grpcflow_coordinator.server import Coordinator
from grpcflow_coordinator.storage.contract import Batch
from grpcflow_coordinator.storage.memory import MemoryStore

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.testing.worker import Hand

__all__ = ["Inside"]


class Inside:
    """A coordinator and workers on one event loop in a thread.

    Args:
        app: The app.
        settings: Those of the coordinator, by name.
        timeout: Real seconds that a wait may take where it says nothing itself.
        raise_errors: True: ``check_errors`` raises what tasks raised.

    Attributes:
        app, timeout, raise_errors: The same.
        clock: The coordinator's.
        log: What ran.
        hands: The workers that are there.
    """

    def __init__(self, app: "Grpcflow", settings: Mapping[str, Any], timeout: float, raise_errors: bool) -> None:
        self.app = app
        self.timeout = timeout
        self.raise_errors = raise_errors
        self.clock = Clock()
        self.log = CallLog(app)
        self.hands: list[Hand] = []
        self._settings = settings
        self._background: BackgroundLoop | None = None
        self._coordinator: Coordinator | None = None
        self._stillness: Stillness | None = None
        #: How many tasks and lines there were when workers were told of them last.
        self._told = (0, 0)

    # --- its life -----------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """True from `open` to `close`."""
        return self._background is not None

    def open(self) -> None:
        """Start the loop and the coordinator on it."""
        self._background = BackgroundLoop("grpcflow-testing")
        self._background.run(self._serve())
        self.log.connect()

    def close(self) -> None:
        """End all of it.

        Raises:
            TimeoutError: A task runs on and cannot be ended.
        """
        background, hands = self.background, tuple(self.hands)
        try:
            background.run(self._end())
        finally:
            self.log.disconnect()
            background.close()
            self.hands.clear()
            self._background = self._coordinator = self._stillness = None
        for hand in hands:
            hand.join()

    async def _serve(self) -> None:
        store = MemoryStore(failpoint=self._written)
        self._coordinator = Coordinator(Config(**self._settings), store, now=self.clock)
        self._stillness = Stillness(self._coordinator.engine)
        await self._coordinator.start()

    async def _end(self) -> None:
        await asyncio.gather(*(hand.leave(self.timeout) for hand in self.hands))
        if self._coordinator is not None:
            await self._coordinator.stop()

    # --- its parts ----------------------------------------------------------------------------------------

    @property
    def background(self) -> BackgroundLoop:
        """The event loop that all of it runs on."""
        if self._background is None:
            raise RuntimeError("this cluster does not run: use it inside of its with")
        return self._background

    @property
    def address(self) -> str:
        """``HOST:PORT`` of the coordinator."""
        return self._serving().address

    @property
    def engine(self) -> Engine:
        """The coordinator's engine; its memory belongs to the event loop."""
        return self._serving().engine

    @property
    def stillness(self) -> Stillness:
        """Knows when the coordinator rests."""
        self._serving()
        assert self._stillness is not None
        return self._stillness

    def _serving(self) -> Coordinator:
        if self._coordinator is None:
            raise RuntimeError("this cluster does not run: use it inside of its with")
        return self._coordinator

    def check_errors(self) -> None:
        """Raise what tasks raised since the last time, where that was asked for."""
        failures = self.log.take_failures() if self.raise_errors else []
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise BaseExceptionGroup(f"{len(failures)} tasks failed", failures)

    # --- workers ------------------------------------------------------------------------------------------

    def hire(self, hand: "Hand") -> None:
        """Start a worker, and wait until the coordinator knows it.

        Raises:
            RuntimeError: It has ended at once, or did not arrive in time.
        """
        self.background.run(self._hire(hand))

    async def _hire(self, hand: "Hand") -> None:
        self.hands.append(hand)
        await hand.start()
        sessions, names = self.engine.machine.cluster.sessions, self.engine.machine.cluster.by_name
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeout
        while (session := sessions.get(names.get(hand.config.name, b""))) is None or session.stream is None:
            if not hand.is_running or loop.time() > deadline:
                await hand.leave(0.0)
                self.hands.remove(hand)
                raise RuntimeError(f"the worker {hand.config.name} did not arrive; its log says why")
            await self.stillness.next_change()

    def dismiss(self, hand: "Hand", timeout: float | None) -> None:
        """End a worker; one that has ended is left alone."""
        if hand in self.hands:
            self.background.run(hand.leave(self.timeout if timeout is None else timeout))
            self.hands.remove(hand)
            hand.join()

    # --- what workers are told of beside the wire ----------------------------------------------------------

    def _written(self, when: str, batch: Batch) -> None:
        """The coordinator writes: called on the loop, before and after each commit."""
        del batch
        if when != "after" or self._stillness is None:
            return
        self._stillness.touch()
        if self._told != self._known():
            asyncio.get_running_loop().call_soon(self._tell)

    def _known(self) -> tuple[int, int]:
        return len(self.app.tasks) if self.app.finalized else 0, len(self.engine.machine.cluster.lines.by_key)

    def queues(self) -> tuple[str, ...]:
        """All queues that there are, but those that one worker alone serves."""
        lines = self.engine.machine.cluster.lines.by_key
        named = [key.queue for key in list(lines) if not key.queue.endswith(DIRECT)]
        return tuple(dict.fromkeys([self.app.conf.task_default_queue, *named]))

    def _tell(self) -> None:
        """Let sessions know of tasks and queues that were not there when their workers said hello.

        A worker that is a process imports its tasks before it starts; a test defines them as it goes on.
        """
        if self._coordinator is None:
            return
        self._told = self._known()
        serving_all = {hand.config.name: hand.serves_all for hand in self.hands}
        tasks, queues = frozenset(self.app.tasks), self.queues()
        for session in self.engine.machine.cluster.sessions.values():
            if session.name in serving_all:
                if serving_all[session.name]:
                    session.serve(tuple(dict.fromkeys([*session.queues, *queues])))
                session.facts = replace(session.facts, tasks=tasks, queues=session.queues)
        self.engine.post(Tick())
