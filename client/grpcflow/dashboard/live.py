"""News for one page, as Server-Sent Events: what it shows now, and again whenever something has changed. Knows no
route.

A browser that takes them slowly gets fewer: nothing waits for it here but the newest.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from grpcflow.dashboard.link import Link

__all__ = ["news", "streamed", "watched"]

#: Seconds after which a stream says that it is there, and between two news at least.
_BEAT: Final = 15.0
_SHORTEST: Final = 0.25
#: Seconds after which somebody who rests looks whether it is over.
_GLANCE: Final = 0.5
#: Milliseconds after which a browser comes back.
_RETRY: Final = 1_500


async def news(
    link: Link,
    make: Callable[[], dict[str, Any]],
    is_welcome: Callable[[], bool],
    *,
    beat: float = _BEAT,
    shortest: float = _SHORTEST,
) -> AsyncGenerator[bytes, None]:
    """Yield events as text until the session ends, or nobody reads any more.

    Args:
        link: Tells that there is news.
        make: Returns what the page shows; may take a while.
        is_welcome: Whether the session still holds.
        beat: Seconds of silence after which a comment is sent.
        shortest: Seconds between two events at least.
    """
    yield f"retry: {_RETRY}\n\n".encode()
    before = ""
    with link.heard() as rung:
        while not link.is_over and is_welcome():
            rung.clear()
            text = json.dumps(await run_in_threadpool(make), ensure_ascii=False, separators=(",", ":"))
            if text != before:
                yield f"data: {text}\n\n".encode()
                before = text
            try:
                async with asyncio.timeout(beat):
                    await rung.wait()
            except TimeoutError:
                yield b": still here\n\n"
            await asyncio.sleep(shortest)
    yield b"event: over\ndata: {}\n\n"


async def watched(
    look: Callable[[], dict[str, Any]],
    pause: Callable[[], float],
    is_welcome: Callable[[], bool],
) -> AsyncGenerator[bytes, None]:
    """Yield events about something that is looked at again and again, when they tell something new.

    Args:
        look: Returns how it stands; may take a while.
        pause: Seconds until the next look.
        is_welcome: Whether the session, and the dashboard, still hold.
    """
    yield f"retry: {_RETRY}\n\n".encode()
    before, silent = "", 0.0
    while is_welcome():
        text = json.dumps(await run_in_threadpool(look), ensure_ascii=False, separators=(",", ":"))
        if text != before:
            yield f"data: {text}\n\n".encode()
            before, silent = text, 0.0
        elif silent >= _BEAT:
            yield b": still here\n\n"
            silent = 0.0
        rest = pause()
        silent += rest
        while rest > 0 and is_welcome():
            await asyncio.sleep(min(rest, _GLANCE))
            rest -= _GLANCE
    yield b"event: over\ndata: {}\n\n"


def streamed(events: AsyncGenerator[bytes, None]) -> StreamingResponse:
    """Return the answer that is such a stream; proxies are asked not to gather it."""
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(events, 200, headers, "text/event-stream")
