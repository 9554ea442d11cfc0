"""The prefork executor: tasks run in child processes that are forked from a process which is clean of gRPC.

It decides which child gets what, and what becomes of the attempts of a child that dies. Everything here happens on the
supervisor's event loop; it may NOT run or import user code, nor fork.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from grpcflow_worker.executor import (
    Call,
    CallRun,
    Ended,
    ExecutorError,
    ExecutorSettings,
    Listener,
    Registered,
    Running,
    Waiting,
)
from grpcflow_worker.executors import pace
from grpcflow_worker.executors.frames import STACKS_SIGNAL, News, Output
from grpcflow_worker.executors.limits import TimeLimits
from grpcflow_worker.executors.line import Line, regroup
from grpcflow_worker.executors.nursery import Nursery
from grpcflow_worker.executors.process import ChildProcess
from grpcflow_worker.executors.scaling import Scaling
from grpcflow_worker.executors.wishes import Wish, Wishes, signal_number

#: How long a child may say nothing while attempts wait in it, before they are taken back, in seconds.
_OVERDUE: Final = 0.02

#: A batch whose calls are likely to take longer than this each, in seconds, does not hold results behind it.
_CAREFUL: Final = 0.001

#: Seconds between two children that are asked for their stacks.
_APART: Final = 0.05

_log = logging.getLogger("grpcflow.worker")
_encode_call = msgspec.msgpack.Encoder().encode


class Prefork:
    """Runs tasks in child processes; see `Executor` for the contract.

    Args:
        settings: what to run and how much of it.

    Raises:
        ExecutorError: this platform cannot fork.
    """

    kind = "prefork"

    def __init__(self, settings: ExecutorSettings) -> None:
        """Take the settings; `start` does the rest."""
        _check_platform()
        self._settings = settings
        self._line = Line()
        self._pace = pace.Pace(settings.ran)
        self._wishes = Wishes(self)
        self._feeding = False
        self._closing = False
        self._closed = False
        self._emptied = asyncio.Event()
        self._watch: asyncio.TimerHandle | None = None
        #: How many tasks a child may run; 0: any number.
        self._most_tasks = 0
        self._last_call: tuple[Call, Call, bytes] | None = None

    async def start(self, listener: Listener) -> Registered:
        """See `Executor.start`."""
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self.nursery = Nursery(self._settings, self)
        self._limits = TimeLimits(self.nursery, self._wishes, self._settings)
        self._scaling = Scaling(self.nursery, self._settings)
        answer = await self.nursery.start()
        self._limits.take_defaults(answer.conf)
        self._scaling.take_defaults(answer.conf)
        by_app: Any = answer.conf.get("worker_max_tasks_per_child")
        self._most_tasks = self._settings.max_tasks_per_child or by_app or 0
        return Registered(tasks=tuple(answer.tasks), conf=answer.conf, warnings=tuple(answer.warnings))

    # --- work in --------------------------------------------------------------------------------------------

    def put(self, run: CallRun) -> None:
        """See `Executor.put`."""
        self._line.put(run)
        self.wake()

    def wake(self) -> None:
        """Feed the children soon, once for all that comes in at this turn of the loop."""
        if not self._feeding:
            self._feeding = True
            self._loop.call_soon(self._feed)

    def _feed(self) -> None:
        self._feeding = False
        line = self._line
        if self._closing:
            return
        fed = set()
        while line.count:
            child = self._choose()
            if child is None:
                self._scaling.need(line.count + sum(bool(each.open) for each in self.nursery.children.values()))
                break
            self._send(child)
            fed.add(child)
        for child in fed:
            child.sent_all()
        if self._watch is None:
            self._check_overdue()

    def _send(self, child: ChildProcess) -> None:
        """Give a child what is first in line, as much as it is to have of it."""
        line = self._line
        task = line.task()
        count = min(self._pace.frame_calls(task), -(-line.count // self.nursery.places))
        if self._most_tasks:
            count = min(count, self._most_tasks - child.given)
        run = line.take(count, pace.FRAME_BYTES)
        expected = self._pace.expected(task)
        call, encoded = self._prepared(run.call)
        child.send(run, call, encoded, careful=expected is None or expected > _CAREFUL)
        self._limits.sent(child, call)
        if self._most_tasks and child.given >= self._most_tasks:
            # Its successor comes while it works, and is there when it ends.
            self.nursery.retire(child)

    def _choose(self) -> ChildProcess | None:
        """The child to feed next: one without work, else one whose work will soon be done; None: all are filled."""
        free: ChildProcess | None = None
        best: ChildProcess | None = None
        busy = 0
        for child in self.nursery.children.values():
            busy += bool(child.open)
            if not child.ready or child.condemned or child.retiring or child.asked:
                continue
            if not child.open:
                free = free or child
            elif free is None and best is None and len(child.open) < pace.FRAMES and self._soon_done(child):
                best = child
        # A successor has its place when its predecessor has done what it had.
        return free if free is not None and busy < self.nursery.places else best

    def _soon_done(self, child: ChildProcess) -> bool:
        if time.monotonic() - child.progress_at > _OVERDUE:
            return False  # what it runs takes longer than expected: nothing shall wait behind it
        left = pace.FILLED_SECONDS
        for sent in child.open:
            expected = self._pace.expected(sent.run.call.task)
            if expected is None:
                return False
            left -= expected * sent.open
        return left >= 0

    def _prepared(self, call: Call) -> tuple[Call, bytes]:
        """A call with the limits that hold, and the same encoded. Neighbours mostly share theirs."""
        if self._last_call is None or self._last_call[0] is not call:
            limited = self._limits.of(call)
            self._last_call = (call, limited, _encode_call(limited))
        return self._last_call[1:]

    def _check_overdue(self) -> None:
        """Take back what waits behind a task that turned out slow; runs while anything waits in a child."""
        self._watch = None
        if self._closed:
            return
        late = time.monotonic() - _OVERDUE
        watch = False
        for child in self.nursery.children.values():
            if len(child.outstanding) > 1 and not child.asked:
                watch = True
                if child.progress_at < late:
                    child.take_back(list(child.outstanding))
        if watch:
            self._watch = self._loop.call_later(_OVERDUE, self._check_overdue)

    # --- results out ----------------------------------------------------------------------------------------

    def child_ready(self, child: ChildProcess) -> None:
        """Feed a new child (nursery)."""
        if self._closing:
            child.finish()
        else:
            self.wake()

    def child_said(self, child: ChildProcess, outputs: list[Output]) -> None:
        """Report what ended and give the child more (nursery)."""
        for output in outputs:
            for task, count, seconds in output.times:
                self._pace.learn(task, count, seconds)
            self._no_ends(child, output)
            if output.tokens or output.ended:
                child.progress_at = time.monotonic()
            if output.tokens:
                self._values(child, output.tokens, output.datas)
            if output.ended:
                ends = [end for end in output.ended if child.drop(end.token) and self._wishes.settled(end.token)]
                if ends:
                    self._listener.ended(ends)
            if output.answered and not child.left:
                self._answered(child, output)
            if output.leaving:
                self._leaves(child)
        self._moved()

    def _no_ends(self, child: ChildProcess, output: Output) -> None:
        """Pass on what attempts say while they run."""
        if output.started:
            self._listener.started(output.started)
        for said in output.progress:
            if said[0] in child.outstanding:  # a thread that outlived its attempt may still speak
                self._listener.progressed(*said)
        if output.logs:
            self._listener.logged(output.logs)

    def _values(self, child: ChildProcess, tokens: list[int], datas: list[bytes]) -> None:
        for token in tokens:
            child.drop(token)
        if self._wishes:
            kept = [pair for pair in zip(tokens, datas, strict=True) if self._wishes.settled(pair[0])]
            tokens, datas = [token for token, _ in kept], [data for _, data in kept]
        if tokens:
            self._listener.values(tokens, datas)

    def _answered(self, child: ChildProcess, output: Output) -> None:
        """The child gave back what it had not started: report what was wanted back, put the rest in line again."""
        child.asked = False
        child.given -= len(output.returned)
        self._back_in_line([(sent.run, token) for token in output.returned if (sent := child.drop(token))])
        self._wishes.kept(child, output.kept)

    def _leaves(self, child: ChildProcess) -> None:
        """The child ends and has said all: what it still has never started there."""
        child.left = True
        back = [(sent.run, token) for token, sent in child.outstanding.items()]
        child.given -= len(back)
        child.forget_all()
        self._back_in_line(back)
        self.nursery.left(child)

    def _back_in_line(self, attempts: list[tuple[CallRun, int]]) -> None:
        """Attempts that never started go to the front, or are reported where they were asked for."""
        again: list[tuple[CallRun, int]] = []
        ends: list[Ended] = []
        for run, token in attempts:
            wish = self._wishes.take(token)
            if wish is None and not self._closing:
                again.append((run, token - run.token))
            elif wish is None or not wish.silent:
                ends.append(Ended(token, "returned") if wish is None else wish.end(token))
        self._line.put_front(regroup(again))
        if ends:
            self._listener.ended(ends)

    def _moved(self) -> None:
        """After anything ended: feed, and notice when nothing is held any more."""
        if self._line.count:
            self._feed()
        elif self._closing and self.idle():
            self._emptied.set()

    def child_exited(self, child: ChildProcess, how: str) -> None:
        """Settle what a dead child had: the attempt it ran is lost, the others go elsewhere (nursery)."""
        _, current = child.started()
        before = current in child.outstanding
        again: list[tuple[CallRun, int]] = []
        lost: list[Ended] = []
        for token, sent in list(child.outstanding.items()):
            # Those before the current one had run, within the last 2 ms, and their values died unsent.
            ran = before or token == current
            before = before and token != current
            wish = self._wishes.peek(token)
            if token == current and wish is not None and wish.signal is not None:
                self._wishes.take(token)
                if not wish.silent:
                    lost.append(wish.end(token, ran=True))
            elif ran and (sent.run.call.acks_early or (token == current and not child.condemned)):
                self._wishes.take(token)
                lost.append(Ended(token, "lost", message=how))
            else:
                again.append((sent.run, token))
        child.forget_all()
        if lost:
            self._listener.ended(lost)
        self._back_in_line(again)
        self._moved()

    def gave_up(self, reason: str) -> None:
        """No children can be made any more (nursery)."""
        self._listener.broken(reason)

    # --- asked by the supervisor ----------------------------------------------------------------------------

    def capacity(self) -> int:
        """See `Executor.capacity`."""
        return self._pace.capacity(self._scaling.most)

    def places(self) -> int:
        """See `Executor.places`."""
        return self._scaling.most

    def resize(self, by: int) -> int:
        """See `Executor.resize`."""
        return self._scaling.resize(by)

    def restart(self, *, reload: bool = False, modules: Sequence[str] = ()) -> None:
        """See `Executor.restart`."""
        self.nursery.restart(reload=reload, modules=modules)

    def autoscale(self, most: int | None = None, least: int | None = None) -> tuple[int, int]:
        """See `Executor.autoscale`."""
        return self._scaling.set_bounds(most, least)

    def held(self) -> int:
        """See `Executor.held`."""
        return self._line.count + sum(len(child.outstanding) for child in self.nursery.children.values())

    def idle(self) -> bool:
        """See `Executor.idle`."""
        return not self._line.count and not any(child.outstanding for child in self.nursery.children.values())

    def take_back(self, tokens: Sequence[int]) -> None:
        """See `Executor.take_back`."""
        self._wishes.make_many(tokens)

    def take_back_waiting(self, keep: int = 0) -> None:
        """See `Executor.take_back_waiting`."""
        in_children = [waiting.token for waiting in self._waiting_in_children()]
        tokens = self._line.remove_last(max(0, keep - len(in_children)))
        self.end_soon([Ended(token, "returned") for token in tokens])
        self._wishes.make_many(in_children[keep:])

    def stop(self, token: int, signal: str | None = None) -> bool:
        """See `Executor.stop`."""
        return self._wishes.make(token, Wish("revoked", signal_number(signal)))

    def forget(self, token: int) -> bool:
        """See `Executor.forget`."""
        return self._wishes.make(token, Wish("revoked", signal_number("SIGKILL"), silent=True))

    def running(self) -> list[Running]:
        """See `Executor.running`."""
        found = (child.running() for child in self.nursery.children.values())
        return [running for running in found if running is not None]

    def waiting(self, limit: int = 1_000) -> list[Waiting]:
        """See `Executor.waiting`."""
        waiting = self._waiting_in_children()
        for run, offset in self._line:
            if len(waiting) >= limit:
                break
            waiting.append(Waiting(run.token + offset, run, offset))
        return waiting[:limit]

    def _waiting_in_children(self) -> list[Waiting]:
        waiting: list[Waiting] = []
        for child in self.nursery.children.values():
            current = child.started()[1]
            behind = current not in child.outstanding
            for token, sent in child.outstanding.items():
                if behind:
                    waiting.append(Waiting(token, sent.run, token - sent.run.token))
                behind = behind or token == current
        return waiting

    def dump_stacks(self) -> None:
        """See `Executor.dump_stacks`; one child after the other, so that they do not write at the same time."""
        ready = [child for child in self.nursery.children.values() if child.ready]
        for place, child in enumerate(ready):
            self._loop.call_later(place * _APART, self._dump_stacks, child)

    def _dump_stacks(self, child: ChildProcess) -> None:
        if child.number in self.nursery.children:
            _log.warning("stacks of child process %d:", child.pid)
            self.nursery.kill(child, STACKS_SIGNAL)

    def stats(self) -> dict[str, Any]:
        """See `Executor.stats`."""
        return {
            "executor": self.kind,
            "concurrency": self._scaling.most,
            "max-tasks-per-child": self._most_tasks or None,
            "autoscale": self._scaling.shown(),
            "processes": [child.stats() for child in self.nursery.children.values()],
            "processes-ended": self.nursery.ended,
            "waiting": self._line.count,
            "held": self.held(),
            "tasks": self._pace.stats(),
        }

    def emit(self, name: str, number: int = 0, *, attempt: CallRun | None = None, expired: bool = False) -> None:
        """See `Executor.emit`."""
        self.nursery.emit(News(name, number, attempt, expired))

    def ask(self, name: str, data: bytes, told: Callable[[bytes, str], None]) -> None:
        """See `Executor.ask`."""
        self.nursery.ask(name, data, told)

    async def close(self, *, drain: bool, deadline: float) -> None:
        """See `Executor.close`."""
        end = time.monotonic() + deadline
        self.take_back_waiting(0)
        self._closing = True
        self._scaling.close()
        if drain and not self.idle():
            try:
                async with asyncio.timeout_at(self._loop.time() + deadline):
                    await self._emptied.wait()
            except TimeoutError:
                pass  # what still runs is killed below, and reported as lost
        patience = min(1.0, max(0.2, end - time.monotonic())) if self.idle() else 0.0
        await self.nursery.close(patience)
        # What was handed back is reported at the next turn of the loop: let it come before the end.
        await asyncio.sleep(0)
        self._closed = True
        self._limits.close()
        if self._watch is not None:
            self._watch.cancel()

    # --- for the wishes -------------------------------------------------------------------------------------

    def take_from_line(self, token: int) -> bool:
        """Take an attempt out that no child has; False where it is not in line."""
        return self._line.remove(token)

    def child_of(self, token: int) -> ChildProcess | None:
        """The child that has an attempt, or None."""
        for child in self.nursery.children.values():
            if token in child.outstanding:
                return child
        return None

    def end_soon(self, ends: list[Ended]) -> None:
        """Report ends at the next turn of the loop, never from inside the supervisor's own call."""
        if ends:
            self._loop.call_soon(self._end, ends)

    def _end(self, ends: list[Ended]) -> None:
        self._listener.ended(ends)
        self._moved()


def _check_platform() -> None:
    """Refuse where descriptors cannot be handed to another process."""
    import socket

    if not hasattr(socket, "send_fds"):
        raise ExecutorError("the prefork executor needs Unix; use -P threads or -P solo here")
