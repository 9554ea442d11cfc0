"""Signals to a worker, and two workers of one name: nothing is lost, and everybody is told what happened."""

import signal
from typing import Any

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import LIMIT, Cluster, Process, alive, wait_for

from grpcflow import AsyncResult, WorkerLostError, group

#: Seconds that a result may take.
SOON = 60.0

#: A lost worker may take longer to return than any wait here: what is not to wait for the grace would be found out.
LONG_GRACE = ("--grace", "600")


@pytest.fixture(autouse=True)
def client(cluster: Cluster) -> None:
    tasks.app.conf.update(coordinator=cluster.address)


def loaded(cluster: Cluster, name: str) -> tuple[list[AsyncResult[Any]], list[AsyncResult[Any]]]:
    """Has w1 run two gates behind the door `name`, with 100 more tasks queued; returns both lots of results."""
    door = cluster.folder / name
    running = [tasks.gate_where.delay(str(door), f"{name}-{i}") for i in range(2)]
    wait_for("both gates to run", lambda: cluster.count(f"start-{name}") == 2)
    queued = [tasks.noted.delay(f"{name}-queued-{i}.", i) for i in range(100)]
    return running, queued


def test_a_worker_that_is_told_to_stop_finishes_what_runs_and_hands_back_the_rest(cluster: Cluster) -> None:
    cluster.start_coordinator(*LONG_GRACE)
    leaving = cluster.start_worker("w1")
    running, queued = loaded(cluster, "drain")
    leaving.send(signal.SIGTERM)
    wait_for("it to drain", lambda: cluster.state_of("w1") == "draining")
    active = cluster.app.control.inspect(destination=["w1"], timeout=30).active()
    assert {task["id"] for task in active["w1"]} == {result.id for result in running}
    cluster.start_worker("w2")
    assert [result.get(timeout=SOON) for result in queued] == list(range(100))
    assert sorted(cluster.app.control.inspect(timeout=30).ping()) == ["w1", "w2"]
    assert leaving.popen.poll() is None
    (cluster.folder / "drain").touch()
    assert [result.get(timeout=SOON) for result in running] == ["w1", "w1"]
    assert leaving.popen.wait(LIMIT) == 0
    assert not leaving.children()
    assert cluster.count("start-drain") == 2
    assert cluster.count("drain-queued") == 100
    wait_for("it to be gone", lambda: cluster.state_of("w1") is None)


def test_a_worker_that_is_told_to_stop_amid_many_short_tasks_runs_none_twice(cluster: Cluster) -> None:
    cluster.start_coordinator()
    leaving = cluster.start_worker("w1")
    door = cluster.folder / "door"
    members: list[Any] = [tasks.nap.s(0.005, f"short-{i}.") for i in range(400)]
    # Whoever comes to one of these waits until the worker was told to stop, so that never all of them have run by then.
    for number in (200, 201):
        members[number] = tasks.gate.s(str(door), f"short-{number}.")
    naps = group(members)()
    wait_for("some to have run", lambda: cluster.count("end-short") >= 40)
    leaving.send(signal.SIGTERM)
    wait_for("it to drain", lambda: cluster.state_of("w1") in ("draining", None))
    door.touch()
    assert leaving.popen.wait(LIMIT) == 0
    ran = cluster.count("end-short")
    assert ran == cluster.count("start-short")
    assert ran < 400
    cluster.start_worker("w2")
    assert naps.get(timeout=SOON) == [f"short-{i}." for i in range(400)]
    assert cluster.count("start-short") == 400


def test_a_second_signal_stops_at_once_and_loses_nothing(cluster: Cluster) -> None:
    cluster.start_coordinator(*LONG_GRACE)
    stopped = cluster.start_worker("w1")
    running, queued = loaded(cluster, "stop")
    children = stopped.children()
    stopped.send(signal.SIGTERM)
    wait_for("it to drain", lambda: cluster.state_of("w1") == "draining")
    stopped.send(signal.SIGTERM)
    assert stopped.popen.wait(LIMIT) == 128 + signal.SIGTERM
    wait_for("its children to end", lambda: not alive(children))
    wait_for("it to be gone", lambda: cluster.state_of("w1") is None)
    (cluster.folder / "stop").touch()
    cluster.start_worker("w2")
    assert [result.get(timeout=SOON) for result in running] == ["w2", "w2"]
    assert [result.get(timeout=SOON) for result in queued] == list(range(100))
    assert cluster.count("start-stop") == 4
    assert cluster.count("stop-queued") == 100


def test_a_task_that_must_not_run_twice_fails_where_its_worker_is_stopped_at_once(cluster: Cluster) -> None:
    cluster.start_coordinator()
    stopped = cluster.start_worker("w1", "-c", "1")
    lost = tasks.nap_once.delay(30, "never-twice")
    wait_for("it to run", lambda: cluster.noted("start-never-twice"))
    behind = tasks.noted.apply_async(("behind", 5), acks_late=False)
    stopped.send(signal.SIGINT)
    wait_for("it to drain", lambda: cluster.state_of("w1") == "draining")
    stopped.send(signal.SIGINT)
    assert stopped.popen.wait(LIMIT) == 128 + signal.SIGINT
    with pytest.raises(WorkerLostError, match="not run twice"):
        lost.get(timeout=SOON)
    cluster.start_worker("w1")
    assert behind.get(timeout=SOON) == 5
    assert cluster.count("start-never-twice") == 1
    assert cluster.count("behind") == 1


def test_a_new_worker_takes_over_the_name_of_one_that_drains(cluster: Cluster) -> None:
    cluster.start_coordinator()
    first = cluster.start_worker("w1")
    running, queued = loaded(cluster, "handover")
    first.send(signal.SIGTERM)
    wait_for("it to drain", lambda: cluster.state_of("w1") == "draining")
    second = cluster.start_worker("w1", wait=False)
    assert [result.get(timeout=SOON) for result in queued] == list(range(100))
    assert tasks.where.delay().get(timeout=SOON)[0] == "w1"
    told = cluster.app.control.inspect(destination=["w1"], timeout=30).stats()
    assert told["w1"]["pid"] == second.pid
    (cluster.folder / "handover").touch()
    assert [result.get(timeout=SOON) for result in running] == ["w1", "w1"]
    assert first.popen.wait(LIMIT) == 0
    assert tasks.add.delay(1, 1).get(timeout=SOON) == 2
    assert second.popen.poll() is None
    assert cluster.count("start-handover") == 2


def test_a_name_that_a_live_worker_has_is_refused_and_free_once_that_one_is_killed(cluster: Cluster) -> None:
    cluster.start_coordinator(*LONG_GRACE)
    first = cluster.start_worker("w1")
    refused = start_twin(cluster)
    assert refused.popen.wait(LIMIT) == 69
    said = refused.log.read_text()
    assert "NAME_TAKEN" in said
    assert "a live worker has the name 'w1'" in said
    assert "another name" in said
    assert group(tasks.where.s() for _ in range(4))().get(timeout=SOON)[0][0] == "w1"
    assert first.popen.poll() is None
    running, queued = loaded(cluster, "killed")
    first.kill()
    second = start_twin(cluster)
    (cluster.folder / "killed").touch()
    # A successor under the same name does not wait for the end of the grace.
    assert [result.get(timeout=SOON) for result in running] == ["w1", "w1"]
    assert [result.get(timeout=SOON) for result in queued] == list(range(100))
    assert second.popen.poll() is None


def start_twin(cluster: Cluster) -> Process:
    """Starts another w1; its log is one of its own. Does not wait for it."""
    log = cluster.folder / "w1.log"
    log.rename(cluster.folder / f"w1-{len(list(cluster.folder.glob('*.log')))}.log")
    return cluster.start_worker("w1", wait=False)
