"""Keeps the wanted number of child processes alive: makes them, replaces them, hears of their ends.

It knows processes, not work: what a dead child had is settled by `prefork`. It may NOT run or import user code.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from typing import Final, Protocol

from grpcflow_worker.executor import ExecutorError, ExecutorSettings
from grpcflow_worker.executors.forker import Forker
from grpcflow_worker.executors.frames import Answer, News, Output, Preload, describe_status
from grpcflow_worker.executors.process import ChildProcess

log = logging.getLogger(__name__)

#: First and longest pause before a child that died unused, or a forkserver, is replaced, in seconds.
_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 30.0

#: Seconds that a forkserver gets to end whose app listens to the last signals of a worker.
_RECEIVERS: Final = 6.0

#: How often in a row a dead forkserver is replaced before the executor gives up.
_FORKSERVERS: Final = 3


class Keeper(Protocol):
    """Who works with the children."""

    def child_ready(self, child: ChildProcess) -> None:
        """It can take work."""

    def child_said(self, child: ChildProcess, outputs: list[Output]) -> None:
        """What it said, in order."""

    def child_exited(self, child: ChildProcess, how: str) -> None:
        """It is gone and has said its last; `how` is for people."""

    def gave_up(self, reason: str) -> None:
        """No children can be made any more."""


class Nursery:
    """The children of one executor.

    Args:
        settings: what to run and how many of it.
        keeper: hears of the children, on the event loop.
    """

    def __init__(self, settings: ExecutorSettings, keeper: Keeper) -> None:
        """Take the parts; `start` makes the processes."""
        self._settings = settings
        self._keeper = keeper
        self._preload = Preload(
            [folder for folder in sys.path if folder],
            settings.app,
            settings.includes,
            settings.hostname,
            settings.payload_limit,
            settings.concurrency,
            settings.log_level,
        )
        self._forker = Forker(self)
        self._spawns = False
        self._listens: tuple[str, ...] = ()
        self._made = 0
        self._unused_deaths = 0
        self._closing = False
        self._all_ready: asyncio.Future[None] | None = None
        self._empty = asyncio.Event()
        self._last_death = ""
        self._timers: set[asyncio.TimerHandle] = set()
        self._revival: asyncio.Task[None] | None = None
        self.children: dict[int, ChildProcess] = {}

    async def start(self) -> Answer:
        """Import the app and make all children; returns when all are ready.

        Raises ExecutorError with the reason, and leaves nothing behind.
        """
        deadline = time.monotonic() + self._settings.start_timeout
        try:
            answer = await self._forker.launch(self._preload, self._settings.start_timeout)
            self._spawns, self._listens = answer.spawns, tuple(answer.listens)
            self._all_ready = asyncio.get_running_loop().create_future()
            for _ in range(self._settings.concurrency):
                self._make()
            try:
                async with asyncio.timeout(max(0.1, deadline - time.monotonic())):
                    await self._all_ready
            except TimeoutError:
                last = f"; the last one that died: {self._last_death}" if self._last_death else ""
                raise ExecutorError(
                    f"the child processes were not ready within {self._settings.start_timeout:g} s{last}"
                ) from None
        except BaseException:
            await self.close(0.0)
            raise
        return answer

    def kill(self, child: ChildProcess, signal_number: int) -> None:
        """Send a signal to a child, if it is still there."""
        self._forker.kill(child.number, signal_number)

    def emit(self, news: News) -> None:
        """Tell the app's receivers of a late signal, if there are any."""
        if news.name in self._listens:
            self._forker.emit(news)

    async def close(self, patience: float) -> None:
        """End all children: asked to finish, killed after `patience` seconds; then the forkserver."""
        self._closing = True
        for timer in self._timers:
            timer.cancel()
        if self._revival is not None:
            self._revival.cancel()
        for child in self.children.values():
            child.finish()
        if not await self._wait_empty(patience):
            for child in list(self.children.values()):
                self.kill(child, signal.SIGKILL)
            await self._wait_empty(1.0)
        for child in list(self.children.values()):
            self._forget(child, "signal 9")
        # Receivers of the last signals may still be at work.
        await self._forker.close(_RECEIVERS if self._listens else 1.0)

    async def _wait_empty(self, seconds: float) -> bool:
        self._empty.clear()
        if self.children and seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
            except TimeoutError:
                return False
        return not self.children

    # --- children -------------------------------------------------------------------------------------------

    def _make(self) -> None:
        if self._closing:
            return
        self._made += 1
        child = ChildProcess(self._made, self._forker, self._preload if self._spawns else None)
        self.children[child.number] = child
        asyncio.get_running_loop().add_reader(child.fileno(), self._readable, child)

    def _readable(self, child: ChildProcess) -> None:
        outputs = child.receive()
        if outputs is None:
            return
        for output in outputs:
            if output.error:
                self._child_failed(output.error)
            elif output.ready:
                child.ready = True
                self._keeper.child_ready(child)
                self._check_all_ready()
        if outputs:
            self._keeper.child_said(child, outputs)

    def _child_failed(self, error: str) -> None:
        """A spawned child could not import the app: at the start that ends the start, later it is said and tried on."""
        if self._all_ready is not None and not self._all_ready.done():
            self._all_ready.set_exception(ExecutorError(f"the app cannot be imported in a child process:\n{error}"))
        else:
            log.error("a child process cannot import the app, so it runs nothing:\n%s", error)

    def _check_all_ready(self) -> None:
        waiting = self._all_ready
        if waiting is not None and not waiting.done():
            ready = sum(child.ready for child in self.children.values())
            if ready == self._settings.concurrency:
                waiting.set_result(None)

    def made(self, number: int, pid: int) -> None:
        """Note the process id of a child (forkserver)."""
        child = self.children.get(number)
        if child is not None:
            child.pid = pid

    def exited(self, number: int, status: int) -> None:
        """Settle a child that ended, and replace it (forkserver)."""
        child = self.children.get(number)
        if child is None:
            return
        how = describe_status(status)
        while (outputs := child.receive()) is not None:
            self._keeper.child_said(child, outputs)
        worked = child.started()[1] != 0
        self._forget(child, how)
        if self._closing:
            return
        # A task that kills its process is counted by the coordinator; a child that dies unused would come for ever.
        self._unused_deaths = 0 if worked else self._unused_deaths + 1
        self._last_death = how
        pause = min(_LONGEST_PAUSE, _PAUSE * 2.0 ** min(self._unused_deaths - 1, 16)) if self._unused_deaths else 0.0
        log.warning("child process %d ended by %s; a new one comes in %.1f s", child.pid, how, pause)
        self._later(pause)

    def _later(self, pause: float) -> None:
        if not pause:
            self._make()
            return

        def due() -> None:
            self._timers.discard(timer)
            self._make()

        timer = asyncio.get_running_loop().call_later(pause, due)
        self._timers.add(timer)

    def _forget(self, child: ChildProcess, how: str) -> None:
        self.children.pop(child.number, None)
        self._keeper.child_exited(child, how)
        child.close()
        if not self.children:
            self._empty.set()

    # --- the forkserver -------------------------------------------------------------------------------------

    def forkserver_gone(self) -> None:
        """Settle all children, since nobody tells of their ends any more, and start over (forkserver)."""
        if self._closing:
            return
        log.error("the forkserver died; all child processes are replaced")
        for child in list(self.children.values()):
            if child.pid:
                # Where the kernel did not do it already, when the parent of the child died.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
            self._forget(child, "signal 9 (its forkserver died)")
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._revival = asyncio.get_running_loop().create_task(self._revive())

    async def _revive(self) -> None:
        """Start a new forkserver, a few times with growing pauses; then give up and say so."""
        reason = ""
        for attempt in range(_FORKSERVERS):
            await self._forker.close()
            self._forker = Forker(self)
            try:
                answer = await self._forker.launch(self._preload, self._settings.start_timeout)
            except ExecutorError as error:
                reason = str(error)
                log.exception("the forkserver cannot be started again")
                await asyncio.sleep(_PAUSE * 2**attempt)
                continue
            self._spawns = answer.spawns
            for _ in range(self._settings.concurrency):
                self._make()
            return
        self._keeper.gave_up(f"the forkserver died and cannot be started again: {reason}")
