"""Tasks that are coroutines, on a cluster of real processes."""

import time

import pytest
from tests.cluster import coroutine_tasks as tasks
from tests.cluster.harness import Cluster, wait_for

from grpcflow import TaskRevokedError, chord, group
from grpcflow.errors import TimeLimitExceeded


def start(cluster: Cluster, pool: str, concurrency: int) -> None:
    cluster.start_coordinator()
    cluster.start_worker("w1", "-A", "coroutine_tasks", "-P", pool, "-c", str(concurrency))
    tasks.app.conf.update(coordinator=cluster.address)


@pytest.mark.alone
def test_a_thousand_tasks_that_sleep_a_second_are_done_in_less_than_three_on_one_worker(cluster: Cluster) -> None:
    start(cluster, "asyncio", 1000)
    assert tasks.add.delay(1, 2).get(timeout=20) == 3  # all is connected
    seconds: list[float] = []
    together: list[int] = []
    while not seconds or (seconds[-1] >= 3.0 and len(seconds) < 5):  # the machine may be busy once or twice
        before = time.monotonic()
        together = group(tasks.sleep.s(1.0) for _ in range(1000)).delay().get(timeout=30)
        seconds.append(time.monotonic() - before)
        assert len(together) == 1000
    # Honest: the first to wake saw nearly all the others asleep on its own loop, so nobody's second was cut short.
    assert max(together) >= 900
    assert 1.0 <= min(seconds) < 3.0, seconds


@pytest.mark.parametrize("pool", ["asyncio", "prefork", "threads", "solo"])
def test_coroutines_do_on_every_executor_what_functions_do(cluster: Cluster, pool: str) -> None:
    start(cluster, pool, 1 if pool == "solo" else 2)
    assert (tasks.add.s(1, 2) | tasks.plain.s(3) | tasks.add.s(4)).delay().get(timeout=20) == 10
    assert chord([tasks.add.s(1, 1), tasks.plain.s(2, 2)], tasks.total.s()).delay().get(timeout=20) == 6
    assert tasks.unsteady.delay(2).get(timeout=20) == 2
    assert tasks.replaced.delay(5).get(timeout=20) == [6, 7]
    assert chord([tasks.adding.s(1), tasks.add.s(1, 1)], tasks.total.s()).delay().get(timeout=20) == 104
    first, second, *children = tasks.submits.delay(3, 4).get(timeout=20)
    assert [tasks.app.AsyncResult(each).get(timeout=20) for each in (first, second)] == [7, 7]
    assert sorted(children) == sorted([first, second])
    assert tasks.add.starmap([(1, 2), (3, 4)]).delay().get(timeout=20) == [3, 7]


@pytest.mark.parametrize("pool", ["asyncio", "prefork"])
def test_a_coroutine_that_runs_is_terminated_and_one_over_its_limit_fails(cluster: Cluster, pool: str) -> None:
    start(cluster, pool, 2)
    endless = tasks.steps.delay()
    wait_for("the task to run", lambda: endless.state == "STEP")
    endless.revoke(terminate=True)
    with pytest.raises(TaskRevokedError):
        endless.get(timeout=20)
    assert endless.state == "REVOKED"
    with pytest.raises(TimeLimitExceeded):
        tasks.limited.delay().get(timeout=20)
    assert tasks.add.delay(1, 2).get(timeout=20) == 3
