"""What was acknowledged is there: over kills and restarts, once, in time, and for as long as somebody may read it."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.graphs import chunks_of
from tests.cluster.harness import Cluster, wait_for

from grpcflow import AsyncResult, TaskRevokedError, chord, group
from grpcflow.errors import AlreadyExists, NotFound
from grpcflow.ids import node_id

#: Seconds that a result may take.
SOON = 60.0


@pytest.fixture(autouse=True)
def client(cluster: Cluster) -> None:
    tasks.app.conf.update(coordinator=cluster.address)


def restart(cluster: Cluster, *options: str) -> None:
    """Kills the coordinator with -9 and starts it again."""
    assert cluster.coordinator is not None
    cluster.coordinator.kill()
    cluster.start_coordinator(*options)


def test_what_was_acknowledged_survives_a_kill_in_the_same_moment(cluster: Cluster) -> None:
    killed = cluster.start_coordinator()
    single = tasks.noted.delay("single", 1)
    killed.kill()
    cluster.start_coordinator()
    canvas = chord([tasks.noted.s(f"member-{i}", i) for i in range(100)], tasks.total.s())()
    restart(cluster)
    assert single.state == canvas.state == "PENDING"
    cluster.start_worker("w1")
    assert single.get(timeout=SOON) == 1
    assert canvas.get(timeout=SOON) == sum(range(100))
    restart(cluster)
    assert single.get(timeout=SOON) == 1
    assert canvas.get(timeout=SOON) == sum(range(100))
    assert (cluster.count("single."), cluster.count("member-")) == (1, 100)


def test_the_same_submission_again_is_the_same_submission(cluster: Cluster) -> None:
    cluster.start_coordinator()
    connection = cluster.app.connection
    chunks = chunks_of(group(tasks.noted.s(f"once-{i}", i) for i in range(3)))
    connection.submit(chunks)
    connection.submit(chunks)
    restart(cluster)
    connection.submit(chunks)
    cluster.start_worker("w1")
    assert [one.data for one in connection.wait_range(chunks[0].graph, 0, 3, timeout=SOON)] == [b"0", b"1", b"2"]
    connection.submit(chunks)
    restart(cluster)
    connection.submit(chunks)
    assert tasks.noted.delay("after", 3).get(timeout=SOON) == 3
    assert cluster.count("once-") == 3


def test_a_task_id_belongs_to_its_submission_until_that_is_settled(cluster: Cluster) -> None:
    cluster.start_coordinator()
    first = tasks.noted.apply_async(("mine-1", 1), task_id="mine")
    with pytest.raises(AlreadyExists, match="mine"):
        tasks.noted.apply_async(("mine-2", 2), task_id="mine")
    restart(cluster)
    with pytest.raises(AlreadyExists, match="mine"):
        tasks.noted.apply_async(("mine-3", 3), task_id="mine")
    cluster.start_worker("w1")
    assert first.get(timeout=SOON) == 1
    restart(cluster)
    assert tasks.app.AsyncResult("mine").get(timeout=SOON) == 1
    taken_over = tasks.noted.apply_async(("mine-4", 4), task_id="mine")
    assert taken_over.get(timeout=SOON) == 4
    restart(cluster)
    assert tasks.app.AsyncResult("mine").get(timeout=SOON) == 4
    assert [name.partition(".")[0] for name in cluster.noted("mine-")] == ["mine-1", "mine-4"]


def test_eta_and_countdown_survive_a_restart(cluster: Cluster) -> None:
    cluster.start_coordinator()
    due = datetime.now(UTC) + timedelta(seconds=2.5)
    later = [
        tasks.noted.apply_async(("eta", 1), eta=due),
        tasks.noted.apply_async(("countdown", 2), countdown=2.5),
        tasks.noted.apply_async(("past", 3), eta=due - timedelta(days=1)),
    ]
    restart(cluster)
    cluster.start_worker("w1")
    assert later[2].get(timeout=SOON) == 3
    restart(cluster)
    assert [result.get(timeout=SOON) for result in later[:2]] == [1, 2]
    notes = [path for path in cluster.notes.iterdir() if not path.name.startswith("past")]
    assert len(notes) == 2
    ran_at = min(path.stat().st_mtime for path in notes)
    assert due.timestamp() - 0.05 <= ran_at < due.timestamp() + 40


def test_a_task_past_its_expiry_is_revoked_and_never_run(cluster: Cluster) -> None:
    cluster.start_coordinator()
    expired = [tasks.noted.apply_async((f"expired-{i}", i), expires=0.8) for i in range(20)]
    expired.append(tasks.noted.apply_async(("expired-at", 0), expires=datetime.now(UTC) + timedelta(seconds=0.8)))
    over = time.time() + 0.9
    patient = tasks.noted.apply_async(("patient", 1), expires=300)
    behind = tasks.noted.si("expired-behind", 1).set(queue="none", expires=0.3)  # counts from when it is ready
    canvas = (tasks.noted.si("patient", 1) | behind | tasks.add.s(1))()
    assert cluster.coordinator is not None
    cluster.coordinator.kill()
    wait_for("their time to be over, while no coordinator is there", lambda: time.time() > over)
    cluster.start_coordinator()
    cluster.start_worker("w1", queues="default")
    for result in expired:
        with pytest.raises(TaskRevokedError, match="expired"):
            result.get(timeout=SOON)
        assert result.state == "REVOKED"
    assert patient.get(timeout=SOON) == 1
    with pytest.raises(TaskRevokedError, match="expired"):
        canvas.get(timeout=SOON)
    assert cluster.noted("expired-") == []


def running_before_it_expires(cluster: Cluster, door: str) -> tuple[AsyncResult[Any], float]:
    """Has a gate run that would expire soon; returns its result and when it would. Here it may be over beforehand."""
    for seconds in (1.0, 5.0, 25.0):
        result = tasks.gate.apply_async((door, "in time"), expires=seconds)
        over = time.time() + seconds
        wait_for("it to run", partial(ran_or_expired, cluster, result))
        if cluster.count("start-in time"):
            return result, over
    raise AssertionError("nothing ran within 25 s")


def ran_or_expired(cluster: Cluster, result: AsyncResult[Any]) -> bool:
    """Returns whether a task has begun, or was too late."""
    return cluster.count("start-in time") == 1 or result.state == "REVOKED"


def test_a_task_that_runs_does_not_expire_though_the_coordinator_is_started_anew(cluster: Cluster) -> None:
    killed = cluster.start_coordinator()
    cluster.start_worker("w1")
    door = cluster.folder / "door"
    result, over = running_before_it_expires(cluster, str(door))
    killed.kill()
    wait_for("its time to be over", lambda: time.time() > over)
    cluster.start_coordinator()
    wait_for("the worker to be back", lambda: cluster.state_of("w1") == "live")
    door.touch()
    assert result.get(timeout=SOON) == "in time"
    assert cluster.count("start-in time") == 1


def test_a_member_that_settled_long_ago_is_there_for_its_body_and_pruned_after_the_graph(cluster: Cluster) -> None:
    expires = ("--result-expires", "1")
    cluster.start_coordinator(*expires)
    cluster.start_worker("w1")
    door = cluster.folder / "door"
    chunks = chunks_of(chord([tasks.noted.s("early", "early"), tasks.gate.s(str(door), "late")], tasks.noted.s()))
    connection, graph = cluster.app.connection, chunks[0].graph
    connection.submit(chunks)
    connection.wait_range(graph, 0, 1, timeout=SOON)
    gone = tasks.noted.delay("gone", 1)
    wait_for("it to run", lambda: cluster.count("gone.") == 1)
    restart(cluster, *expires)
    wait_for("a result of the same age to be pruned", lambda: not known(cluster, gone.id))
    assert known(cluster, node_id(graph, 0))
    with pytest.raises(NotFound):
        tasks.app.AsyncResult(gone.id).get(timeout=SOON)
    with ThreadPoolExecutor(1) as pool:
        body = pool.submit(connection.wait_range, graph, 3, 1, timeout=SOON)
        assert known(cluster, node_id(graph, 3))  # one question and answer later the wait has begun
        door.touch()
        assert body.result(SOON)[0].state == "SUCCESS"
    assert any(name.startswith("['early', 'late'].") for name in cluster.noted("["))
    nodes = [node_id(graph, index) for index in range(4)]
    wait_for("the graph to be pruned", lambda: not any(known(cluster, node) for node in nodes))


def known(cluster: Cluster, task_id: str) -> bool:
    """Returns whether the coordinator knows a task."""
    return cluster.app.connection.lookup([task_id], states_only=True)[0] is not None
