"""The tasks that the benchmark runs: they do next to nothing."""

import os
import time

from grpcflow import Grpcflow, Task

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


@app.task(name="bench.total_noted")
def total_noted(numbers: list[int], name: str) -> int:
    """Add many numbers, and leave a mark in a file, so that running twice can be seen."""
    with open(name, "ab") as file:
        file.write(b"x")
    return sum(numbers)


@app.task(name="bench.echo")
def echo(text: str) -> str:
    """Give back what came."""
    return text


def lanes(count: int) -> list[Task[..., int]]:
    """Register as many tasks that do what `add` does, each under a name of its own, and return them.

    A worker that is to serve them has their number in the environment: BENCH_LANES.
    """
    named = [f"bench.lane{number}" for number in range(count)]
    return [app.tasks[name] if name in app.tasks else app.task(name=name)(_lane) for name in named]


def _lane(x: int, y: int) -> int:
    return x + y


lanes(int(os.environ.get("BENCH_LANES", "0")))
