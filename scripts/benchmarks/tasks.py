"""The tasks that the benchmark runs: they do next to nothing."""

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
