"""Runs the coroutines of ``async def`` tasks from code that is not: each thread has an event loop that it keeps.

Between two coroutines the loop stands still. So what one leaves behind, asyncio tasks and asynchronous generators,
ends with it, and the log says so. Imported where the first coroutine is run, for it imports asyncio. It may not import
grpc, protobuf or the codec.
"""

import asyncio
import atexit
import contextvars
import inspect
import logging
import os
import sys
import threading
import weakref
from collections.abc import AsyncGenerator, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from grpcflow import state
from grpcflow.steering import Steering

if TYPE_CHECKING:
    from grpcflow.task import Task

__all__ = ["close_loop", "is_coroutine_task", "report_left", "run", "soften"]

T = TypeVar("T")

#: Seconds that what a task left running gets to end once it was cancelled.
PATIENCE: Final = 1.0

#: How many of these the log names.
_SHOWN: Final = 5

_log: Final = logging.getLogger("grpcflow.coroutines")

_local: Final = threading.local()

#: Loops of the process that this one was forked from: they share its file descriptors, so nobody may close them here.
_inherited: Final[list["_Home"]] = []


def is_coroutine_task(task: "Task[..., Any]") -> bool:
    """Return True where calling ``task`` gives a coroutine: its body or its ``__call__`` is an ``async def``."""
    return inspect.iscoroutinefunction(task.run) or inspect.iscoroutinefunction(type(task).__call__)


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on this thread's own loop, and return its value.

    In a thread whose loop runs (``apply()`` in a coroutine, for example) it runs in a thread of its own, and this one
    waits: nothing else can be done by code that cannot await.

    Args:
        coroutine: What to run; in a copy of the current context.

    Raises:
        BaseException: What the coroutine raises.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _home().run(coroutine)
    with ThreadPoolExecutor(1, thread_name_prefix="grpcflow-coroutine") as pool:
        return pool.submit(contextvars.copy_context().run, _run_once, coroutine).result()


def soften(error: BaseException) -> bool:
    """Raise an exception in the coroutine that ``run`` runs in this thread, at its next await; for signal handlers.

    Args:
        error: The exception.

    Returns:
        False where no coroutine runs here.
    """
    home: _Home | None = getattr(_local, "home", None)
    if home is None or home.steering is None:
        return False
    home.loop.call_soon_threadsafe(home.steering.soften, error)
    return True


def close_loop() -> None:
    """Close this thread's own loop; the next coroutine gets a new one."""
    home: _Home | None = getattr(_local, "home", None)
    if home is not None:
        del _local.home
        home.close()


def report_left(name: str, left: Iterable["asyncio.Task[Any]"]) -> None:
    """Log which asyncio tasks a task left running when it ended, and that they are cancelled.

    Args:
        name: What the log calls the task.
        left: What it left running; at least one.
    """
    shown = sorted(f"{task.get_name()} ({getattr(task.get_coro(), '__qualname__', '?')})" for task in left)
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    _log.warning(
        "%s ended while asyncio tasks that it had started still ran: %s%s. They are cancelled; await them in the task",
        name,
        ", ".join(shown[:_SHOWN]),
        more,
    )


def _run_once(coroutine: Coroutine[Any, Any, T]) -> T:
    home = _Home()
    try:
        return home.run(coroutine)
    finally:
        home.close()


def _home() -> "_Home":
    home: _Home | None = getattr(_local, "home", None)
    if home is not None and home.pid != os.getpid():
        _inherited.append(home)
        home = None
    if home is None:
        home = _local.home = _Home()
        if threading.current_thread() is threading.main_thread():
            atexit.register(close_loop)  # the locals of other threads go with their thread, and close it then
    return home


class _Home:
    """The loop of one thread.

    Attributes:
        steering: Interrupts the coroutine that runs; None: none does.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.steering: Steering | None = None
        self.loop = asyncio.new_event_loop()
        # Its threads start when a coroutine asks for one.
        self._threads = ThreadPoolExecutor(thread_name_prefix="grpcflow-to-thread")
        self.loop.set_default_executor(self._threads)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; see the function ``run``."""
        steering = self.steering = Steering()
        main = self.loop.create_task(_caught(steering, coroutine))
        try:
            value, error = self.loop.run_until_complete(main)
        except BaseException:
            # An interrupt that is meant for this thread came out of the loop itself: the coroutine ends with it.
            main.cancel()
            self.loop.run_until_complete(asyncio.wait([main], timeout=PATIENCE))
            raise
        finally:
            self.steering = None
            self._clear()
        if error is not None:
            raise error
        return cast("T", value)

    def _clear(self) -> None:
        """Cancel what was left running; what does not end by that stays, and is cancelled again next time."""
        left = asyncio.all_tasks(self.loop)
        if left:
            request = state.current_request()
            report_left("a coroutine" if request is None else f"{request.task}[{request.id}]", left)
            for task in left:
                task.cancel()
            self.loop.run_until_complete(asyncio.wait(left, timeout=PATIENCE))

    def close(self) -> None:
        """Close the loop. Threads that it started are not waited for."""
        if self.pid == os.getpid() and not self.loop.is_closed():
            self._threads.shutdown(wait=False, cancel_futures=True)
            self.loop.close()

    def __del__(self) -> None:
        self.close()  # its thread has ended


async def _caught(steering: Steering, coroutine: Coroutine[Any, Any, T]) -> tuple[T | None, BaseException | None]:
    """Return the value of a coroutine and what it raised: an asyncio task that raises SystemExit would end the loop.

    Asynchronous generators that it leaves open are closed: the loop stands still until somebody else needs it.
    """
    hooks, opened = sys.get_asyncgen_hooks(), weakref.WeakSet[AsyncGenerator[Any, Any]]()

    def note(generator: AsyncGenerator[Any, Any]) -> None:
        opened.add(generator)
        if hooks.firstiter is not None:
            hooks.firstiter(generator)

    sys.set_asyncgen_hooks(firstiter=note)
    try:
        return await steering.drive(coroutine), None
    except BaseException as error:  # noqa: BLE001 - raised again outside of the loop
        return None, error
    finally:
        sys.set_asyncgen_hooks(firstiter=hooks.firstiter)
        await _disconnect()
        for generator in list(opened):
            await _closed(generator)


async def _disconnect() -> None:
    """Close what the coroutine has connected on this loop, which stands still from now on."""
    connections = sys.modules.get("grpcflow.aio.connection")
    if connections is not None:
        await connections.close_connections()


async def _closed(generator: AsyncGenerator[Any, Any]) -> None:
    try:
        await generator.aclose()
    except BaseException:  # noqa: BLE001 - how the coroutine ended is decided, and its generator changes nothing
        _log.exception("an asynchronous generator that was left open could not be closed: %r", generator)
