"""Batch tasks, and what routes and queues are made of. Read by the checkers and never run."""

from typing import Any, assert_type

from tests.client.typed.shop import app

from grpcflow import AsyncResult, BatchCall, Broadcast, Queue, Task, shared_batch_task, worker_direct


@app.batch_task(size=100, within=2)
def stored(calls: list[BatchCall]) -> list[int]:
    return [len(call.args) for call in calls]


@app.batch_task(size=100, bind=True)
def stored_bound(self: Task[..., Any], calls: list[BatchCall]) -> list[str]:
    return [f"{self.name} {call.id}" for call in calls]


@shared_batch_task(size=5)
def stored_shared(calls: list[BatchCall]) -> None:
    print(calls[0].request.retries)


# A caller makes one call, of which the function's own parameters say nothing: any arguments are taken.
assert_type(stored.delay(1, "a", b=2), AsyncResult[Any])
assert_type(stored_bound.delay(), AsyncResult[Any])
assert_type(stored_shared.apply_async((1,), queue=worker_direct("w1")), AsyncResult[Any])


@app.batch_task(size=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def wrong(calls: list[int]) -> None:
    print(calls)


app.conf.task_queues = (Queue("a", rate_limit="1/s"), Broadcast("b"))
app.conf.task_routes = {"a.*": Queue("a")}
assert_type(app.queues["a"], Queue)
Queue("a", weight="heavy")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
