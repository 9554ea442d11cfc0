"""A disk that fails: the coordinator stops at once, tells nothing that may be lost, and what it had told is there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import Cluster, Process, wait_for
from tests.support.tree import ROOT

from grpcflow import AsyncResult
from grpcflow.errors import GrpcflowError

SOON = 60.0

COMPILER = shutil.which("cc")

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler here")


@pytest.fixture(scope="module")
def failing_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the library that fails below LMDB, in the calls of the operating system."""
    assert COMPILER is not None
    library = tmp_path_factory.mktemp("library") / "failing_disk.so"
    source = ROOT / "tests" / "support" / "failing_disk.c"
    subprocess.run([COMPILER, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True, timeout=150)
    return library


@pytest.mark.parametrize("call", ["sync", "write"])
def test_a_commit_that_the_disk_refuses_stops_the_coordinator(cluster: Cluster, failing_disk: Path, call: str) -> None:
    coordinator, switch = _start(cluster, failing_disk)
    kept = tasks.add.delay(1, 2)
    switch.write_text(call)
    sending = _submit(cluster)
    _stops(coordinator)
    assert sending.poll() is None or sending.returncode != 0, "a task was acknowledged that the disk did not take"
    switch.unlink()
    cluster.start_coordinator()
    cluster.start_worker("w1")
    assert AsyncResult(kept.id, app=tasks.app).get(timeout=SOON) == 3
    sending.kill()
    sending.wait(SOON)


def test_what_the_journal_took_is_there_though_the_data_file_cannot_be_written(
    cluster: Cluster, failing_disk: Path
) -> None:
    coordinator, switch = _start(cluster, failing_disk)
    kept = [tasks.add.delay(1, 2)]
    switch.write_text("file")
    while coordinator.popen.poll() is None:  # all that is told is kept, until it notices
        try:
            kept.append(tasks.add.delay(len(kept), 2))
        except GrpcflowError:
            break
    assert len(kept) > 1, "a journal that can be written was not used"
    _stops(coordinator)
    switch.unlink()
    cluster.start_coordinator()
    cluster.start_worker("w1")
    assert [AsyncResult(one.id, app=tasks.app).get(timeout=SOON) for one in kept] == [
        3,
        *range(3, len(kept) + 2),
    ]


def _start(cluster: Cluster, failing_disk: Path) -> tuple[Process, Path]:
    """Start a coordinator whose disk fails once a switch is thrown; return both."""
    switch = cluster.folder / "switch"
    command = ["grpcflow_coordinator", "--data", str(cluster.folder / "data"), "--listen", cluster.address]
    coordinator: Process = cluster.launch(
        "coordinator", *command, LD_PRELOAD=str(failing_disk), FAILING_DISK=str(switch)
    )
    cluster.coordinator = coordinator
    wait_for("the coordinator to serve", cluster._serves)
    tasks.app.conf.update(coordinator=cluster.address)
    return coordinator, switch


def _stops(coordinator: Process) -> None:
    assert coordinator.popen.wait(SOON) == 1
    told = coordinator.log.read_text()
    assert "the engine stops, and a restart recovers from the disk" in told
    assert "Input/output error" in told


def _submit(cluster: Cluster) -> subprocess.Popen[bytes]:
    """Submit a task from a process of its own, which waits to hear of it."""
    code = "import cluster_tasks; cluster_tasks.add.delay(3, 4)"
    return subprocess.Popen([sys.executable, "-c", code], env=cluster.environment())
