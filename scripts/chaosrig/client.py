"""A client process of the rig: several threads, or coroutines, that submit, read and revoke, and write all of it down.

A program: `python -m chaosrig.client NAME SEED threads|asyncio`, ended by SIGTERM once its operations are over.
GRPCFLOW_COORDINATOR says where the coordinator is, CHAOS_HISTORY where the history is.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any, Final

from chaosrig.chaos_tasks import app
from chaosrig.history import Answered, Invoked, Journal, Promise, Saw
from chaosrig.plans import Plan, random_plan
from grpcflow import AsyncResult, CoordinatorUnavailable, GroupResult, GrpcflowError

#: Operations of a process that go on at once: threads, coroutines.
THREADS: Final = 2
COROUTINES: Final = 4

#: Seconds that a read waits at most, and longest pause between two operations.
READ: Final = 5.0
PAUSE: Final = 0.25

#: How likely it is that results are read at once.
READS: Final = 0.7


def seen(value: Any) -> tuple[str, Any]:
    """Return how the history names what a result came to: SUCCESS and the value, or the name of the exception."""
    return (type(value).__name__, None) if isinstance(value, BaseException) else ("SUCCESS", value)


def _promises(plan: Plan, results: Sequence[Any]) -> tuple[Promise, ...]:
    flat: list[AsyncResult[Any]] = []
    for one in results:
        flat += one.results if isinstance(one, GroupResult) else [one]
    return tuple(expected.of(one.id) for expected, one in zip(plan.expected, flat, strict=True))


def _post(plan: Plan) -> list[Any]:
    if len(plan.canvases) == 1:
        return [plan.canvases[0].apply_async(**plan.options)]
    with app.batch():
        return [one.apply_async(**plan.options) for one in plan.canvases]


async def _apost(plan: Plan) -> list[Any]:
    if len(plan.canvases) == 1:
        return [await plan.canvases[0].aapply_async(**plan.options)]
    async with app.batch():
        return [await one.aapply_async(**plan.options) for one in plan.canvases]


class Client:
    """What threads and coroutines share: names of operations, chance, and the history.

    Args:
        name: name of this process; no other one of the history has it.
        seed: where all choices come from.
    """

    def __init__(self, name: str, seed: str) -> None:
        self.over = threading.Event()
        self.name = name
        self.rng = random.Random(seed)
        self._numbers = itertools.count()
        self._journal = Journal(Path(os.environ["CHAOS_HISTORY"]) / f"client-{name}.jsonl")

    def stop(self, _number: int, _frame: FrameType | None) -> None:
        """Begin nothing more; handles SIGTERM."""
        self.over.set()

    def _invoke(self, op: str, kind: str, about: str = "") -> None:
        self._journal.write(Invoked(time.monotonic(), op, kind, about))

    def _new_name(self) -> str:
        return f"{self.name}:{next(self._numbers)}"

    def next_plan(self) -> tuple[str, Plan]:
        """Return the next operation, which begins."""
        op = self._new_name()
        plan = random_plan(op, self.rng)
        self._invoke(op, plan.kind)
        return op, plan

    @contextlib.contextmanager
    def _asked(self, kind: str, about: str) -> Iterator[None]:
        """Write that an operation begins, and how it ends, of what is done meanwhile."""
        op = self._new_name()
        self._invoke(op, kind, about)
        try:
            yield
        except GrpcflowError as error:
            self.failed(op, error)
        else:
            self.answer(op, "ok")

    def _taken(self, op: str, plan: Plan, results: Sequence[Any]) -> tuple[Promise, ...]:
        """Write that what was submitted is acknowledged, and return what it promises."""
        promises = _promises(plan, results)
        self.answer(op, "ok", promises)
        return promises

    def _is_given_up(self, op: str, plan: Plan, tried: int, error: GrpcflowError) -> bool:
        """Return whether a submission that failed so often is not tried again, and write that then."""
        if tried < plan.tries and isinstance(error, CoordinatorUnavailable) and not self.over.is_set():
            return False
        self.failed(op, error)
        return True

    def answer(self, op: str, how: str, promises: tuple[Promise, ...] = (), note: str = "") -> None:
        """Write how an operation ended."""
        self._journal.write(Answered(time.monotonic(), op, how, promises, note))

    def failed(self, op: str, error: GrpcflowError) -> None:
        """Write that an operation failed: of one that reached nobody, or was cut, none knows whether it happened."""
        vague = isinstance(error, CoordinatorUnavailable | TimeoutError)
        self.answer(op, "unknown" if vague else "error", note=f"{type(error).__name__}: {error}")

    def saw(self, op: str, node: str, value: Any) -> None:
        """Write what a call came to."""
        self._journal.write(Saw(time.monotonic(), op, node, *seen(value)))

    # --- threads ---

    def run_threads(self) -> None:
        """Work in threads until told to stop."""
        with ThreadPoolExecutor(THREADS) as pool:
            loops = [pool.submit(self._loop) for _ in range(THREADS)]
            for one in loops:
                one.result()
        app.close()

    def _loop(self) -> None:
        while not self.over.wait(self.rng.uniform(0.0, PAUSE)):
            op, plan = self.next_plan()
            promises = self._submit(op, plan)
            if plan.revokes:
                self._revoke(promises)
            elif self.rng.random() < READS:
                self._read(op, promises)

    def _submit(self, op: str, plan: Plan) -> tuple[Promise, ...]:
        for tried in range(1, plan.tries + 1):
            try:
                return self._taken(op, plan, _post(plan))
            except GrpcflowError as error:
                if self._is_given_up(op, plan, tried, error):
                    break
        return ()

    def _revoke(self, promises: Sequence[Promise]) -> None:
        for one in promises:
            with self._asked("revoke", one.node):
                app.AsyncResult(one.node).revoke()

    def _read(self, op: str, promises: Sequence[Promise]) -> None:
        for one in promises:
            with contextlib.suppress(CoordinatorUnavailable, TimeoutError):  # it was not told
                self.saw(op, one.node, app.AsyncResult(one.node).get(timeout=READ, propagate=False))

    # --- coroutines ---

    async def run_coroutines(self) -> None:
        """Work in coroutines until told to stop."""
        await asyncio.gather(*(self._aloop() for _ in range(COROUTINES)))
        await app.aclose()

    async def _aloop(self) -> None:
        while not self.over.is_set():
            await asyncio.sleep(self.rng.uniform(0.0, PAUSE))
            op, plan = self.next_plan()
            promises = await self._asubmit(op, plan)
            if plan.revokes:
                await self._arevoke(promises)
            elif self.rng.random() < READS:
                await self._aread(op, promises)

    async def _asubmit(self, op: str, plan: Plan) -> tuple[Promise, ...]:
        for tried in range(1, plan.tries + 1):
            try:
                return self._taken(op, plan, await _apost(plan))
            except GrpcflowError as error:
                if self._is_given_up(op, plan, tried, error):
                    break
        return ()

    async def _arevoke(self, promises: Sequence[Promise]) -> None:
        for one in promises:
            with self._asked("revoke", one.node):
                await app.AsyncResult(one.node).arevoke()

    async def _aread(self, op: str, promises: Sequence[Promise]) -> None:
        for one in promises:
            with contextlib.suppress(CoordinatorUnavailable, TimeoutError):
                self.saw(op, one.node, await app.AsyncResult(one.node).aget(timeout=READ, propagate=False))


def main() -> None:
    """Run the client."""
    name, seed, style = sys.argv[1:]
    # Once its file is there it heeds the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    client = Client(name, seed)
    signal.signal(signal.SIGTERM, client.stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    if style == "threads":
        client.run_threads()
    else:
        asyncio.run(client.run_coroutines())


if __name__ == "__main__":
    main()
