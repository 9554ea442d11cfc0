"""Tasks that replace themselves or add to their chord, on a cluster of real processes."""

from typing import Any

import pytest
from tests.cluster import running_tasks as tasks
from tests.cluster.harness import Cluster

from grpcflow import TaskRevokedError, chain, chord, group


def test_a_replaced_task_and_an_added_member_have_their_values(shared: Cluster) -> None:
    shared.hire("running", "-A", "running_tasks")
    tasks.app.conf.update(coordinator=shared.address)
    assert tasks.replaced.delay(5).get(timeout=20) == [6, 7]
    assert (tasks.replaced.s(5) | tasks.total.s()).delay().get(timeout=20) == 13
    assert chord([tasks.adding.s(1), tasks.add.s(1, 1)], tasks.total.s()).delay().get(timeout=20) == 104


def test_an_added_member_is_in_the_list_of_the_group_and_not_among_the_members_that_were_submitted(
    shared: Cluster,
) -> None:
    shared.hire("running", "-A", "running_tasks")
    tasks.app.conf.update(coordinator=shared.address)
    many = group(tasks.adding.s(1), tasks.add.s(1, 1)).delay()
    assert tasks.app.AsyncResult(many.id).get(timeout=20) == [1, 2, 101]
    assert (many.get(timeout=20), len(many)) == ([1, 2], 2)


def test_behind_a_revoked_step_later_ones_fail_alike_however_it_was_revoked(cluster: Cluster) -> None:
    cluster.start_coordinator()
    tasks.app.conf.update(coordinator=cluster.address)
    steps = chain(tasks.add.s(1, 1), tasks.add.s(1), tasks.add.s(1))
    by_id = steps.delay()
    by_id.parent.parent.revoke(wait=True, timeout=20)
    steps.stamp(order="7")
    by_stamp = steps.delay()
    by_stamp.revoke_by_stamped_headers({"order": "7"})
    for last in (by_id, by_stamp):
        with pytest.raises(TaskRevokedError):
            last.get(timeout=20)
        line: list[Any] = [last.parent.parent, last.parent, last]
        assert [step.state for step in line] == ["REVOKED", "FAILURE", "FAILURE"]
        assert {type(step.result) for step in line} == {TaskRevokedError}


def test_a_failure_is_logged_once_with_name_and_id_and_traceback(cluster: Cluster) -> None:
    cluster.start_coordinator()
    worker = cluster.start_worker("w1", "-A", "running_tasks")
    tasks.app.conf.update(coordinator=cluster.address)
    result = tasks.fails.delay("no funds")
    with pytest.raises(ValueError, match="no funds"):
        result.get(timeout=20)
    worker.terminate()
    text = worker.log.read_text()
    assert text.count(f"r.fails[{result.id}] failed: ValueError('no funds')") == 1
    assert text.count("Traceback") == 1
    assert text.count(result.id) == 1
