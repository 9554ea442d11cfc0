"""Machines whose clocks are an hour off: when a task runs, and when it is too late, is for the coordinator's to say."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import HERE, LIMIT, Cluster, Process, wait_for

from grpcflow import TaskRevokedError

#: Seconds that a result may take.
SOON = 60.0

#: Seconds after which a task is to run, and by which it must have: much less than any clock here is off.
DELAY, LATE = 0.6, 30.0

#: How far clocks are off, by the words that the tests are named with.
OFF = {"ahead": 3600.0, "behind": -3600.0}


@pytest.fixture(params=sorted(OFF))
def off(request: pytest.FixtureRequest) -> str:
    """Where a clock is, beside the coordinator's."""
    return str(request.param)


def launch(cluster: Cluster, off: str, name: str, *command: str) -> Process:
    """Starts a command on a machine whose clock is off."""
    paths = os.pathsep.join([str(HERE / "skewed"), str(HERE)])
    return cluster.launch(name, *command, PYTHONPATH=paths, CLOCK_AHEAD=str(OFF[off]))


@pytest.fixture
def worker(shared: Cluster, off: str) -> Iterator[Process]:
    """A worker of one place whose clock is off, with a queue of that name."""
    tasks.app.conf.update(coordinator=shared.address)
    options = ("-A", "cluster_tasks", "-c", "1", "-Q", off, "-n", off)
    started = launch(shared, off, f"clock-{off}", "grpcflow_worker", *options)
    wait_for("it to be live", lambda: shared.state_of(off) == "live")
    yield started
    assert started.terminate() == 0


def ran_after(cluster: Cluster, note: str, asked: float) -> float:
    """Waits for a note; returns how many seconds after a moment of this machine's clock it was left."""
    wait_for(note, lambda: cluster.count(note))
    return Path(cluster.notes / cluster.noted(note)[0]).stat().st_mtime - asked


def test_a_worker_whose_clock_is_off_runs_tasks_in_their_time_and_none_that_is_too_late(
    shared: Cluster, off: str, worker: Process
) -> None:
    asked = time.time()
    timed: dict[str, dict[str, Any]] = {
        "countdown": {"countdown": DELAY},
        "eta": {"eta": datetime.now(UTC) + timedelta(seconds=DELAY)},
        "in-time": {"countdown": DELAY, "expires": LATE},
    }
    results = [tasks.noted.apply_async((note,), queue=off, **options) for note, options in timed.items()]
    for note in timed:
        assert DELAY - 0.1 <= ran_after(shared, note, asked) < LATE
    for result in results:
        result.get(timeout=SOON)
    door = shared.folder / f"clock-{off}"
    running = tasks.gate.apply_async((str(door),), queue=off)
    wait_for("the only place to be taken", lambda: shared.count("start-gate"))
    too_late = tasks.noted.apply_async(("too-late",), queue=off, expires=0.2)
    with pytest.raises(TaskRevokedError, match="expired"):
        too_late.get(timeout=SOON)
    retried = tasks.until.apply_async((f"{door}-2", "done"), queue=off)
    door.touch()
    assert running.get(timeout=SOON) == "gate"
    wait_for("it to ask for another attempt", lambda: shared.count("until"))
    Path(f"{door}-2").touch()
    assert retried.get(timeout=SOON) == "done"
    assert not shared.count("too-late")
    assert "expired" not in worker.log.read_text()


def test_a_client_whose_clock_is_off_has_its_countdown_and_its_expiry_kept(shared: Cluster, off: str) -> None:
    shared.hire("w1", queues="default,urgent")
    asked = time.time()
    client = launch(shared, off, f"client-{off}", "timed_call", "kept", str(DELAY), str(LATE))
    assert client.popen.wait(LIMIT) == 0, client.log.read_text()
    assert DELAY - 0.1 <= ran_after(shared, "kept", asked) < LATE
