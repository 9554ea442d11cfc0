"""Tasks that emit items and tell of their progress: the app of the tests in test_streams.py."""

import asyncio
import logging
import os
import threading
from pathlib import Path
from typing import Any

from grpcflow import Grpcflow

app = Grpcflow("streaming_tasks", set_as_current=False)

#: What a task does instead of work.
pause = threading.Event().wait


def wait_for_door(path: str) -> None:
    """Wait until a file is there."""
    while not Path(path).exists():
        pause(0.01)


@app.task(name="s.count", bind=True)
def count(self: Any, items: int, size: int = 0) -> int:
    """Emit numbers, each as large as is asked for."""
    for number in range(items):
        self.emit([number, "x" * size] if size else number)
    return items


@app.task(name="s.behind_door", bind=True)
def behind_door(self: Any, door: str, before: int, after: int) -> int:
    """Emit numbers, wait for a door, emit more; leave a note at each start."""
    note = Path(os.environ["NOTES"]) / f"start.{os.getpid()}.{self.request._token}"
    for number in range(before):
        self.emit(number)
    note.touch()
    wait_for_door(door)
    for number in range(before, before + after):
        self.emit(number)
    return before + after


@app.task(name="s.slow_counter", bind=True)
def slow_counter(self: Any, items: int) -> int:
    """Emit numbers, one every few milliseconds."""
    for number in range(items):
        self.emit(number)
        pause(0.004)
    return items


@app.task(name="s.quiet")
def quiet() -> int:
    """Emit nothing."""
    return 7


@app.task(name="s.breaks", bind=True)
def breaks(self: Any) -> None:
    """Emit, then fail."""
    self.emit("before")
    raise ValueError("broken")


@app.task(name="s.again", bind=True, default_retry_delay=0)
def again(self: Any) -> int:
    """Emit the same in each of three attempts."""
    for number in range(5 + self.request.retries):
        self.emit(number)
    if self.request.retries < 2:
        raise self.retry()
    return 1


@app.task(name="s.handed_on", bind=True)
def handed_on(self: Any) -> Any:
    """Emit, then be replaced by one that emits."""
    self.emit("outer")
    return self.replace(count.s(3))


@app.task(name="s.gently", bind=True)
async def gently(self: Any, items: int) -> int:
    """Emit from a coroutine."""
    for number in range(items):
        await self.aemit(number)
        await asyncio.sleep(0)
    return items


@app.task(name="s.progress", bind=True)
def progress(self: Any, steps: int, door: str = "") -> str:
    """Say how far it is; wait for a door in the middle, where there is one."""
    for step in range(steps):
        self.update_state(state="PROGRESS", meta={"current": step + 1, "total": steps})
        if door and step == steps // 2:
            wait_for_door(door)
    return "done"


@app.task(name="s.talks", bind=True)
def talks(self: Any, door: str) -> int:
    """Log and print, wait for a door, and log again."""
    log = logging.getLogger("talks")
    for number in range(3):
        log.warning("before %d", number)
    print("printed")
    wait_for_door(door)
    for number in range(3):
        log.warning("after %d", number)
    losses: int = self.request.losses
    return losses
