"""A task with acks_late=False is never run a second time, whoever dies; one without is, where it has to be."""

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import Cluster, Process, wait_for

from grpcflow import AsyncResult, WorkerLostError

#: Seconds that a result may take.
SOON = 60.0

#: How long a lost worker may take to return, as an option of the coordinator.
GRACE = ("--grace", "0.5")


@pytest.fixture(autouse=True)
def client(cluster: Cluster) -> None:
    tasks.app.conf.update(coordinator=cluster.address)


@pytest.fixture
def coordinator(cluster: Cluster) -> Process:
    return cluster.start_coordinator(*GRACE)


def test_it_fails_when_the_coordinator_and_its_worker_are_killed_together(
    cluster: Cluster, coordinator: Process
) -> None:
    worker = cluster.start_worker("w1")
    lost = [tasks.nap_once.delay(30, f"lost-{i}") for i in range(2)]
    wait_for("both to run", lambda: cluster.count("start-lost") == 2)
    behind = [tasks.nap_once.delay(0, f"behind-{i}") for i in range(2)]
    coordinator.kill()
    worker.kill()
    cluster.start_coordinator(*GRACE)
    cluster.start_worker("w2")
    for result in lost:
        with pytest.raises(WorkerLostError, match="not run twice"):
            result.get(timeout=SOON)
        assert result.state == "FAILURE"
    for result in behind:  # handed out or not: it is told, and never run twice
        assert_once_or_lost(cluster, result)
    assert cluster.count("start-lost") == 2
    assert cluster.count("end-lost") == 0


def assert_once_or_lost(cluster: Cluster, result: AsyncResult[str]) -> None:
    """Checks that a task that may have reached the dead worker either ran once or failed."""
    try:
        text = result.get(timeout=SOON)
    except WorkerLostError:
        return
    assert cluster.count(f"start-{text}.") == 1


def test_it_finishes_once_when_the_coordinator_alone_is_killed(cluster: Cluster, coordinator: Process) -> None:
    cluster.start_worker("w1")
    door = cluster.folder / "door"
    running = [tasks.gate.apply_async((str(door), f"on-{i}"), acks_late=False) for i in range(2)]
    wait_for("both to run", lambda: cluster.count("start-on") == 2)
    coordinator.kill()
    cluster.start_coordinator()  # with time to come back in
    door.touch()
    assert [result.get(timeout=SOON) for result in running] == ["on-0", "on-1"]
    assert cluster.count("start-on") == 2


def test_what_it_returned_while_no_coordinator_was_there_counts(cluster: Cluster, coordinator: Process) -> None:
    cluster.start_worker("w1")
    door = cluster.folder / "door"
    early = tasks.gate.apply_async((str(door), "early"), acks_late=False)
    late = tasks.gate.delay(str(door), "late")
    wait_for("both to run", lambda: cluster.count("start-") == 2)
    coordinator.kill()
    door.touch()
    wait_for("both to end", lambda: cluster.count("end-") == 2)
    cluster.start_coordinator()  # with time to come back in
    assert early.get(timeout=SOON) == "early"
    assert late.get(timeout=SOON) == "late"
    assert cluster.count("start-") == 2


def test_it_fails_though_a_new_worker_takes_the_name_of_the_dead_one(cluster: Cluster, coordinator: Process) -> None:
    worker = cluster.start_worker("w1")
    lost = tasks.nap_once.delay(30, "lost")
    door = cluster.folder / "door"
    late = tasks.gate.delay(str(door), "late")
    wait_for("both to run", lambda: cluster.count("start-") == 2)
    coordinator.kill()
    worker.kill()
    cluster.start_coordinator("--grace", "2")
    door.touch()
    cluster.start_worker("w1")
    with pytest.raises(WorkerLostError, match="not run twice"):
        lost.get(timeout=SOON)
    assert late.get(timeout=SOON) == "late"
    assert cluster.count("start-lost") == 1
    assert cluster.count("start-late") == 2


def test_it_stays_failed_over_further_restarts(cluster: Cluster, coordinator: Process) -> None:
    worker = cluster.start_worker("w1")
    lost = tasks.nap_once.delay(30, "lost")
    wait_for("it to run", lambda: cluster.count("start-lost") == 1)
    coordinator.kill()
    worker.kill()
    cluster.start_coordinator("--grace", "30").kill()  # in the middle of its recovery
    second = cluster.start_coordinator(*GRACE)
    with pytest.raises(WorkerLostError, match="not run twice"):
        lost.get(timeout=SOON)
    second.kill()
    cluster.start_coordinator(*GRACE)
    cluster.start_worker("w1")
    assert tasks.add.delay(1, 2).get(timeout=SOON) == 3
    assert lost.state == "FAILURE"
    assert cluster.count("start-lost") == 1
