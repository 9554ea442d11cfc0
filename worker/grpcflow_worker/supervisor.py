"""Puts a worker together: a session carried by a stream, an executor that runs the tasks, and control.

How a worker ends:

* warm (first SIGTERM or SIGINT, or the command ``shutdown``): a drain: no new work, unstarted attempts go back, running
  ones finish, every report is acknowledged, goodbye; exit code 0. Control is served all the while. SIGHUP and
  ``--reload`` do the same, and whoever called starts the worker anew. After ``--drain-timeout`` it turns cold.
* soft (second signal, or SIGQUIT, where the app sets worker_soft_shutdown_timeout): a drain with that much time.
* cold (second signal, or SIGQUIT, and the end of the soft time): the children are killed. What ran is reported as
  *lost*, because it did start and may have had effects: it counts as a delivery and runs again, or fails where it must
  not run twice. What never started is *returned*. The reports get two seconds, then the worker ends with 128 + the
  signal's number; what could not be told is handed out again by the coordinator when the grace of the session is over.
* refused by the coordinator (69), or the executor cannot go on (70): the same, with the reason.

This file may NOT run or import user code: tasks live behind the executor.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from grpcflow.channels import PLAIN, Door
from grpcflow_worker.app_commands import CommandBook
from grpcflow_worker.batches import Batching
from grpcflow_worker.changes import Changed, Changes
from grpcflow_worker.config import DEFAULT_COORDINATOR, WorkerConfig, parse_addresses
from grpcflow_worker.control import Control, Facts
from grpcflow_worker.credential_options import door_of
from grpcflow_worker.deadline import SOFT, WARM, Deadline
from grpcflow_worker.executor import STOP, CallRun, Ended, Executor, ExecutorError, Registered
from grpcflow_worker.facts import queue_facts, task_facts
from grpcflow_worker.fetching import Fetch, Fetcher, fetch_inputs
from grpcflow_worker.identity import Identity, version
from grpcflow_worker.leaving import Leaving, Step
from grpcflow_worker.load import LoadTeller, measure_load
from grpcflow_worker.log_lines import Logged
from grpcflow_worker.scheduling import put_declared, put_schedules
from grpcflow_worker.session import Effects, Session
from grpcflow_worker.stories import log_end, log_start
from grpcflow_worker.stream import Connect, Refused, StreamDriver, Timing, connect
from grpcflow_worker.subscription import ConfigError, served
from grpcflow_worker.taking import in_terminal, signal_handlers
from grpcflow_worker.wire import ProtocolError, id_of

#: Exit codes, as in sysexits.h but for the first: the app cannot be loaded, the app and an option do not go together,
#: the coordinator refuses us, the executor broke.
EXIT_START: Final = 1
EXIT_USAGE: Final = 64
EXIT_UNAVAILABLE: Final = 69
EXIT_SOFTWARE: Final = 70

#: Seconds between two looks at attempts that wait for a place.
TICK: Final = 0.05

#: Seconds that the last reports get after a stop.
FAREWELL: Final = 2.0

#: Seconds that the executor gets to end its children after a stop.
KILL_WAIT: Final = 1.0

_log = logging.getLogger("grpcflow.worker")


class Supervisor:
    """One worker, from its start to its exit code.

    Args:
        config: what it was told.
        executor: what runs the tasks; started and closed here.
        secret: the session's 16 random bytes; None: made here.
        connect: opens a stream; None: over gRPC. Tests have theirs.
        fetch: gives the inputs of an attempt that come apart; the same.
        timing: the clock; replaced in tests.
        changed: returns once the worker is to start anew since its files changed; None: it never does.
        told: takes the settings of the app once they are known.
        show: shows a text as the title of the process.
    """

    def __init__(
        self,
        config: WorkerConfig,
        executor: Executor,
        *,
        secret: bytes | None = None,
        connect: Connect | None = None,
        fetch: Fetch | None = None,
        timing: Timing | None = None,
        changed: Changed | None = None,
        told: Callable[[Mapping[str, Any]], None] | None = None,
        show: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._executor = Batching(executor)
        self._secret = secret or os.urandom(16)
        self._connect, self._fetch = connect, fetch
        self._door: Door = PLAIN
        self._timing = timing or Timing()
        self._started_at = time.time()
        self._changes = Changes(changed)
        self._told, self._show = told, show
        self.leaving = Leaving(os.environ, terminal=in_terminal())
        self._deadline = Deadline(self._timing, self._stop_now)
        self._asked_to_leave = asyncio.Event()
        self._over: asyncio.Future[int] | None = None
        self._held_some = asyncio.Event()
        self.session: Session | None = None
        self._driver: StreamDriver | None = None
        self._control: Control | None = None
        self._fetcher: Fetcher | None = None
        #: Tokens of attempts that are not to start any more, since it is too late.
        self._expired: set[int] = set()

    # From start to end.

    async def run(self) -> int:
        """Work until told to stop; returns the exit code. Whether it is to start anew stands in `leaving.restarts`."""
        self._over = asyncio.get_running_loop().create_future()
        self._changes.begin()  # what is imported now may be changed while it is
        with signal_handlers(self.signalled, self._executor.dump_stacks):
            try:
                return await self._start_and_work(self._over)
            finally:
                await self._changes.close()

    async def _start_and_work(self, over: asyncio.Future[int]) -> int:
        try:
            registered = await self._start_executor()
        except ExecutorError as error:
            _log.error("cannot start: %s", error)
            return await self._give_up(EXIT_START)
        if registered is None:
            await self._close_executor(drain=False)
            return over.result() if over.done() else 0
        try:
            weights = self._take_settings(registered.conf)
        except ConfigError as error:
            _log.error("cannot start: %s", error)
            return await self._give_up(EXIT_USAGE)
        return await self._work(registered, weights)

    async def _give_up(self, code: int) -> int:
        """End without having worked; with ``--reload`` not before a file changed, which may mend it."""
        await self._close_executor(drain=False)
        if not self._changes.watched or self._asked_to_leave.is_set():
            return code
        _log.warning("waiting for a file to change")
        changing = asyncio.ensure_future(self._changes.come())
        leaving = asyncio.ensure_future(self._asked_to_leave.wait())
        await asyncio.wait((changing, leaving), return_when=asyncio.FIRST_COMPLETED)
        if changing.done() and changing.result():
            self.leaving.restart()
        for each in (changing, leaving):
            each.cancel()
        return 0 if self.leaving.restarts else code

    def _take_settings(self, settings: Mapping[str, Any]) -> dict[str, int]:
        """Heed what the app says of the worker itself; returns the queues to serve with their weights.

        Raises:
            ConfigError: the options name queues that the app does not define, or credentials that cannot be used.
        """
        config = self._config
        if self._told is not None:
            self._told(settings)
        self.leaving.soft_seconds = float(settings.get("worker_soft_shutdown_timeout") or 0.0)
        self._door = door_of(settings, config.credentials, self._addresses(settings))
        return served(config.queues, config.exclude_queues, settings)

    async def _start_executor(self) -> Registered | None:
        """Start the executor; None where a signal came first."""
        starting = asyncio.ensure_future(self._executor.start(self))
        leaving = asyncio.ensure_future(self._asked_to_leave.wait())
        try:
            await asyncio.wait((starting, leaving), return_when=asyncio.FIRST_COMPLETED)
            return starting.result() if starting.done() and not self._asked_to_leave.is_set() else None
        finally:
            leaving.cancel()
            starting.cancel()
            await asyncio.gather(starting, leaving, return_exceptions=True)

    async def _work(self, registered: Registered, weights: Mapping[str, int]) -> int:
        assert self._over is not None
        over = self._over
        session, driver = self._compose(registered, weights)
        log_start(self._config, registered, weights, self._executor.kind, self._addresses(registered.conf))
        carrying = asyncio.ensure_future(driver.run())
        beside = [asyncio.ensure_future(each) for each in (self._tick(session), self._await_change())]
        put = partial(put_schedules, door=self._door)
        beside.append(asyncio.ensure_future(put_declared(registered.conf, lambda: driver.address, self._timing, put)))
        try:
            await asyncio.wait((over, carrying), return_when=asyncio.FIRST_COMPLETED)
            if carrying.done():
                code = self._code_of(carrying)
                await self._close_executor(drain=False)
            else:
                code = over.result()
                await self._farewell(session, carrying)
        finally:
            await self._deadline.close()
            for task in (carrying, *beside):
                task.cancel()
            if self._fetcher is not None:
                await self._fetcher.close()
            await asyncio.gather(carrying, *beside, return_exceptions=True)
        _log.info("stopped")
        return code

    def _compose(self, registered: Registered, weights: Mapping[str, int]) -> tuple[Session, StreamDriver]:
        config = self._config
        identity = Identity(
            name=config.name,
            secret=self._secret,
            tasks=tuple(registered.tasks),
            concurrency=config.concurrency,
            version=version(),
            host=config.host,
            process_id=os.getpid(),
            executor=self._executor.kind,
            task_facts=task_facts(registered.conf.get("facts", {})),
            queue_facts=queue_facts(registered.conf.get("facts", {})),
            labels=config.service.labels,
            commands=CommandBook(registered.conf.get("commands", ())).messages(),
        )
        session = Session(identity, weights)
        interval = config.service.heartbeat_interval
        load = LoadTeller(lambda: measure_load(self._executor, identity.version), interval, self._timing.now)
        driver = StreamDriver(
            session,
            self._addresses(registered.conf),
            self._deliver,
            beaten=lambda: self._executor.emit("heartbeat_sent"),
            load=load,
            connect=self._connect or partial(connect, door=self._door),
            timing=self._timing,
        )
        fetch = self._fetch or partial(fetch_inputs, door=self._door)
        fetcher = Fetcher(session, driver, self, fetch=fetch, timing=self._timing)
        facts = Facts(
            session=session,
            fetching=fetcher.waiting,
            executor=self._executor,
            registered=registered,
            shutdown=self.drain,
            wake=driver.wake,
            tell_load=load.forget,
            started_at=self._started_at,
            show=self._show,
        )
        self.session, self._driver, self._fetcher, self._control = session, driver, fetcher, Control(facts)
        self._control.show_title()
        return session, driver

    def _addresses(self, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Where the coordinator is: as told, or as the app says, or the default."""
        if self._config.coordinators:
            return self._config.coordinators
        said = settings.get("coordinator") or DEFAULT_COORDINATOR
        return parse_addresses(said if isinstance(said, str) else ",".join(said))

    @staticmethod
    def _code_of(carrying: asyncio.Future[Refused | None]) -> int:
        refused = carrying.result()
        if refused is None:
            return 0
        _log.error("%s", refused.message)
        return EXIT_UNAVAILABLE

    async def _farewell(self, session: Session, carrying: asyncio.Future[Refused | None]) -> None:
        """Kill what runs, report it, and give the reports a moment to arrive."""
        await self._close_executor(drain=False)
        self._hand_back_fetching()
        left = session.abandon("the worker was stopped")
        session.drain()
        self._wake()
        timer = asyncio.ensure_future(self._timing.sleep(FAREWELL))
        await asyncio.wait((carrying, timer), return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        await asyncio.gather(timer, return_exceptions=True)
        if session.unacknowledged:
            _log.warning(
                "%d reports (%d of them of stopped tasks) were not acknowledged; the coordinator hands those tasks out "
                "again when this session's grace is over",
                session.unacknowledged,
                left,
            )

    async def _close_executor(self, *, drain: bool) -> None:
        if self.session is not None:
            self._executor.emit("worker_shutdown")
        try:
            await self._executor.close(drain=drain, deadline=KILL_WAIT)
        except ExecutorError as error:
            _log.error("the executor could not be closed: %s", error)

    # Being told to stop.

    def signalled(self, number: int) -> None:
        """A signal came, or whoever embeds the worker says that it did; see `leaving` for what each means."""
        name = signal.Signals(number).name
        step = self.leaving.hear(number)
        if step is Step.WARM:
            running = self.session.open if self.session is not None else 0
            soft = self.leaving.soft_seconds
            once_more = f"gives them {soft:g} s" if soft else "stops at once"
            what = "starting anew" if self.leaving.restarts else f"stopping; once more {once_more}"
            _log.info("%s: finishing %d tasks, then %s", name, running, what)
            self.drain(number)
        elif step is Step.SOFT:
            seconds = self.leaving.soft_seconds
            _log.warning("%s: what runs has %g s more; once more stops at once", name, seconds)
            self.drain(number)
            self._deadline.set(seconds, number, SOFT)
        elif step is Step.COLD:
            _log.warning("%s: stopping at once", name)
            self._stop_now(number)

    def _stop_now(self, number: int) -> None:
        self._asked_to_leave.set()
        if self._over is not None and not self._over.done():
            if self.session is not None:
                self._executor.emit("worker_shutting_down", STOP + number)
            self._over.set_result(0 if self.leaving.restarts else STOP + number)

    async def _await_change(self) -> None:
        """Start anew once a file has changed, where that is wanted."""
        if not await self._changes.come():
            return
        _log.info("a file changed: finishing %d tasks, then starting anew", self.session.open if self.session else 0)
        self.leaving.restart()
        self.drain()

    def drain(self, number: int = 0) -> None:
        """Begin to leave: no new work, what has not started goes back, what runs finishes.

        Args:
            number: number of the signal that says so; 0: a command does.
        """
        self._asked_to_leave.set()
        if self.session is not None and not self.session.draining:
            self.session.drain()
            self._executor.emit("worker_shutting_down", number)
            self._executor.take_back_waiting(0)
            self._hand_back_fetching()
            self._deadline.set(self._config.service.drain_timeout, number or signal.SIGTERM, WARM)
            self._wake()

    def _hand_back_fetching(self) -> None:
        """Give back the attempts whose inputs are not here yet: they never started."""
        if self._fetcher is not None and self._fetcher.waiting():
            self.ended([Ended(token, "returned") for token in self._fetcher.clear()])

    # From the coordinator.

    def _deliver(self, effects: Effects) -> None:
        assert self.session is not None
        assert self._control is not None
        assert self._fetcher is not None
        if effects.welcome is not None and self.session.streams == 1:
            self._executor.emit("worker_ready")
        for token in effects.forget:
            self._forget(token)
        self._control.overrides.apply(effects.runs)
        for run in effects.runs:
            if _log.isEnabledFor(logging.DEBUG):
                _log.debug("received %d x %s, from %s", len(run.payloads), run.call.task, id_of(run, run.token))
            if run.inputs_apart:
                self._fetcher.add(run)
        if effects.runs:
            self._executor.put_all([run for run in effects.runs if not run.inputs_apart])
            self._held_some.set()
        for stop in effects.stops:
            if stop.expired:
                self._expired.add(stop.token)
            self._stop(stop.token, (stop.signal or "SIGTERM") if stop.terminate else None)
        for command in effects.commands:
            self._control.take(command)

    def _forget(self, token: int) -> None:
        assert self._fetcher is not None
        if not self._fetcher.remove(token):
            _log.warning("attempt %d is no longer ours: stopped", token)
            self._executor.forget(token)

    def _stop(self, token: int, name: str | None) -> None:
        if self._fetcher is not None and self._fetcher.remove(token):
            self.ended([Ended(token, "revoked")])
            return
        try:
            self._executor.stop(token, name)
        except ValueError as error:
            _log.warning("attempt %d is stopped with SIGTERM: %s", token, error)
            self._executor.stop(token, "SIGTERM")

    async def _tick(self, session: Session) -> None:
        """Hand back what waits for a place for too long, as long as anything is held."""
        while True:
            if session.open == 0:
                self._held_some.clear()
                await self._held_some.wait()
            await self._timing.sleep(TICK)
            keep = session.surplus(self._timing.now())
            if keep is not None:
                _log.debug("handing back what waits, down to %d", keep)
                self._executor.take_back_waiting(keep)
                self._wake()

    # From the fetcher (fetching.Fetched).

    def fetched(self, run: CallRun) -> None:
        """The inputs of an attempt are there: it may start."""
        self._executor.put(run)

    # From the executor (executor.Listener), and how an attempt ends whose inputs cannot be had.

    def values(self, tokens: Sequence[int], datas: Sequence[bytes]) -> None:
        """Attempts gave plain JSON values."""
        if self.session is None:
            return
        if _log.isEnabledFor(logging.DEBUG):
            for token in tokens:
                _log.debug("succeeded: %s", self._story(token))
        self.session.values(tokens, datas, self._timing.now())
        if self._expired:
            self._expired.difference_update(tokens)  # they had started in time
        self._progress()

    def ended(self, ends: Sequence[Ended]) -> None:
        """Attempts ended in other ways."""
        if self.session is None:
            return
        for end in ends:
            log_end(end, self._story(end.token))
            if end.kind == "revoked":
                self._tell_revoked(end)
            self._expired.discard(end.token)
            try:
                self.session.ended(end, self._timing.now())
            except ProtocolError as error:
                _log.error("%s; it is reported as lost", error)
                self.session.ended(Ended(end.token, "lost", message=str(error)), self._timing.now())
        self._progress()

    def _tell_revoked(self, end: Ended) -> None:
        """Have `task_revoked` sent, where the app is."""
        run = self.session.run_of(end.token) if self.session is not None else None
        if run is not None:
            offset = end.token - run.token
            attempt = run.part(offset, offset + 1)
            self._executor.emit("task_revoked", end.signal, attempt=attempt, expired=end.token in self._expired)

    def started(self, tokens: Sequence[int]) -> None:
        """Attempts whose start is to be told began."""
        if self.session is not None:
            self.session.started(tokens)
            self._wake()

    def progressed(self, token: int, state: str, data: bytes, content_type: str) -> None:
        """A running attempt says how far it is."""
        if self.session is None:
            return
        try:
            self.session.progressed(token, state, data, content_type)
        except ProtocolError as error:
            _log.warning("progress of %s is not told: %s", self._story(token), error)
        self._wake()

    def logged(self, said: Sequence[Logged]) -> None:
        """Attempts printed and logged."""
        if self.session is not None:
            self.session.logged(said)
            self._wake()

    def broken(self, reason: str) -> None:
        """The executor cannot go on: end the worker."""
        _log.error("the executor cannot go on: %s; this worker ends", reason)
        if self._over is not None and not self._over.done():
            self._over.set_result(EXIT_SOFTWARE)

    def _progress(self) -> None:
        assert self.session is not None
        self.session.capacity.want(self._executor.capacity())
        self._wake()

    def _wake(self) -> None:
        if self._driver is not None:
            self._driver.wake()

    # For people.

    def _story(self, token: int) -> str:
        run = self.session.run_of(token) if self.session is not None else None
        return f"{run.call.task}[{id_of(run, token)}]" if run is not None else f"attempt {token}"
