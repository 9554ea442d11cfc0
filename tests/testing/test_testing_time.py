"""Time that a test moves: what waits for a time is tested without waiting for it."""

import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from grpcflow import Grpcflow
from grpcflow.testing import Cluster

BOUND = 40.0
HOUR = 3600


@pytest.fixture
def app() -> Iterator[Grpcflow]:
    with Grpcflow("clockwork", set_as_current=False) as made:
        made.task(name="tick")(lambda: "tick")
        yield made


@pytest.fixture
def cluster(app: Grpcflow) -> Iterator[Cluster]:
    with Cluster(app) as made:
        yield made


def test_a_countdown_is_over_when_the_test_says_so_and_not_before(app: Grpcflow, cluster: Cluster) -> None:
    result = app.send_task("tick", countdown=HOUR)
    cluster.time.advance(HOUR - 60)
    assert result.state == "PENDING"
    cluster.time.advance(timedelta(minutes=1))
    assert (result.state, len(cluster.calls("tick"))) == ("SUCCESS", 1)


def test_an_eta_is_one_of_the_clusters_time(app: Grpcflow, cluster: Cluster) -> None:
    cluster.time.advance(timedelta(days=3))
    assert cluster.time.now() - datetime.now(UTC) > timedelta(days=2, hours=23)
    result = app.send_task("tick", eta=cluster.time.now() + timedelta(hours=1))
    cluster.settle()
    assert result.state == "PENDING"
    cluster.time.advance(HOUR)
    assert result.state == "SUCCESS"


def test_a_jump_stops_wherever_something_is_due_on_the_way(app: Grpcflow, cluster: Cluster) -> None:
    seen: list[datetime] = []

    @app.task(name="retrying", bind=True, max_retries=59, default_retry_delay=60)
    def retrying(self: Any) -> int:
        seen.append(cluster.time.now())
        if self.request.retries < 59:
            raise self.retry()
        return int(self.request.retries)

    result = retrying.delay()
    cluster.settle()
    assert (result.state, len(seen)) == ("RETRY", 1)
    cluster.time.advance(HOUR)
    assert result.get(timeout=BOUND) == 59
    assert [call.retries for call in cluster.calls(retrying)] == list(range(60))
    assert all(timedelta(seconds=59) < b - a < timedelta(seconds=90) for a, b in itertools.pairwise(seen))


def test_what_expires_before_it_starts_is_revoked(app: Grpcflow, cluster: Cluster) -> None:
    cluster.workers[0].stop()
    gone, kept = app.send_task("tick", expires=60), app.send_task("tick", expires=HOUR)
    cluster.time.advance(61)
    cluster.worker()
    cluster.settle()
    assert (gone.state, kept.state) == ("REVOKED", "SUCCESS")


def test_results_are_forgotten_when_their_time_is_over(app: Grpcflow) -> None:
    with Cluster(app, coordinator={"result_expires": 120}) as cluster:
        result = app.send_task("tick")
        cluster.settle()
        cluster.time.advance(60)
        assert app.AsyncResult(result.id).exists()
        cluster.time.advance(61)
        assert not app.AsyncResult(result.id).exists()


def test_no_worker_is_lost_in_a_jump_of_a_year(app: Grpcflow, cluster: Cluster) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @app.task(name="block")
    def block() -> str:
        begun.set()
        return str(go_on.wait(BOUND))

    result = block.delay()
    assert begun.wait(BOUND)
    cluster.time.advance(timedelta(days=365), settle=False)
    go_on.set()
    assert result.get(timeout=BOUND) == "True"
    assert len(cluster.calls(block)) == 1


def test_a_jump_waits_for_what_runs_and_says_so_where_that_does_not_end(app: Grpcflow, cluster: Cluster) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @app.task(name="block")
    def block() -> None:
        begun.set()
        assert go_on.wait(BOUND)

    block.apply_async(countdown=5)
    with pytest.raises(TimeoutError, match="block on worker"):
        cluster.time.advance(10, timeout=1.0)
    assert begun.wait(BOUND)
    go_on.set()
    cluster.settle()


def test_time_does_not_go_back(cluster: Cluster) -> None:
    for wrong in (-1, float("nan"), timedelta(seconds=-1)):
        with pytest.raises(ValueError, match="forward only"):
            cluster.time.advance(wrong)


def test_one_clusters_time_is_not_anothers(app: Grpcflow, cluster: Cluster) -> None:
    with Grpcflow("other", set_as_current=False) as another, Cluster(another) as other:
        another.task(name="tick")(lambda: "tick")
        result = another.send_task("tick", countdown=HOUR)
        cluster.time.advance(2 * HOUR)
        assert result.state == "PENDING"
        other.time.advance(HOUR)
        assert result.state == "SUCCESS"
