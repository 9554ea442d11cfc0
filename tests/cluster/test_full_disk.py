"""A full disk is not a failed one: submits are refused with a cure, what runs settles when there is room."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import Cluster, Process, wait_for
from tests.cluster.small_disk import may_mount

from grpcflow import group
from grpcflow.errors import RequestFailed

#: The disk: room for a little more than what the coordinator keeps free for what runs.
DISK = 80 << 20

SOON = 60.0

pytestmark = pytest.mark.skipif(not may_mount(), reason="a process may not have mounts of its own here")


def start(cluster: Cluster) -> Process:
    """Start the coordinator on a disk of its own."""
    (cluster.folder / "data").mkdir()
    cluster.coordinator = cluster.launch_coordinator("small_disk", SMALL_DISK=str(DISK))
    wait_for("the coordinator to serve from a small disk", cluster._serves)
    tasks.app.conf.update(coordinator=cluster.address)
    return cluster.coordinator


def refused() -> bool:
    """Submit a task, and say whether that was refused because the disk is full."""
    try:
        tasks.add.delay(1, 1)
    except RequestFailed as error:
        return (error.code, "make room, then submit again" in str(error)) == ("STORE_FULL", True)
    return False


def test_what_runs_settles_as_soon_as_there_is_room(cluster: Cluster, tmp_path: Path) -> None:
    coordinator = start(cluster)
    inside = Path("/proc", str(coordinator.pid), "root", *(cluster.folder / "data").parts[1:])
    cluster.start_worker("w1")
    gate = tmp_path / "gate"
    running = [tasks.gate.delay(str(gate)) for _ in range(2)]
    waiting = group(tasks.text.s(200_000) for _ in range(40))()
    wait_for("both to run", lambda: cluster.count("start-gate") == 2)
    filler = inside / "filler"
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, os.statvfs(inside).f_bavail * 4096)
    assert os.statvfs(inside).f_bavail == 0
    log = coordinator.log
    wait_for("the coordinator to see it", lambda: "submits are refused until there is more" in log.read_text())
    assert refused()
    gate.touch()
    wait_for(
        "a commit to find no room", lambda: "the disk is full, and work waits until there is room" in log.read_text()
    )
    assert refused(), "the store took what it cannot keep"
    assert not all(result.ready() for result in (*running, *waiting)), "a result was told that is not on the disk"
    filler.unlink()
    assert [result.get(timeout=SOON) for result in running] == ["gate", "gate"]
    assert [len(value) for value in waiting.get(timeout=SOON)] == [200_000] * 40
    assert "the disk has room again, and work goes on" in log.read_text()
    wait_for("submits to be taken again", lambda: not refused())
    assert coordinator.popen.poll() is None
    _is_whole(inside)


def _is_whole(folder: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "grpcflow_coordinator", "check", "--data", str(folder)],
        capture_output=True,
        text=True,
        check=False,
        timeout=SOON,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_folder_that_cannot_be_written_is_refused_with_a_cure(cluster: Cluster) -> None:
    (cluster.folder / "data").mkdir()
    coordinator = cluster.launch_coordinator("small_disk", SMALL_DISK=str(DISK), SMALL_DISK_READ_ONLY="1")
    assert coordinator.popen.wait(SOON) == 1
    told = coordinator.log.read_text()
    assert "Read-only file system" in told
    assert "check its path, its rights and the room on its disk" in told
    assert "Traceback" not in told
