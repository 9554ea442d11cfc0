"""Puts a worker together: a session carried by a stream, an executor that runs the tasks, and control.

How a worker ends:

* drain (first SIGTERM or SIGINT, or the command ``shutdown``): no new work, unstarted attempts go back, running ones
  finish, every report is acknowledged, goodbye; exit code 0. Control is served all the while.
* stop (second signal): the children are killed. What ran is reported as *lost*, because it did start and may have had
  effects: it counts as a delivery and runs again, or fails where it must not run twice. What never started is
  *returned*. The reports get two seconds, then the worker ends with 128 + the signal's number; what could not be
  told is handed out again by the coordinator when the grace of the session is over.
* refused by the coordinator (69), or the executor cannot go on (70): the same, with the reason.

This file may NOT run or import user code: tasks live behind the executor.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError

from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.config import DEFAULT_COORDINATOR, WorkerConfig, parse_addresses
from grpcflow_worker.control import Control, Facts
from grpcflow_worker.executor import STOP, CallRun, Ended, Executor, ExecutorError, Registered
from grpcflow_worker.fetching import Fetch, Fetcher, fetch_inputs
from grpcflow_worker.session import Effects, Identity, Session
from grpcflow_worker.stream import Connect, Refused, StreamDriver, Timing, connect
from grpcflow_worker.wire import ProtocolError, id_of

#: Exit codes, as in sysexits.h: the coordinator refuses us, the executor broke, the app cannot be loaded.
EXIT_UNAVAILABLE: Final = 69
EXIT_SOFTWARE: Final = 70
EXIT_CONFIG: Final = 78

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
        connect: opens a stream; replaced in tests.
        fetch: gives the inputs of an attempt that come apart; replaced in tests.
        timing: the clock; replaced in tests.
    """

    def __init__(
        self,
        config: WorkerConfig,
        executor: Executor,
        *,
        secret: bytes | None = None,
        connect: Connect = connect,
        fetch: Fetch = fetch_inputs,
        timing: Timing | None = None,
    ) -> None:
        self._config = config
        self._executor = executor
        self._secret = secret or os.urandom(16)
        self._connect = connect
        self._fetch = fetch
        self._timing = timing or Timing()
        self._started_at = time.time()
        self._signals = 0
        self._asked_to_leave = asyncio.Event()
        self._over: asyncio.Future[int] | None = None
        self._held_some = asyncio.Event()
        self._session: Session | None = None
        self._driver: StreamDriver | None = None
        self._control: Control | None = None
        self._fetcher: Fetcher | None = None
        #: Tokens of attempts that are not to start any more, since it is too late.
        self._expired: set[int] = set()

    # From start to end.

    async def run(self) -> int:
        """Work until told to stop; returns the exit code."""
        self._over = asyncio.get_running_loop().create_future()
        with self._signal_handlers():
            try:
                registered = await self._start_executor()
            except ExecutorError as error:
                _log.error("cannot start: %s", error)
                await self._close_executor(drain=False)
                return EXIT_CONFIG
            if registered is None:
                await self._close_executor(drain=False)
                return 0
            return await self._work(registered)

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

    async def _work(self, registered: Registered) -> int:
        assert self._over is not None
        over = self._over
        session, driver = self._compose(registered)
        self._banner(registered)
        carrying = asyncio.ensure_future(driver.run())
        ticking = asyncio.ensure_future(self._tick(session))
        try:
            await asyncio.wait((over, carrying), return_when=asyncio.FIRST_COMPLETED)
            if carrying.done():
                code = self._code_of(carrying)
                await self._close_executor(drain=False)
            else:
                code = over.result()
                await self._farewell(session, carrying)
        finally:
            for task in (carrying, ticking):
                task.cancel()
            if self._fetcher is not None:
                await self._fetcher.close()
            await asyncio.gather(carrying, ticking, return_exceptions=True)
        _log.info("stopped")
        return code

    def _compose(self, registered: Registered) -> tuple[Session, StreamDriver]:
        config = self._config
        identity = Identity(
            name=config.name,
            secret=self._secret,
            tasks=tuple(registered.tasks),
            concurrency=config.concurrency,
            version=_version(),
            host=config.host,
            process_id=os.getpid(),
            executor=self._executor.kind,
        )
        session = Session(identity, config.queues)
        driver = StreamDriver(
            session,
            self._addresses(registered),
            self._deliver,
            beaten=lambda: self._executor.emit("heartbeat_sent"),
            connect=self._connect,
            timing=self._timing,
        )
        fetcher = Fetcher(session, driver, self, fetch=self._fetch, timing=self._timing)
        facts = Facts(
            session=session,
            fetching=fetcher.waiting,
            executor=self._executor,
            registered=registered,
            shutdown=self.drain,
            wake=driver.wake,
            started_at=self._started_at,
        )
        self._session, self._driver, self._fetcher, self._control = session, driver, fetcher, Control(facts)
        return session, driver

    def _addresses(self, registered: Registered) -> tuple[str, ...]:
        """Where the coordinator is: as told, or as the app says, or the default."""
        if self._config.coordinators:
            return self._config.coordinators
        said = registered.conf.get("coordinator") or DEFAULT_COORDINATOR
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
        if self._session is not None:
            self._executor.emit("worker_shutdown")
        try:
            await self._executor.close(drain=drain, deadline=KILL_WAIT)
        except ExecutorError as error:
            _log.error("the executor could not be closed: %s", error)

    def _banner(self, registered: Registered) -> None:
        config = self._config
        late = registered.conf.get("task_acks_late", True)
        _log.info("worker %s starts: queues %s, app %s", config.name, ", ".join(config.queues), config.app)
        _log.info(
            "coordinator %s, executor %s with %d at once, %d tasks",
            ", ".join(self._addresses(registered)),
            self._executor.kind,
            config.concurrency,
            len(registered.tasks),
        )
        _log.info("acks_late=%s: a lost task %s", bool(late), "runs again" if late else "fails and never runs twice")
        for warning in registered.warnings:
            _log.warning("%s", warning)
        _log.debug("registered tasks: %s", ", ".join(registered.tasks))

    # Being told to stop.

    @contextlib.contextmanager
    def _signal_handlers(self) -> Any:
        """Take SIGTERM and SIGINT as drain and stop while the worker runs."""
        loop = asyncio.get_running_loop()
        taken: list[int] = []
        for number in (int(signal.SIGTERM), int(signal.SIGINT)):
            try:
                loop.add_signal_handler(number, self.signalled, number)
                taken.append(number)
            except (NotImplementedError, RuntimeError, ValueError):
                # Windows, or not the main thread (a test, an embedding program): whoever runs us calls drain().
                _log.debug("signal %d is not handled here", number)
        try:
            yield
        finally:
            for number in taken:
                loop.remove_signal_handler(number)

    def signalled(self, number: int) -> None:
        """A signal came: the first drains, the second stops at once, further ones change nothing."""
        self._signals += 1
        name = signal.Signals(number).name
        if self._signals == 1:
            running = self._session.open if self._session is not None else 0
            _log.info("%s: finishing %d tasks, then stopping; once more stops at once", name, running)
            self.drain(number)
        elif self._over is not None and not self._over.done():
            _log.warning("%s again: stopping at once", name)
            if self._session is not None:
                self._executor.emit("worker_shutting_down", STOP + number)
            self._over.set_result(STOP + number)

    def drain(self, number: int = 0) -> None:
        """Begin to leave: no new work, what has not started goes back, what runs finishes.

        Args:
            number: number of the signal that says so; 0: a command does.
        """
        self._asked_to_leave.set()
        if self._session is not None and not self._session.draining:
            self._session.drain()
            self._executor.emit("worker_shutting_down", number)
            self._executor.take_back_waiting(0)
            self._hand_back_fetching()
            self._wake()

    def _hand_back_fetching(self) -> None:
        """Give back the attempts whose inputs are not here yet: they never started."""
        if self._fetcher is not None and self._fetcher.waiting():
            self.ended([Ended(token, "returned") for token in self._fetcher.clear()])

    # From the coordinator.

    def _deliver(self, effects: Effects) -> None:
        assert self._session is not None
        assert self._control is not None
        assert self._fetcher is not None
        if effects.welcome is not None and self._session.streams == 1:
            self._executor.emit("worker_ready")
        for token in effects.forget:
            self._forget(token)
        for run in effects.runs:
            if _log.isEnabledFor(logging.DEBUG):
                _log.debug("received %d x %s, from %s", len(run.payloads), run.call.task, id_of(run, run.token))
            if run.inputs_apart:
                self._fetcher.add(run)
            else:
                self._executor.put(run)
        if effects.runs:
            self._held_some.set()
        for stop in effects.stops:
            if stop.expired:
                self._expired.add(stop.token)
            self._stop(stop.token, (stop.signal or "SIGTERM") if stop.terminate else None)
        for command in effects.commands:
            self._session.reply(self._control.answer(command))

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
        if self._session is None:
            return
        if _log.isEnabledFor(logging.DEBUG):
            for token in tokens:
                _log.debug("succeeded: %s", self._story(token))
        self._session.values(tokens, datas, self._timing.now())
        if self._expired:
            self._expired.difference_update(tokens)  # they had started in time
        self._progress()

    def ended(self, ends: Sequence[Ended]) -> None:
        """Attempts ended in other ways."""
        if self._session is None:
            return
        for end in ends:
            self._log_end(end)
            if end.kind == "revoked":
                self._tell_revoked(end)
            self._expired.discard(end.token)
            try:
                self._session.ended(end, self._timing.now())
            except ProtocolError as error:
                _log.error("%s; it is reported as lost", error)
                self._session.ended(Ended(end.token, "lost", message=str(error)), self._timing.now())
        self._progress()

    def _tell_revoked(self, end: Ended) -> None:
        """Have `task_revoked` sent, where the app is."""
        run = self._session.run_of(end.token) if self._session is not None else None
        if run is not None:
            offset = end.token - run.token
            attempt = run.part(offset, offset + 1)
            self._executor.emit("task_revoked", end.signal, attempt=attempt, expired=end.token in self._expired)

    def started(self, tokens: Sequence[int]) -> None:
        """Attempts whose start is to be told began."""
        if self._session is not None:
            self._session.started(tokens)
            self._wake()

    def progressed(self, token: int, state: str, data: bytes, content_type: str) -> None:
        """A running attempt says how far it is."""
        if self._session is None:
            return
        try:
            self._session.progressed(token, state, data, content_type)
        except ProtocolError as error:
            _log.warning("progress of %s is not told: %s", self._story(token), error)
        self._wake()

    def broken(self, reason: str) -> None:
        """The executor cannot go on: end the worker."""
        _log.error("the executor cannot go on: %s; this worker ends", reason)
        if self._over is not None and not self._over.done():
            self._over.set_result(EXIT_SOFTWARE)

    def _progress(self) -> None:
        assert self._session is not None
        self._session.capacity.want(self._executor.capacity())
        self._wake()

    def _wake(self) -> None:
        if self._driver is not None:
            self._driver.wake()

    # For people.

    def _story(self, token: int) -> str:
        run = self._session.run_of(token) if self._session is not None else None
        return f"{run.call.task}[{id_of(run, token)}]" if run is not None else f"attempt {token}"

    def _log_end(self, end: Ended) -> None:
        """Log an end that the process which ran it has not logged, or could not."""
        if end.logged:
            return
        match end.kind:
            case "failure":
                _log.error("failed: %s: %s", self._story(end.token), _failure_text(end.failure))
            case "lost":
                _log.error("lost: %s: %s", self._story(end.token), end.message)
            case "retry":
                _log.info("to be tried again in %.1f s: %s", end.countdown_ms / 1000, self._story(end.token))
            case "revoked":
                _log.info("revoked: %s", self._story(end.token))
            case "rejected":
                _log.warning("rejected%s: %s", ", to run again" if end.requeue else "", self._story(end.token))
            case _:
                if _log.isEnabledFor(logging.DEBUG):
                    _log.debug("%s: %s", end.kind, self._story(end.token))


def _failure_text(data: bytes) -> str:
    try:
        failure = value_pb2.Failure.FromString(data)
    except DecodeError:
        return "(the failure cannot be read)"
    text = f"{failure.type_name}: {failure.message}"
    return f"{text}\n{failure.traceback.rstrip()}" if failure.traceback else text


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("grpcflow")
    except metadata.PackageNotFoundError:
        return ""
