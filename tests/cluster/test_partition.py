"""A worker is cut off for longer than the grace, or stopped before it has ended: others do its work, once."""

import signal
import time

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import LIMIT, Cluster, wait_for
from tests.cluster.proxy import proxy_to

#: Seconds that a result may take.
SOON = 60.0


@pytest.fixture(autouse=True)
def client(cluster: Cluster) -> None:
    tasks.app.conf.update(coordinator=cluster.address)


def test_a_worker_that_was_cut_off_for_longer_than_the_grace_stops_what_others_took_over(cluster: Cluster) -> None:
    cluster.start_coordinator("--grace", "0.4")
    ends, goes_on = cluster.folder / "ends", cluster.folder / "goes-on"
    with proxy_to(cluster.port) as proxy:
        cut_off = cluster.start_worker("w1", queues="default,own", address=proxy.address)
        ended = tasks.gate_where.delay(str(ends), "ended")
        running = tasks.gate_where.delay(str(goes_on), "running")
        wait_for("both to run", lambda: cluster.count("start-") == 2)
        proxy.part()
        # The worker hears nothing of it. A short silence would end the link of whoever has no processor for a moment.
        proxy.close_far()
        wait_for("the grace to be over", lambda: cluster.state_of("w1") is None)
        cluster.start_worker("w2")
        wait_for("both to run again", lambda: cluster.count("start-") == 4)
        ends.touch()
        # Both workers run it to its end; the value of the one that is cut off waits there.
        wait_for("both to end it", lambda: cluster.count("end-ended") == 2)
        assert ended.get(timeout=SOON) == "w2"
        story = cluster.app.connection.lookup([ended.id])
        proxy.heal()
        wait_for("it to be back", lambda: cluster.state_of("w1") == "live")
        stopped = ("is no longer ours: stopped", "ended by signal 9")  # asked for, and done
        wait_for(
            "it to stop what is no longer its own", lambda: all(said in cut_off.log.read_text() for said in stopped)
        )
        assert tasks.where.apply_async(queue="own").get(timeout=SOON)[0] == "w1"
        goes_on.touch()
        assert running.get(timeout=SOON) == "w2"
        assert cluster.app.connection.lookup([ended.id]) == story
        assert cluster.count("end-running") == 1
        assert cut_off.terminate() == 0


def test_what_a_stop_has_cut_off_at_the_drain_timeout_runs_elsewhere_at_once(cluster: Cluster) -> None:
    cluster.start_coordinator("--grace", "600")
    leaving = cluster.start_worker("w1", "--drain-timeout", "0.3")
    door = cluster.folder / "door"
    running = tasks.gate_where.delay(str(door), "cut")
    wait_for("it to run", lambda: cluster.count("start-cut") == 1)
    cluster.start_worker("w2")
    asked = time.monotonic()
    leaving.send(signal.SIGTERM)
    assert leaving.popen.wait(LIMIT) == 128 + signal.SIGTERM
    assert time.monotonic() - asked >= 0.3
    wait_for("it to run elsewhere", lambda: cluster.count("start-cut") == 2)
    door.touch()
    assert running.get(timeout=SOON) == "w2"
    assert cluster.count("end-cut") == 1
