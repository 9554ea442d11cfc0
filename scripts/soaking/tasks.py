"""The tasks of a soak: a little of everything."""

import time

from grpcflow import Grpcflow, Task

app = Grpcflow("soak")


@app.task(name="soak.add")
def add(x: int, y: int) -> int:
    """Add two numbers."""
    return x + y


@app.task(name="soak.total")
def total(numbers: list[int]) -> int:
    """Add many numbers."""
    return sum(numbers)


@app.task(name="soak.echo")
def echo(text: str) -> str:
    """Give back what came."""
    return text


@app.task(name="soak.stay")
def stay(seconds: float) -> float:
    """Take a place for a while."""
    time.sleep(seconds)
    return seconds


@app.task(name="soak.flaky", bind=True, max_retries=2, default_retry_delay=0)
def flaky(self: Task[..., int], number: int) -> int:
    """Fail at the first try; with a number below 0 at every one."""
    if number < 0 or self.request.retries == 0:
        raise self.retry(exc=ValueError(f"not at try {self.request.retries}"))
    return number


@app.task(name="soak.tell", bind=True)
def tell(self: Task[..., int], count: int) -> int:
    """Emit items and say how far it is."""
    for number in range(count):
        self.emit(number)
        self.update_state(state="PROGRESS", meta={"current": number})
    return count
