"""Tasks that do more than return: the app of the tests in test_running_tasks.py."""

from typing import Any

from grpcflow import Grpcflow, group

app = Grpcflow("running_tasks", set_as_current=False)


@app.task(name="r.add")
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="r.total")
def total(values: list[int]) -> int:
    return sum(values)


@app.task(name="r.replaced", bind=True)
def replaced(self: Any, n: int) -> Any:
    return self.replace(group(add.s(n, 1), add.s(n, 2)))


@app.task(name="r.adding", bind=True)
def adding(self: Any, n: int) -> int:
    self.add_to_chord(add.s(n, 100))
    return n


@app.task(name="r.fails")
def fails(word: str) -> None:
    raise ValueError(word)
