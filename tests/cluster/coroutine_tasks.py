"""Coroutines as tasks, and a plain one beside them: the app of the tests in test_coroutines.py."""

import asyncio
from typing import Any

from grpcflow import Grpcflow, group

app = Grpcflow("coroutine_tasks", set_as_current=False)


@app.task(name="c.sleep")
async def sleep(seconds: float) -> int:
    """Sleeps; gives how many asyncio tasks its loop had in all when it woke."""
    await asyncio.sleep(seconds)  # in a task
    return len(asyncio.all_tasks())


@app.task(name="c.add")
async def add(x: int, y: int) -> int:
    await asyncio.sleep(0)
    return x + y


@app.task(name="c.plain")
def plain(x: int, y: int) -> int:
    return x + y


@app.task(name="c.total")
async def total(values: list[int]) -> int:
    return sum(values)


@app.task(name="c.replaced", bind=True)
async def replaced(self: Any, n: int) -> Any:
    await asyncio.sleep(0)
    raise self.replace(group(add.s(n, 1), plain.s(n, 2)))


@app.task(name="c.adding", bind=True)
async def adding(self: Any, n: int) -> int:
    self.add_to_chord(add.s(n, 100))
    return n


@app.task(name="c.submits", bind=True)
async def submits(self: Any, x: int, y: int) -> list[str]:
    """Submits two calls, one while its loop stands still and one beside it; gives their ids and its children's."""
    first = add.delay(x, y)
    second = await asyncio.to_thread(add.delay, x, y)
    return [first.id, second.id, *(child.id for child in self.request.children)]


@app.task(name="c.unsteady", bind=True, max_retries=3, default_retry_delay=0)
async def unsteady(self: Any, until: int) -> int:
    await asyncio.sleep(0)
    if self.request.retries < until:
        raise self.retry(exc=ConnectionError("line is down"))
    return int(self.request.retries)


@app.task(name="c.steps", bind=True)
async def steps(self: Any) -> None:
    """Says that it runs, and then never ends."""
    self.update_state(state="STEP", meta={"number": 1})
    await asyncio.Event().wait()


@app.task(name="c.limited", time_limit=0.2)
async def limited() -> None:
    await asyncio.Event().wait()
