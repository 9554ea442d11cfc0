"""Rates and batches in a test: they wait for the time that the test moves."""

from collections.abc import Iterator

import pytest

from grpcflow import BatchCall, Grpcflow
from grpcflow.testing import Cluster


@pytest.fixture
def app() -> Iterator[Grpcflow]:
    with Grpcflow("limits", set_as_current=False) as made:
        yield made


def test_a_rate_waits_for_the_time_that_a_test_moves(app: Grpcflow) -> None:
    @app.task(name="slow", rate_limit="3/h")
    def slow(number: int) -> int:
        return number

    with Cluster(app) as cluster:
        results = [slow.delay(number) for number in range(4)]
        cluster.settle()
        assert [result.state for result in results] == ["SUCCESS", "PENDING", "PENDING", "PENDING"]
        cluster.time.advance(20 * 60)
        assert [result.state for result in results].count("SUCCESS") == 2
        cluster.time.advance(40 * 60)
        assert [result.get(timeout=40) for result in results] == [0, 1, 2, 3]


def test_a_batch_waits_for_the_time_that_a_test_moves(app: Grpcflow) -> None:
    sizes: list[int] = []

    @app.batch_task(name="gather", size=10, within=60)
    def gather(calls: list[BatchCall]) -> list[int]:
        sizes.append(len(calls))
        return [call.args[0] * 2 for call in calls]

    with Cluster(app) as cluster:
        results = [gather.delay(number) for number in range(13)]
        cluster.settle()
        assert sizes == [10]
        cluster.time.advance(61)
        assert sizes == [10, 3]
        assert [result.get(timeout=40) for result in results] == [number * 2 for number in range(13)]
