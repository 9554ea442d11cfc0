"""Workers and their children die or fall silent: what they ran is run elsewhere, and nothing else is."""

import signal
from pathlib import Path

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import Cluster, alive, wait_for
from tests.cluster.proxy import proxy_to

from grpcflow import WorkerLostError, group

#: Seconds that a result may take.
SOON = 60.0


@pytest.fixture(autouse=True)
def client(cluster: Cluster) -> None:
    tasks.app.conf.update(coordinator=cluster.address)


def test_what_a_killed_worker_had_not_finished_runs_again_and_nothing_else_does(cluster: Cluster) -> None:
    cluster.start_coordinator("--grace", "0.3")
    killed = cluster.start_worker("w1")
    done = group(tasks.noted.s(f"done-{i}", i) for i in range(20))()
    assert done.get(timeout=SOON) == list(range(20))
    door = cluster.folder / "door"
    running = [tasks.gate.delay(str(door), f"running-{i}") for i in range(2)]
    wait_for("both gates to run", lambda: cluster.count("start-running") == 2)
    behind = group(tasks.noted.s(f"behind-{i}", i) for i in range(20))()
    children = killed.children()
    assert len(children) >= 2
    killed.kill()
    wait_for("its children to end with it", lambda: not alive(children))
    cluster.start_worker("w2")
    door.touch()
    assert [result.get(timeout=SOON) for result in running] == ["running-0", "running-1"]
    assert behind.get(timeout=SOON) == list(range(20))
    assert cluster.count("start-running") == 4
    assert cluster.count("end-running") == 2
    assert cluster.count("behind-") == 20
    assert cluster.count("done-") == 20


def test_a_task_that_must_not_run_twice_fails_when_its_worker_is_killed(cluster: Cluster) -> None:
    cluster.start_coordinator("--grace", "0.3")
    killed = cluster.start_worker("w1")
    lost = tasks.nap_once.delay(30, "lost")
    wait_for("it to run", lambda: cluster.count("start-lost") == 1)
    killed.kill()
    with pytest.raises(WorkerLostError, match="acks_late=False"):
        lost.get(timeout=SOON)
    cluster.start_worker("w1")
    assert tasks.add.delay(1, 2).get(timeout=SOON) == 3
    assert cluster.count("start-lost") == 1


def test_a_dead_child_costs_its_own_task_only_and_is_replaced(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_coordinator()
    worker = cluster.start_worker("w1")
    before = children_of(cluster)
    door = tmp_path / "door"
    neighbour = tasks.gate.delay(str(door), "neighbour")
    wait_for("the neighbour to run", lambda: cluster.count("start-neighbour") == 1)
    dying = [tasks.die.delay(), tasks.die_by.delay(int(signal.SIGSEGV))]
    for result in dying:
        with pytest.raises(WorkerLostError, match="lost 3 times"):
            result.get(timeout=SOON)
    assert (cluster.count("die."), cluster.count("die_by.")) == (3, 3)
    assert tasks.die_once.delay(str(tmp_path / "died")).get(timeout=SOON) == "survived"
    assert cluster.count("die_once.") == 2
    with pytest.raises(WorkerLostError, match="acks_late=False"):
        tasks.die.apply_async(acks_late=False).get(timeout=SOON)
    assert cluster.count("die.") == 4
    door.touch()
    assert neighbour.get(timeout=SOON) == "neighbour"
    assert cluster.count("start-neighbour") == 1
    wait_for("the dead child to be replaced", lambda: len(children_of(cluster)) == 2)
    assert len(children_of(cluster) & before) == 1
    assert worker.popen.poll() is None


def test_a_child_that_dies_in_the_middle_of_many_short_tasks_costs_none_of_the_others(cluster: Cluster) -> None:
    cluster.start_coordinator()
    cluster.start_worker("w1")
    # Once they are known to be short, many of them travel to a child together.
    assert group(tasks.die_at.s(i, -1) for i in range(300))().get(timeout=SOON) == list(range(300))
    values = group(tasks.die_at.s(i, 150) for i in range(300))().get(timeout=SOON, propagate=False)
    assert isinstance(values[150], WorkerLostError)
    assert [value for i, value in enumerate(values) if i != 150] == [i for i in range(300) if i != 150]


def children_of(cluster: Cluster) -> set[int]:
    """Returns the process ids of the children of w1, as it tells them itself."""
    stats = cluster.app.control.inspect(destination=["w1"], timeout=30).stats()
    return set(stats["w1"]["pool"]["processes"])


def test_what_a_stopped_worker_still_says_changes_nothing_once_others_did_its_work(cluster: Cluster) -> None:
    cluster.start_coordinator("--grace", "0.4")
    with proxy_to(cluster.port) as proxy:
        stopped = cluster.start_worker("w1", queues="default,own", address=proxy.address)
        door = cluster.folder / "door"
        results = [tasks.gate_where.delay(str(door), f"moved-{i}") for i in range(2)]
        wait_for("both to run", lambda: cluster.count("start-moved") == 2)
        stopped.send(signal.SIGSTOP)
        # Its own link alone ends: a short silence would end that of whoever else has no processor for a moment.
        proxy.cut()
        cluster.start_worker("w2")
        # Its children are not stopped: their values wait in its pipes, and it will report them.
        door.touch()
        wait_for("its children to finish", lambda: cluster.count("end-moved") >= 2)
        assert [result.get(timeout=SOON) for result in results] == ["w2", "w2"]
        ids = [result.id for result in results]
        before = cluster.app.connection.lookup(ids)
        stopped.send(signal.SIGCONT)
        wait_for("it to come back", lambda: cluster.state_of("w1") == "live")
        assert tasks.where.apply_async(queue="own").get(timeout=SOON)[0] == "w1"
        assert cluster.app.connection.lookup(ids) == before
        assert cluster.count("start-moved") == 4
        assert stopped.terminate() == 0


def test_a_worker_that_was_stopped_and_returns_in_time_goes_on_with_what_it_ran(cluster: Cluster) -> None:
    cluster.start_coordinator("--grace", "20", "--heartbeat", "0.2", "--silence", "0.6")
    stopped = cluster.start_worker("w1")
    door = cluster.folder / "door"
    results = [tasks.gate_where.delay(str(door), f"kept-{i}") for i in range(2)]
    wait_for("both to run", lambda: cluster.count("start-kept") == 2)
    stopped.send(signal.SIGSTOP)
    wait_for("its silence to be noticed", lambda: cluster.state_of("w1") == "broken")
    cluster.start_worker("w2")
    stopped.send(signal.SIGCONT)
    wait_for("it to come back", lambda: cluster.state_of("w1") == "live")
    door.touch()
    assert [result.get(timeout=SOON) for result in results] == ["w1", "w1"]
    assert cluster.count("start-kept") == 2
