"""Coroutines that are run here and now, by a thread that may block: what is asked of a coordinator is written once.

Whatever talks to a coordinator is written as a coroutine. On an event loop it awaits; in a thread its awaits return at
once, since what they wait for has blocked by then. It may not import anything of grpcflow, nor asyncio.
"""

from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

__all__ = ["blocking", "blocking_each", "each_here", "run_here"]

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


def run_here(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in this thread, without an event loop, and return its value.

    Args:
        coroutine: What to run; all that it awaits blocks.

    Raises:
        RuntimeError: It awaited what needs an event loop.
        BaseException: What it raises.
    """
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    coroutine.close()
    raise RuntimeError("this waits on an event loop: await it there, or take the app's connection for threads")


def each_here(generator: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    """Yield what an asynchronous generator does, in this thread; closes it at the end, and where nobody goes on.

    Args:
        generator: All that it awaits blocks.
    """
    try:
        while True:
            try:
                item = run_here(generator.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        run_here(generator.aclose())


def blocking(method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[S, P], T]:
    """Return the method for threads that does what a coroutine method says, here and now; with the same words.

    Args:
        method: The coroutine method.
    """

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return run_here(method(self, *args, **kwargs))

    return call


def blocking_each(
    method: Callable[Concatenate[S, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[S, P], Generator[T, None, None]]:
    """Return the generator method for threads that yields what an asynchronous one does; with the same words.

    Args:
        method: The asynchronous generator method.
    """

    @wraps(method)
    def call(self: S, /, *args: P.args, **kwargs: P.kwargs) -> Generator[T, None, None]:
        return each_here(method(self, *args, **kwargs))

    return call
