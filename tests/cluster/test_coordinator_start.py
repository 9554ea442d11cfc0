"""What keeps a coordinator from starting is said, with what to do; one that cannot be reached is named."""

import os
import time
from pathlib import Path

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import LIMIT, Cluster

from grpcflow import CoordinatorUnavailable


def refused(cluster: Cluster, *options: str) -> str:
    """Starts a coordinator that must refuse to start, and returns what it said."""
    process = cluster.launch("refused", "grpcflow_coordinator", *options)
    assert process.popen.wait(LIMIT) != 0
    said = process.log.read_text()
    assert "Traceback" not in said
    process.log.unlink()
    return said


def test_a_second_coordinator_on_the_same_folder_is_refused(cluster: Cluster) -> None:
    first = cluster.start_coordinator()
    folder = str(cluster.folder / "data")
    said = refused(cluster, "--data", folder, "--listen", "127.0.0.1:0")
    assert folder in said
    assert f"held by process {first.pid}" in said
    assert "--data" in said
    first.kill()
    cluster.start_coordinator()  # the folder of a dead one is free


def test_a_port_that_is_taken_is_named(cluster: Cluster, tmp_path: Path) -> None:
    cluster.start_coordinator()
    said = refused(cluster, "--data", str(tmp_path / "other"), "--listen", cluster.address)
    assert cluster.address in said
    assert "--listen" in said


def test_a_folder_that_is_none_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("something else")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        said = refused(cluster, "--data", str(path), "--listen", "127.0.0.1:0")
        assert f"{path} cannot be used: a file is in its place" in said


def test_a_folder_that_cannot_be_written_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.geteuid() == 0:  # root may write there, and nobody may in the kernel's own folder
        closed = Path("/proc/self/grpcflow")
    said = refused(cluster, "--data", str(closed), "--listen", "127.0.0.1:0")
    assert str(closed) in said
    assert "check its path, its rights and the room on its disk" in said


def test_listening_beyond_this_machine_wants_to_be_said_aloud(cluster: Cluster, tmp_path: Path) -> None:
    said = refused(cluster, "--data", str(tmp_path / "open"), "--listen", "0.0.0.0:0")
    assert "0.0.0.0" in said
    assert "--insecure" in said
    assert not (tmp_path / "open").exists()


def test_a_coordinator_that_cannot_be_reached_is_named_in_time(cluster: Cluster) -> None:
    tasks.app.conf.update(coordinator=cluster.address)
    began = time.monotonic()
    with pytest.raises(CoordinatorUnavailable, match=cluster.address):
        tasks.add.delay(1, 2)
    assert time.monotonic() - began < 30.0
    with pytest.raises(CoordinatorUnavailable, match=cluster.address):
        tasks.app.AsyncResult("some").state  # noqa: B018  # asking is what fails
