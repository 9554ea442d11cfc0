"""Small tasks that show how values travel, where a task runs, and what a failure looks like."""

import os
import time
from typing import Any

from grpcflow import signature
from proj.app import app


@app.task
def add(x: int, y: int, debug: bool = False) -> int:
    """Adds two numbers; `debug` is there to show keyword arguments."""
    return x + y


@app.task
def mul(x: int, y: int) -> int:
    """Multiplies two numbers."""
    return x * y


@app.task
def total(numbers: list[int]) -> int:
    """Adds up a list, for example the values of a group."""
    return sum(numbers)


@app.task(bind=True)
def urgent(self, x: int) -> list[Any]:
    """Is routed to the queue "hipri" by the app; returns which worker ran it."""
    return [x, self.request.hostname]


@app.task
def upload_document(name: str) -> str:
    """Pretends to store a document and returns its handle."""
    return f"doc:{name}"


@app.task
def apply_filter(document: str, name: str = "plain") -> str:
    """Pretends to filter a document."""
    return f"{document}+{name}"


@app.task
def show_arguments(*args: Any, **kwargs: Any) -> list[Any]:
    """Returns what it was called with."""
    return [list(args), kwargs]


@app.task(bind=True)
def who_am_i(self) -> list[Any]:
    """Returns the task's id, the worker's name and the process it ran in."""
    return [self.request.id, self.request.hostname, os.getpid()]


@app.task
def nap(seconds: float) -> float:
    """Sleeps."""
    time.sleep(seconds)
    return seconds


@app.task(bind=True)
def nap_where(self, seconds: float) -> str:
    """Sleeps and returns the name of the worker that did."""
    time.sleep(seconds)
    return str(self.request.hostname)


@app.task
def call(work: dict[str, Any]) -> str:
    """Takes a signature as an argument, submits it from inside a task and returns its id."""
    return str(signature(work, app=app).delay().id)


@app.task
def fail(message: str) -> None:
    """Fails."""
    raise ValueError(message)
