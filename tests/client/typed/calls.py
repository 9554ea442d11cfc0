"""Submitting a task: what is taken and what is given. Read by the checkers and never run."""

from typing import Any, assert_type

from tests.client.typed.shop import (
    Order,
    add,
    app,
    counted,
    discount,
    fetch,
    fetch_bound,
    fetch_shared,
    fetched,
    found,
    found_bound,
    label,
    larger,
    noted,
    retried,
    shared,
    shared_bound,
)

from grpcflow import AsyncResult, Task
from grpcflow.result import EagerResult

# --- delay ------------------------------------------------------------------------------------------------

assert_type(add.delay(1, 2), AsyncResult[int])
assert_type(add.delay(1, 2).get(), int)
assert_type(add.delay(x=1, y=2).wait(timeout=3), int)
assert_type(label.delay("a", upper=True).get(), str)
assert_type(retried.delay("a").get(), bytes)
assert_type(shared.delay(1).get(), float)
assert_type(shared_bound.delay(1).get(), float)
assert_type(discount.delay(1).get(), int)
assert_type(fetch.delay("a").get(), bytes)
assert_type(fetch_bound.delay("a").get(), bytes)
assert_type(fetch_shared.delay("a").get(), bytes)

add.delay("x", 2)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
add.delay(1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
add.delay(1, 2, 3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
add.delay(1, z=2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
label.delay("a", True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
retried.delay(retried, "a")  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
shared_bound.delay("a")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
fetch.delay(1)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
text: str = add.delay(1, 2).get()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

# --- models: callers get the mapping that travels ---------------------------------------------------------

assert_type(larger.delay(Order(count=1)).get(), dict[str, Any])
assert_type(found.delay(1).get(), dict[str, Any] | None)
# One checker sees no farther than Any here: the function's own ``self: Task`` makes all its overloads fit.
assert_type(found_bound.delay(1).get(), dict[str, Any] | None)  # type: ignore[assert-type]
assert_type(counted.delay(Order(count=1)).get(), int)
assert_type(fetched.delay(Order(count=1)).get(), dict[str, Any])
assert_type(noted.delay(Order(count=1)), AsyncResult[None])
larger.delay({"count": 1})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
larger.delay(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
print(larger.delay(Order(count=1)).get().count)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]

# --- the other ways ---------------------------------------------------------------------------------------

assert_type(add.apply_async((1, 2), countdown=3), AsyncResult[int])
assert_type(fetch.apply_async(("a",)).get(), bytes)
assert_type(add.apply((1, 2)), EagerResult[int])
assert_type(fetch.apply(("a",)).get(), bytes)
assert_type(add.AsyncResult("id").get(), int)
assert_type(fetch.AsyncResult("id"), AsyncResult[bytes])
assert_type(app.send_task("shop.add", (1, 2)), AsyncResult[Any])
assert_type(add.delay(1, 2).then(lambda result: print(result.id)), AsyncResult[int])
add.apply_async(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
add.delay(1, 2).get("soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
add.delay(1, 2).then(lambda result: result.completed_count())  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]

# --- annotations that people write ------------------------------------------------------------------------


def any_task(task: Task) -> AsyncResult:
    """A bare name stands for any."""
    return task.delay(1, "a", b=2)


def numbers(result: AsyncResult[int | str]) -> None:
    """Results hand out only, so a result of an int is one of an int or a str."""


any_task(add)
any_task(fetch)
numbers(add.delay(1, 2))
numbers(fetch.delay("a"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
