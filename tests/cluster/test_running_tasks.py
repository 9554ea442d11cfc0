"""Tasks that replace themselves or add to their chord, on a cluster of real processes."""

from tests.cluster import running_tasks as tasks
from tests.cluster.harness import Cluster

from grpcflow import chord


def test_a_replaced_task_and_an_added_member_have_their_values(cluster: Cluster) -> None:
    cluster.start_coordinator()
    cluster.start_worker("w1", "-A", "running_tasks")
    tasks.app.conf.update(coordinator=cluster.address)
    assert tasks.replaced.delay(5).get(timeout=20) == [6, 7]
    assert (tasks.replaced.s(5) | tasks.total.s()).delay().get(timeout=20) == 13
    assert chord([tasks.adding.s(1), tasks.add.s(1, 1)], tasks.total.s()).delay().get(timeout=20) == 104
