"""The mixed load of a soak: each kind of use goes on at a pace of its own, and what comes back is checked.

Every kind is one coroutine that does one thing; `Load` runs each of them again and again. Nothing here measures memory.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from grpcflow import Grpcflow, chain, chord, group
from grpcflow.errors import TaskRevokedError
from soaking.tasks import add, app, echo, flaky, stay, tell, total

#: Something that is done once, with chances of its own.
Kind = Callable[[random.Random], Awaitable[None]]

#: Seconds after which something that should come has not.
LIMIT: Final = 120.0


def check(found: object, expected: object, what: str) -> None:
    """Stop where a value is wrong.

    Raises:
        SystemExit: it is.
    """
    if found != expected:
        raise SystemExit(f"{what} came to {found!r:.200}, and not to {expected!r:.200}")


async def one(chance: random.Random) -> None:
    """Call and wait."""
    number = chance.randrange(1000)
    check(await (await add.adelay(number, 1)).aget(timeout=LIMIT), number + 1, "a call")


async def many(chance: random.Random) -> None:
    """Run a group."""
    count = chance.randrange(50, 300)
    result: Any = await group(add.s(number, 1) for number in range(count)).adelay()
    check(await result.aget(timeout=LIMIT), list(range(1, count + 1)), "a group")


async def canvas(chance: random.Random) -> None:
    """Run a chord whose body goes on, and a step that is tried again."""
    count = chance.randrange(2, 30)
    work: Any = chain(chord([add.s(number, number) for number in range(count)], total.s()), add.s(1), flaky.s())
    check(await (await work.adelay()).aget(timeout=LIMIT), count * (count - 1) + 1, "a canvas")


async def large(chance: random.Random) -> None:
    """Send much and get it back."""
    text = "x" * chance.randrange(100_000, 500_000)
    check(len(await (await echo.adelay(text)).aget(timeout=LIMIT)), len(text), "a large text")


async def failing(_: random.Random) -> None:
    """Wait for what fails."""
    try:
        await (await flaky.adelay(-1)).aget(timeout=LIMIT)
    except ValueError:
        return
    raise SystemExit("what fails at every try came to a value")


async def streaming(_: random.Random) -> None:
    """Read items and the end."""
    result: Any = await tell.adelay(20)
    check([item async for item in result.astream(timeout=LIMIT)], list(range(20)), "a stream")


async def revoked(_: random.Random) -> None:
    """Call for later, and change one's mind."""
    result: Any = await stay.aapply_async((0.01,), countdown=60)
    await result.arevoke()
    try:
        await result.aget(timeout=LIMIT)
    except TaskRevokedError:
        return
    raise SystemExit("what was revoked came to a value")


async def forgotten(_: random.Random) -> None:
    """Call, and never ask."""
    for number in range(20):
        await stay.adelay(0.001 * (number % 3))


async def impatient(_: random.Random) -> None:
    """Stop waiting before the end."""
    result: Any = await stay.adelay(0.2)
    try:
        await result.aget(timeout=0.01)
    except TimeoutError:
        return


async def asking(_: random.Random) -> None:
    """Ask how all is."""
    await asyncio.to_thread(app.control.ping, timeout=5)


async def visiting(_: random.Random) -> None:
    """Connect, call and leave: a client that lives for a moment."""

    def visit() -> None:
        guest = Grpcflow("guest", coordinator=app.conf.coordinator)
        check(guest.send_task("soak.add", (1, 2)).get(timeout=LIMIT), 3, "a guest's call")
        guest.close()

    await asyncio.to_thread(visit)


#: What is done, and the seconds between the begins of two.
KINDS: Final[dict[str, tuple[Kind, float]]] = {
    "one": (one, 0.05),
    "many": (many, 1.0),
    "canvas": (canvas, 0.5),
    "large": (large, 1.0),
    "failing": (failing, 1.0),
    "streaming": (streaming, 1.0),
    "revoked": (revoked, 1.0),
    "forgotten": (forgotten, 1.0),
    "impatient": (impatient, 1.0),
    "asking": (asking, 2.0),
    "visiting": (visiting, 3.0),
}


class Load:
    """Everything at once.

    Args:
        seed: of the chances.
        pace: what the seconds between two begins are multiplied with.
    """

    def __init__(self, seed: int, pace: float = 1.0) -> None:
        self._seed, self._pace = seed, pace
        self._over = asyncio.Event()
        #: Seconds that single calls took, since they were taken out last.
        self.waits: list[float] = []
        #: How often each kind was done.
        self.done: dict[str, int] = {}
        #: Nodes that the events named that were read, each at least one.
        self.fed = 0

    async def run(self) -> None:
        """Go on until `stop`."""
        async with app, asyncio.TaskGroup() as kinds:
            for name, (kind, seconds) in KINDS.items():
                kinds.create_task(self._again(name, kind, seconds * self._pace))
            kinds.create_task(self._follow())

    def stop(self) -> None:
        """End each kind once what it does is done."""
        self._over.set()

    async def _again(self, name: str, kind: Kind, seconds: float) -> None:
        """Do one thing again and again; where it takes longer than its pace, without a pause."""
        chance = random.Random(f"{self._seed} {name}")
        while not self._over.is_set():
            began = time.perf_counter()
            try:
                await kind(chance)
            except TimeoutError as error:
                print(f"{name}, after {time.perf_counter() - began:.1f} s: {error}", flush=True)
                self.done["too late"] = self.done.get("too late", 0) + 1
            took = time.perf_counter() - began
            self.done[name] = self.done.get(name, 0) + 1
            if kind is one:
                self.waits.append(took)
            await self._rest(seconds - took)

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.001, seconds)):
                await self._over.wait()
        except TimeoutError:
            return

    async def _follow(self) -> None:
        """Read events all along."""
        events = app.events.aread(follow=True)
        reading = asyncio.create_task(self._count(events))
        await self._over.wait()
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    async def _count(self, events: Any) -> None:
        async for event in events:
            self.done["events"] = self.done.get("events", 0) + 1
            self.fed += len(event.nodes) or 1
