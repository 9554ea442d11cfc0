"""From a decorator to the cluster that holds to it: limits, keys, routes and broadcasts as a user writes them."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from grpcflow import AsyncResult, Broadcast, Grpcflow, Queue, chain, group, worker_direct
from grpcflow.testing import Cluster

app = Grpcflow("held", task_queues=(Queue("default"), Queue("slow", rate_limit="20/s"), Broadcast("news")))
ran: list[Any] = []


@app.task(name="held.often", rate_limit="20/s")
def often(number: int) -> int:
    return number


@app.task(name="held.echo", bind=True)
def echo(self: Any, *args: Any) -> list[Any]:
    ran.append(list(args))
    return [self.request.hostname, *args]


@app.task(name="held.by_account", concurrency_key="account", bind=True, max_retries=1)
def by_account(self: Any, account: int) -> int:
    return account


@app.task(name="held.once", unique_for=3600, unique_on="user")
def once(user: str, why: str = "") -> str:
    ran.append(why)
    return f"{user}: {why}"


@app.task(name="held.staying", unique_for=3600, unique_stays=True)
def staying(number: int) -> int:
    ran.append(number)
    return len(ran)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    ran.clear()
    with Cluster(app) as made:
        yield made


def seconds_to_end(calls: "Callable[[], Iterable[AsyncResult[Any]]]") -> float:
    """Returns how many seconds pass from before calls are made until all have ended: what is late makes it no less."""
    began = time.monotonic()
    for result in list(calls()):
        result.get(timeout=40)
    return time.monotonic() - began


def test_a_rate_that_a_task_declares_is_held_and_holds_up_nothing_else(cluster: Cluster) -> None:
    made: list[AsyncResult[Any]] = []

    def calls() -> list[AsyncResult[Any]]:
        with app.batch():  # so that all of them are there at once
            made.extend([*(often.delay(number) for number in range(4)), echo.delay(1)])
        return made

    assert seconds_to_end(calls) > 0.12  # three intervals of 50 ms, less what the clocks round
    last, other = (result.date_done for result in made[-2:])
    assert last is not None
    assert other is not None
    assert other < last


def test_a_rate_that_a_queue_declares_is_held(cluster: Cluster) -> None:
    assert seconds_to_end(lambda: [echo.apply_async((number,), queue="slow") for number in range(4)]) > 0.12


def test_a_call_like_one_that_waits_ends_as_that_one_does(cluster: Cluster) -> None:
    first = once.apply_async(("ann",), {"why": "first"}, countdown=60)
    second, other = once.delay("ann", why="second"), once.delay("bob", why="other")
    assert other.get(timeout=40) == "bob: other"
    assert not second.ready()
    cluster.time.advance(60)
    assert [first.get(timeout=40), second.get(timeout=40)] == ["ann: first", "ann: first"]
    assert once.delay("ann", why="third").get(timeout=40) == "ann: third"
    assert ran == ["other", "first", "third"]


def test_a_key_that_stays_gives_the_value_that_there_is(cluster: Cluster) -> None:
    assert [staying.delay(7).get(timeout=40) for _ in range(2)] == [1, 1]
    cluster.time.advance(3601)
    assert staying.delay(7).get(timeout=40) == 2


def test_a_submission_that_is_repeated_with_its_idempotency_key_runs_nothing_twice(cluster: Cluster) -> None:
    order = chain(echo.s(1), group(echo.s(2), echo.s(3)), echo.si(4))
    order.link(echo.si("linked"))
    values = [order.apply_async(idempotency_key="order-17").get(timeout=40) for _ in range(2)]
    cluster.settle()
    assert values[0] == values[1]
    assert len(ran) == 5
    assert order.apply_async(idempotency_key="order-18").get(timeout=40)
    cluster.settle()
    assert len(ran) == 10


def test_calls_with_one_key_follow_each_other_and_all_of_them_run(cluster: Cluster) -> None:
    values = group(by_account.s(number % 3) for number in range(30))().get(timeout=40)
    assert values == [number % 3 for number in range(30)]


def test_every_worker_that_serves_a_broadcast_queue_runs_its_calls(cluster: Cluster) -> None:
    for name in ("beta", "alpha"):
        cluster.worker(name, queues=["news"])
    results = echo.apply_async(("flyer",), queue="news").get(timeout=40)
    assert [value for value in results if value[0] in ("alpha", "beta")] == [["alpha", "flyer"], ["beta", "flyer"]]


def test_a_call_may_go_to_one_worker(cluster: Cluster) -> None:
    for name in ("alpha", "beta"):
        cluster.worker(name, queues=["elsewhere"])
    calls = [
        echo.apply_async((number,), queue=worker_direct(f"{('alpha', 'beta')[number % 2]}")) for number in range(4)
    ]
    assert [call.get(timeout=40)[0] for call in calls] == ["alpha", "beta"] * 2
