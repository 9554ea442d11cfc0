"""The tasks that the benchmark runs: they do next to nothing."""

import os
import time

from grpcflow import Grpcflow

app = Grpcflow("bench")


@app.task(name="bench.add")
def add(x: int, y: int) -> int:
    """Add two numbers."""
    return x + y


@app.task(name="bench.total")
def total(numbers: list[int]) -> int:
    """Add many numbers."""
    return sum(numbers)


def _stay(seconds: float) -> tuple[float, float, int]:
    """Sleep; return when that began and ended (monotonic seconds, which all processes of a machine share) and where."""
    began = time.monotonic()
    time.sleep(seconds)
    return began, time.monotonic(), os.getpid()


@app.task(name="bench.stay")
def stay(seconds: float) -> tuple[float, float, int]:
    """Take a place for a while, whether short or long."""
    return _stay(seconds)


@app.task(name="bench.stay_long")
def stay_long(seconds: float) -> tuple[float, float, int]:
    """The same under a name of its own, for those that take long."""
    return _stay(seconds)
