"""An app whose settings limit every task."""

import asyncio
import time

from grpcflow import Grpcflow

app = Grpcflow("executor_limited")
app.conf.update(task_time_limit=0.15)


@app.task(time_limit=60)
def slow() -> None:
    return None


@app.task
def spin(seconds: float) -> None:
    """Keeps the processor busy for so long."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@app.task
async def endless() -> None:
    """Waits for nothing."""
    await asyncio.Event().wait()
