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
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

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

    Attributes:
        places: how many children there are to be, less those that end once they have done what they have.
        children: all that live, by number.
    """

    def __init__(self, settings: ExecutorSettings, keeper: Keeper) -> None:
        """Take the parts; `start` makes the processes."""
        self._settings = settings
        self._keeper = keeper
        self.places = settings.autoscale[1] if settings.autoscale else settings.concurrency
        self._preload = Preload(
            [folder for folder in sys.path if folder],
            settings.app,
            settings.includes,
            settings.hostname,
            settings.payload_limit,
            settings.concurrency,
            settings.log_level,
            settings.log_file,
            settings.log_color,
            settings.max_memory_per_child or 0,
            log_json=settings.log_json,
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
        #: Starts a forkserver in place of another one.
        self._renewal: asyncio.Task[None] | None = None
        #: End forkservers that were replaced and have no child left.
        self._partings: set[asyncio.Task[None]] = set()
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
            self._refill()
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
        child.forker.kill(child.number, signal_number)

    def emit(self, news: News) -> None:
        """Tell the app's receivers of a late signal, if there are any."""
        if news.name in self._listens:
            self._forker.emit(news)

    def ask(self, name: str, data: bytes, told: Callable[[bytes, str], None]) -> None:
        """Have a command of the app carried out."""
        self._forker.ask(name, data, told)

    async def close(self, patience: float) -> None:
        """End all children: asked to finish, killed after `patience` seconds; then the forkserver."""
        self._closing = True
        for timer in self._timers:
            timer.cancel()
        if self._renewal is not None:
            self._renewal.cancel()
            await asyncio.gather(self._renewal, return_exceptions=True)
        for child in self.children.values():
            child.finish()
        if not await self._wait_empty(patience):
            for child in list(self.children.values()):
                self.kill(child, signal.SIGKILL)
            await self._wait_empty(1.0)
        for child in list(self.children.values()):
            self._forget(child, "signal 9")
        # Receivers of the last signals may still be at work.
        await asyncio.gather(*self._partings, self._forker.close(self._farewell()))

    def _farewell(self) -> float:
        """Seconds that a forkserver gets to end."""
        return _RECEIVERS if self._listens else 1.0

    async def _wait_empty(self, seconds: float) -> bool:
        self._empty.clear()
        if self.children and seconds > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._empty.wait()
            except TimeoutError:
                return False
        return not self.children

    # --- how many there are -----------------------------------------------------------------------------------

    def resize(self, places: int) -> None:
        """Have so many children from now on; those without work go first, others when they have done what they have."""
        surplus = self.places - places
        self.places = places
        if surplus > 0:
            going = sorted(self._staying(), key=lambda child: (len(child.outstanding), child.progress_at))
            for child in going[: len(going) - places]:
                self.retire(child)
        self._refill()

    @property
    def ended(self) -> int:
        """How many children have ended so far."""
        return self._made - len(self.children)

    def idle(self) -> list[ChildProcess]:
        """The children that wait for work, longest idle first."""
        idle = [child for child in self._staying() if child.ready and not child.outstanding]
        return sorted(idle, key=lambda child: child.progress_at)

    def retire(self, child: ChildProcess) -> None:
        """Let a child end once it has done what it has; another one takes its place at once, if it is to be taken."""
        child.retiring = True
        child.finish()
        self._refill()

    def left(self, child: ChildProcess) -> None:
        """Note that a child ends by its own decision."""
        if not child.retiring:
            child.retiring = True
            self._refill()

    def restart(self, *, reload: bool = False, modules: Sequence[str] = ()) -> None:
        """Replace all children; see `Executor.restart`."""
        if not reload and not modules:
            self._replace_all()
        elif self._renewal is None or self._renewal.done():
            self._renewal = asyncio.get_running_loop().create_task(self._reload(modules))
        else:
            raise ExecutorError("the app is being imported anew already; ask again when that is done")

    def _staying(self) -> list[ChildProcess]:
        return [child for child in self.children.values() if not child.retiring]

    def _replace_all(self) -> None:
        for child in self._staying():
            self.retire(child)

    def _refill(self) -> None:
        """Make the children that are missing, less those that are to wait for a moment."""
        if self._closing or self._forker.gone:
            return
        for _ in range(self.places - len(self._staying()) - len(self._timers)):
            self._make()

    # --- children -------------------------------------------------------------------------------------------

    def _make(self) -> None:
        self._made += 1
        taken = {child.place for child in self.children.values()}
        place = next(number for number in range(1, len(taken) + 2) if number not in taken)
        preload = msgspec.structs.replace(self._preload, place=place) if self._spawns else None
        child = ChildProcess(self._made, self._forker, place, preload)
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
                child.progress_at = time.monotonic()
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
            if ready >= self.places:
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
        if child.retiring and status == 0:
            log.info("child process %d ended as it was to, after %d tasks", child.pid, child.given)
            return  # its place has been seen to
        # A task that kills its process is counted by the coordinator; a child that dies unused would come for ever.
        self._unused_deaths = 0 if worked else self._unused_deaths + 1
        self._last_death = how
        pause = min(_LONGEST_PAUSE, _PAUSE * 2.0 ** min(self._unused_deaths - 1, 16)) if self._unused_deaths else 0.0
        log.warning("child process %d ended by %s; a new one comes in %.1f s", child.pid, how, pause)
        self._later(pause)

    def _later(self, pause: float) -> None:
        if not pause:
            self._refill()
            return

        def due() -> None:
            self._timers.discard(timer)
            self._refill()

        timer = asyncio.get_running_loop().call_later(pause, due)
        self._timers.add(timer)

    def _forget(self, child: ChildProcess, how: str) -> None:
        self.children.pop(child.number, None)
        self._keeper.child_exited(child, how)
        child.close()
        self._part(child.forker)
        if not self.children:
            self._empty.set()

    # --- the forkserver -------------------------------------------------------------------------------------

    def forkserver_gone(self, forker: Forker) -> None:
        """Settle its children, since nobody tells of their ends any more, and start over (forkserver)."""
        if self._closing:
            return
        log.error("the forkserver died; all child processes are replaced")
        for child in list(self.children.values()):
            if child.forker is not forker:
                continue
            if child.pid:
                # Where the kernel did not do it already, when the parent of the child died.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.pid, signal.SIGKILL)
            self._forget(child, "signal 9 (its forkserver died)")
        if forker is not self._forker:
            return
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._renewal is not None:
            self._renewal.cancel()
        self._renewal = asyncio.get_running_loop().create_task(self._revive())

    async def _revive(self) -> None:
        """Start a new forkserver, a few times with growing pauses; then give up and say so."""
        reason = ""
        for attempt in range(_FORKSERVERS):
            await self._forker.close()
            try:
                await self._launch(Forker(self), self._preload)
            except ExecutorError as error:
                reason = str(error)
                log.exception("the forkserver cannot be started again")
                await asyncio.sleep(_PAUSE * 2**attempt)
                continue
            self._refill()
            return
        self._keeper.gave_up(f"the forkserver died and cannot be started again: {reason}")

    async def _reload(self, modules: Sequence[str]) -> None:
        """Import the app anew, and have all children come from there; leave all as it is where that fails."""
        before = self._forker
        preload = msgspec.structs.replace(self._preload, includes=(*self._preload.includes, *modules))
        try:
            await self._launch(Forker(self), preload)
        except ExecutorError as error:
            log.error("the child processes are not replaced: %s", error)
            return
        self._preload = preload
        log.info("the app was imported anew")
        self._replace_all()
        self._part(before)

    async def _launch(self, forker: Forker, preload: Preload) -> None:
        """Start a forkserver, and make the children there from now on. Raises ExecutorError, and changes nothing."""
        try:
            answer = await forker.launch(preload, self._settings.start_timeout)
        except BaseException:
            await forker.close(0.0)
            raise
        self._forker = forker
        self._spawns, self._listens = answer.spawns, tuple(answer.listens)

    def _part(self, forker: Forker) -> None:
        """End a forkserver that was replaced, when its last child has ended."""
        if forker is self._forker or any(child.forker is forker for child in self.children.values()):
            return
        parting = asyncio.get_running_loop().create_task(forker.close(self._farewell()))
        self._partings.add(parting)
        parting.add_done_callback(self._partings.discard)
