"""A cluster of real processes does what it is for."""

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import Cluster

from grpcflow import chord, group


def test_a_chord_runs_on_a_fresh_cluster(cluster: Cluster) -> None:
    cluster.start_coordinator()
    cluster.start_worker("w1")
    tasks.app.conf.update(coordinator=cluster.address)
    assert chord(group(tasks.add.s(i, i) for i in range(20)), tasks.total.s())().get(timeout=20) == 380


def test_a_shared_cluster_that_lost_a_process_says_which(cluster: Cluster) -> None:
    coordinator = cluster.start_coordinator()
    cluster.assert_whole()
    coordinator.kill()
    with pytest.raises(AssertionError, match="coordinator of the shared cluster ended with -9"):
        cluster.assert_whole()
