"""Tasks of every kind, and which types their decorators give them. Read by the checkers and never run."""

from collections.abc import Coroutine
from typing import Any, assert_type

from pydantic import BaseModel

from grpcflow import Grpcflow, Task, shared_task

app = Grpcflow("shop", set_as_current=False)


class Order(BaseModel):
    """What a task with models takes and gives."""

    count: int


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task(name="shop.label", queue="texts")
def label(text: str, *, upper: bool = False) -> str:
    return text.upper() if upper else text


@app.task
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(bind=True)
def retried(self: Task, text: str) -> bytes:
    raise self.retry()


@shared_task
def shared(x: int) -> float:
    return x / 2


@shared_task(bind=True, max_retries=1)
def shared_bound(self: Task, x: int) -> float:
    return x / 2


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task(bind=True)
async def fetch_bound(self: Task, url: str) -> bytes:
    return url.encode()


@shared_task
async def fetch_shared(url: str) -> bytes:
    return url.encode()


@app.task(pydantic=True)
def larger(order: Order) -> Order:
    return Order(count=order.count + 1)


@app.task(pydantic=True)
def found(count: int) -> Order | None:
    return Order(count=count) if count else None


@app.task(pydantic=True, bind=True)
def found_bound(self: Task, count: int) -> Order | None:
    return Order(count=count) if count else None


@app.task(pydantic=True)
def counted(order: Order) -> int:
    return order.count


@app.task(pydantic=True)
async def fetched(order: Order) -> Order:
    return order


@shared_task(pydantic=True)
def noted(order: Order) -> None:
    print(order)


class Discount(Task[[int], int]):
    """A task that is written as a class."""

    def run(self, amount: int) -> int:
        return amount - 1


discount = app.register_task(Discount)

# Called in place, a task is its function.
assert_type(add(1, 2), int)
assert_type(label("a", upper=True), str)
assert_type(retried("a"), bytes)
assert_type(shared(1), float)
assert_type(shared_bound(1), float)
assert_type(discount(3), int)
assert_type(larger(Order(count=1)), dict[str, Any])


async def awaited() -> None:
    """The task of an ``async def`` is awaited in place."""
    calling: Coroutine[Any, Any, bytes] = fetch("a")
    assert_type(await calling, bytes)
    assert_type(await fetch_bound("a"), bytes)
    assert_type(await fetched(Order(count=1)), dict[str, Any])


# A wrong argument is an error in place too.
add("1", 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
add(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
label("a", upper=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
retried(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
discount("3")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@app.task(bind=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def without_self() -> int:
    return 1
