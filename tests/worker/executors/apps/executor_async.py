"""The tasks of `executor_sample` as coroutines, and some that only coroutines can be."""

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

from executor_sample import (  # type: ignore[import-not-found]
    again,
    again_as_it_is,
    errback_bound,
    errback_id,
    errback_three,
    request,
)

from grpcflow import Grpcflow, current_task
from grpcflow.errors import Ignore, Reject, SoftTimeLimitExceeded
from grpcflow.log import get_task_logger
from grpcflow.state import in_task

app = Grpcflow("executor_async")
app.conf.update(task_default_queue="sample")
log = get_task_logger(__name__)


@app.task
async def noop() -> None:
    return None


@app.task
async def add(x: Any, y: Any) -> Any:
    await asyncio.sleep(0)
    return x + y


@app.task
async def listed(*args: Any) -> list[Any]:
    return list(args)


@app.task
async def fail(message: str) -> None:
    await asyncio.sleep(0)
    raise ValueError(message)


@app.task
async def leave(how: str) -> None:
    if how == "exit":
        sys.exit(3)
    raise KeyboardInterrupt


@app.task
async def spin(seconds: float) -> None:
    """Waits so long."""
    await asyncio.sleep(seconds)  # in a task


@app.task
async def text(length: int) -> str:
    return "x" * length


@app.task
async def unsendable() -> object:
    return object()


@app.task
async def ignored() -> None:
    raise Ignore


@app.task
async def rejected(requeue: bool) -> None:
    raise Reject("not mine", requeue=requeue)


@app.task
async def where() -> list[Any]:
    return [os.getpid(), in_task()]


def as_coroutine(task: Any) -> None:
    """Registers the body of a task of the other app here, as a coroutine."""

    async def run(*args: Any) -> Any:
        await asyncio.sleep(0)
        return task.__wrapped__(*args)

    async def run_bound(self: Any, *args: Any) -> Any:
        await asyncio.sleep(0)
        return task.__wrapped__(self, *args)

    # A failed call is told (request, exception, traceback) where three arguments can be taken.
    run.__wrapped__ = run_bound.__wrapped__ = task.__wrapped__  # type: ignore[attr-defined]
    decorate: Any = app.task(name=f"{__name__}.{task.__name__}", bind=task.bind)
    decorate(run_bound if task.bind else run)


for each in (again, again_as_it_is, errback_id, errback_bound, errback_three, request):
    as_coroutine(each)


@app.task
async def wait_at(port: int, name: str = "") -> str:
    """Connects to the test's gate and waits until it is opened."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"{name or os.getpid()}\n".encode())
        return (await reader.read(100)).decode()
    finally:
        writer.close()


@app.task(bind=True)
async def tell(self: Any, count: int, port: int = 0) -> int:
    """Says so often how far it is, and then waits at the gate where a port is given."""
    for number in range(count):
        self.update_state(state="STEP", meta={"number": number})
    if port:
        await wait_at(port, "told")
    return count


@app.task
async def clean_up(port: int) -> list[Any]:
    """Waits at the gate for ever; cleans up where it is told of its soft time limit."""
    try:
        await wait_at(port, "soft")
    except SoftTimeLimitExceeded as error:
        await asyncio.sleep(0)
        return [os.getpid(), str(error)]
    return [0, ""]


@app.task
async def stubborn(port: int) -> None:
    """Never ends, whatever it is told, but tells the gate of it."""
    for number in itertools.count():
        try:
            await wait_at(port, f"stubborn{number}")
        except (asyncio.CancelledError, SoftTimeLimitExceeded):
            log.info("not me")


@app.task
async def cancelled(port: int) -> None:
    """Waits at the gate; where it is cancelled it says so to the gate, and waits there for its leave."""
    try:
        await wait_at(port, "first")
    except asyncio.CancelledError:
        await wait_at(port, "cancelled")
        raise


@app.task
async def leaves_others(port: int) -> str:
    """Ends while an asyncio task of its own waits at the gate, and one that tried to end the worker has failed."""
    asyncio.get_running_loop().create_task(wait_at(port, "left"), name="the one that was left")
    await wait_at(port, "itself")
    return "done"


@app.task
async def leaves_a_generator() -> list[int]:
    """Leaves an asynchronous generator open; gives how often one was closed before."""
    generators.append(numbers())
    await anext(generators[-1])
    return list(closed)


closed: list[int] = []
generators: list[Any] = []


async def numbers() -> AsyncIterator[int]:
    try:
        yield 1
        yield 2
    finally:
        await asyncio.sleep(0)
        closed.append(1)


@app.task
async def loop_of() -> int:
    """Tells loops apart."""
    return id(asyncio.get_running_loop())


@app.task(bind=True)
async def who(self: Any, rounds: int) -> list[str | None]:
    """Says who it is each time it goes on; the names must be one."""
    seen: set[str | None] = set()
    for _ in range(rounds):
        seen |= {self.request.id, current_task.request.id}
        await asyncio.sleep(0)
    seen.add(await asyncio.create_task(asked(self)))
    seen.add(await asyncio.to_thread(lambda: self.request.id))
    log.warning("I am %s", self.request.id)
    return [self.request.id, *seen]


async def asked(task: Any) -> str:
    return str(task.request.id)


@app.task
async def exits_in_a_child() -> str:
    """An asyncio task of its own tries to end the process."""

    async def leave() -> None:
        sys.exit(3)

    child = asyncio.create_task(leave())
    try:
        await child
    except SystemExit:
        return "caught"
    return "nothing"


@app.task
async def cancels_all() -> None:
    """Cancels all asyncio tasks that it finds on its loop, those of other tasks too."""
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(0)


@app.task
async def breaks_a_callback() -> str:
    """A callback of the loop fails beside the task."""
    asyncio.get_running_loop().call_soon(lambda: 1 / 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return "fine"


@app.task
async def blocks(port: int) -> str:
    """Waits at the gate without letting the loop go on."""
    import executor_sample

    return str(executor_sample.wait_at(port, "blocked"))


@app.task
def plain(port: int, name: str = "plain") -> str:
    """A task that is no coroutine, beside the others."""
    import executor_sample

    return str(executor_sample.wait_at(port, name))


@app.task
async def cleans_up_for_ever(port: int) -> None:
    """Waits at the gate; where it is cancelled, it waits for nothing."""
    try:
        await wait_at(port)
    finally:
        await asyncio.Event().wait()


@app.task(bind=True)
async def gives_itself_away(self: Any, how: str) -> Any:
    """Replaces itself; the replacement cannot be sent from here, and the test sees what is made of that."""
    if how == "swallowed":
        try:
            self.replace(add.s(1, 1))
        except Ignore:
            return "the body went on"
    raise self.replace(add.s(1, 1))


mood: ContextVar[str] = ContextVar("mood", default="none")


@app.task
async def in_what_mood() -> str:
    """Gives what a receiver of `task_prerun` set."""
    return mood.get()
