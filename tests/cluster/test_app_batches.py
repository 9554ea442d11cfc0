"""Batches of submissions on real processes: durable once the block ends, and sent once whatever dies meanwhile."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import Cluster

from grpcflow import batch, chord, group
from grpcflow.retry_policy import RetryPolicy

#: Seconds that a result may take.
SOON = 60.0


@pytest.fixture(autouse=True)
def client(cluster: Cluster) -> None:
    tasks.app.conf.update(coordinator=cluster.address)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that submit beside the test."""
    with ThreadPoolExecutor(2) as made:
        yield made


def test_what_a_block_has_submitted_outlives_the_coordinator_that_took_it(cluster: Cluster) -> None:
    killed = cluster.start_coordinator()
    with tasks.app.batch() as collected:
        single = [tasks.add.delay(number, number) for number in range(500)]
        many = group(tasks.add.s(number, 1) for number in range(50)).delay()
        total = chord([tasks.add.s(1, 1), tasks.add.s(2, 2)], tasks.total.s()).delay()
    killed.kill()
    assert collected.acknowledged == 502
    cluster.start_coordinator()
    cluster.start_worker("w1")
    assert tasks.app.ResultSet(single).get(timeout=SOON) == [2 * number for number in range(500)]
    assert many.get(timeout=SOON) == [number + 1 for number in range(50)]
    assert total.get(timeout=SOON) == 6


def test_a_block_that_ends_while_the_coordinator_restarts_submits_everything_once(
    cluster: Cluster, pool: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = cluster.start_coordinator()
    cluster.start_worker("w1")
    # A busy machine may take longer for a start than a submission is tried.
    monkeypatch.setattr(tasks.app.connection._session, "policy", RetryPolicy(tries=1_000, window=2 * SOON))

    def submit() -> batch.Batch:
        with tasks.app.batch() as collected:
            for number in range(300):
                tasks.noted.delay(f"once-{number}", number)
            killed.kill()
        return collected

    submitted = pool.submit(submit)
    killed.popen.wait(SOON)
    cluster.start_coordinator()
    collected = submitted.result(SOON)
    assert collected.acknowledged == 300
    assert [one.get(timeout=SOON) for one in collected.results] == list(range(300))
    assert cluster.count("once-") == 300
