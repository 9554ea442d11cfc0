"""A backup of a coordinator that serves: consistent, soon done, and another coordinator goes on from it elsewhere."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import Cluster, cluster_in

from grpcflow import AsyncResult, Grpcflow, chord, group

SOON = 60.0


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command of the coordinator, and see it succeed."""
    command = [sys.executable, "-m", "grpcflow_coordinator", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SOON)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran


def test_another_coordinator_goes_on_from_a_backup_that_was_made_under_load(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_coordinator()
    tasks.app.conf.update(coordinator=cluster.address)
    cluster.start_worker("w1")
    data, backup = cluster.folder / "data", tmp_path / "backup"
    done = [tasks.add.delay(number, 1) for number in range(20)]
    assert [result.get(timeout=SOON) for result in done] == list(range(1, 21))
    waiting = chord([tasks.add.s(number, 1).set(queue="elsewhere") for number in range(20)], tasks.total.s())()
    over = threading.Event()
    load = threading.Thread(target=_submit, args=(cluster.address, over))
    load.start()
    try:
        run("backup", backup, "--data", data)
        run("check", "--data", data)
    finally:
        over.set()
        load.join(SOON)
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    with cluster_in(other_folder) as other:
        run("restore", backup, "--data", other.folder / "data")
        other.start_coordinator()
        other.start_worker("w2", queues="default,elsewhere")
        app = Grpcflow("restored", coordinator=other.address, set_as_current=False)
        assert [AsyncResult(result.id, app=app).get(timeout=SOON) for result in done] == list(range(1, 21))
        assert AsyncResult(waiting.id, app=app).get(timeout=SOON) == sum(range(1, 21))
        app.connection.close()
        assert other.coordinator is not None
        other.coordinator.terminate()
        run("check", "--data", other.folder / "data")
    assert not waiting.ready(), "the first cluster has not heard of the second one"


def _submit(address: str, over: threading.Event) -> None:
    """Submit until it is over."""
    app = Grpcflow("load", coordinator=address, set_as_current=False)
    add = app.task(name="t.add")(_never)
    while not over.is_set():
        group(add.s(number, 1) for number in range(50))().get(timeout=SOON)
    app.connection.close()


def _never(x: int, y: int) -> int:
    pytest.fail("it runs on workers, which have their own")
