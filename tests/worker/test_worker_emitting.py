"""An attempt that emits: all of its items are durable before its end is said, whatever that is."""

import asyncio
import contextvars
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from grpcflow import Grpcflow, codec, errors, state
from grpcflow_protos.v1 import value_pb2
from grpcflow_worker.attempt import Attempt, CoroutineRun
from grpcflow_worker.executor import Call, CallRun, Ended
from grpcflow_worker.invoke import Invoker

GRAPH = bytes(range(12))


class App(Grpcflow):
    """An app that stands for its own connection, and keeps what is emitted."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, int, int, Any]] = []
        self.error: Exception | None = None
        super().__init__("emits", set_as_current=False)

    @property
    def connection(self) -> Any:
        """Itself."""
        return self

    def emit(self, node: bytes, token: int, first: int, items: Any) -> None:
        """Keep items, or refuse them."""
        if self.error is not None:
            raise self.error
        self.sent += [(node, token, number, codec.decode(*item)) for number, item in enumerate(items, first)]


@pytest.fixture
def app() -> Iterator[App]:
    made = App()

    @made.task(bind=True, name="plain", max_retries=3)
    def plain(self: Any, count: int, how: str = "") -> int:
        for number in range(count):
            self.emit(number)
        return ended(self, count, how)

    @made.task(bind=True, name="coroutine", max_retries=3)
    async def coroutine(self: Any, count: int, how: str = "") -> int:
        for number in range(count):
            await self.aemit(number)
        return ended(self, count, how)

    yield made
    state.forget_app(made)


def ended(task: Any, count: int, how: str) -> int:
    """End a body as is asked for."""
    if how == "fail":
        raise ValueError("no")
    if how == "retry":
        raise task.retry(countdown=0)
    return count


def described(name: str, *args: Any) -> CallRun:
    """Return a run of one call."""
    payload = codec.encode_call(args, {})
    return CallRun(call=Call(task=name), graph=GRAPH, first=3, token=40, payloads=[payload])


def in_a_process(app: App, *args: Any) -> bytes | Ended:
    """Run one attempt of the plain task."""
    return Invoker(app, hostname="w1").bind(described("plain", *args))(0)


def on_a_loop(app: App, *args: Any) -> bytes | Ended:
    """Run one attempt of the coroutine in the three steps of the asyncio executor."""
    invoker = Invoker(app, hostname="w1")
    bound = CoroutineRun(invoker, app.tasks["coroutine"], described("coroutine", *args))
    attempt = Attempt(bound, 0, contextvars.copy_context())
    assert bound.open(attempt)
    asyncio.run(bound.body(attempt))
    assert attempt.blocks, "its end waits for the coordinator, so it may not be on the loop"
    return bound.finish(attempt)


ways = pytest.mark.parametrize("run", [in_a_process, on_a_loop])


@ways
@pytest.mark.parametrize("how", ["", "fail", "retry"])
def test_all_items_are_durable_before_the_end_is_said(app: App, run: Callable[..., Any], how: str) -> None:
    end = run(app, 300, how)
    node = GRAPH + (3).to_bytes(4, "big")
    assert app.sent == [(node, 40, number, number) for number in range(300)]
    kinds = {"fail": "failure", "retry": "retry"}
    assert (end.kind if isinstance(end, Ended) else codec.decode(end)) == kinds.get(how, 300)


@ways
def test_an_attempt_whose_items_are_refused_as_stale_counts_as_lost(app: App, run: Callable[..., Any]) -> None:
    app.error = errors.StaleAttempt("another attempt goes on")
    for how in ("", "fail"):
        assert run(app, 1, how).kind == "lost"


@ways
def test_a_task_whose_items_are_refused_otherwise_fails(app: App, run: Callable[..., Any]) -> None:
    app.error = errors.RequestFailed("no room", code="STORE_FULL")
    end = run(app, 1)
    assert end.kind == "failure"
    assert "no room" in value_pb2.Failure.FromString(end.failure).message


def test_an_attempt_that_emits_nothing_waits_for_nobody(app: App) -> None:
    app.error = AssertionError("nothing is to be sent")
    assert codec.decode(in_a_process(app, 0)) == 0  # type: ignore[arg-type] # it is a value
