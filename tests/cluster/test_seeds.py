"""Both seeds hold: every statement about the canvas and the bank, and the commands that go with them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.harness import wait_for
from tests.support.example_cluster import EXAMPLES, cluster, run

from grpcflow import Grpcflow
from local_cluster import LocalCluster

BINARIES = Path(sys.executable).parent

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def proj(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """A cluster as the seeds want it: w1 serves hipri and default, w2 default alone."""
    with cluster(tmp_path_factory.mktemp("seeds"), "proj", EXAMPLES, concurrency=2) as running:
        running.start_worker("w1", "hipri,default")
        running.start_worker("w2")
        running.wait_until_online(Grpcflow("probe", coordinator=running.address), ["w1", "w2"])
        yield running


def test_every_statement_about_the_canvas_holds(proj: LocalCluster) -> None:
    assert "statements hold: the canvas" in run(proj, str(EXAMPLES / "canvas_seed.py"))


def test_every_statement_about_the_bank_holds(proj: LocalCluster) -> None:
    assert "statements hold: the bank" in run(proj, str(EXAMPLES / "banking_seed.py"))


def test_the_stubs_alone_run_a_task_and_show_a_failure(proj: LocalCluster) -> None:
    stubs = str(EXAMPLES / "stubs.py")
    assert run(proj, stubs, "proj.tasks.add", "2", "3").strip() == "5"
    assert "FAILURE: ValueError: no funds" in run(proj, stubs, "proj.tasks.fail", '"no funds"', code=1)


def test_the_commands_reach_one_worker_or_all(proj: LocalCluster) -> None:
    assert answers(proj, "ctl inspect active --destination=w1") == ["w1"]
    assert answers(proj, "ctl inspect active") == ["w1", "w2"]
    assert answers(proj, "ctl inspect ping --destination=w1,w2") == ["w1", "w2"]
    assert "w1" in grpcflow(proj, "ctl inspect --destination=w1")
    assert "2 nodes online" in grpcflow(proj, "ctl status")
    told = grpcflow(proj, "ctl inspect ping --destination=nobody", code=69)
    assert "w1" in told
    assert "w2" in told


def test_the_commands_know_the_spelling_with_an_app(proj: LocalCluster) -> None:
    assert answers(proj, "-A proj inspect active") == ["w1", "w2"]
    assert "add_consumer" in grpcflow(proj, "-A proj control --help")
    assert "2 nodes online" in grpcflow(proj, "-A proj status")


def test_a_command_changes_the_worker_that_it_names_and_no_other(proj: LocalCluster) -> None:
    grpcflow(proj, "ctl control add_consumer extra --timeout=40 --destination=w2")
    assert queues(proj, "w2") == ["default", "extra"]
    assert queues(proj, "w1") == ["default", "hipri"]
    grpcflow(proj, "ctl control cancel_consumer extra --timeout=40 --destination=w2")
    assert queues(proj, "w2") == ["default"]


def test_a_worker_started_by_the_spelling_with_an_app_is_shut_down_alone(proj: LocalCluster) -> None:
    command = [str(BINARIES / "grpcflow"), "-A", "proj", "worker", "-Q", "third", "-n", "w3", "-c", "1"]
    with (proj.folder / "w3.log").open("wb") as log:
        third = subprocess.Popen(command, cwd=proj.folder, env=proj.environment, stdout=log, stderr=log)
    proj.processes["w3"] = third
    probe = Grpcflow("probe", coordinator=proj.address, set_as_current=False)
    wait_for("w3 to arrive", lambda: online(probe) == ["w1", "w2", "w3"])
    assert "3 nodes online" in grpcflow(proj, "ctl status")
    task = grpcflow(proj, "call proj.tasks.add --args=[20,22] --queue=third").strip()
    assert "42" in grpcflow(proj, f"result {task}")
    grpcflow(proj, "ctl control shutdown --timeout=40 --destination=w3")
    assert third.wait(timeout=60) == 0
    wait_for("w3 to leave", lambda: online(probe) == ["w1", "w2"])
    assert "2 nodes online" in grpcflow(proj, "ctl status")


def grpcflow(on: LocalCluster, command: str, code: int = 0) -> str:
    """Runs the command `grpcflow` and returns all that it printed; its exit code must be `code`."""
    words = [str(BINARIES / "grpcflow"), *command.split()]
    done = subprocess.run(words, cwd=on.folder, env=on.environment, capture_output=True, text=True, timeout=150)
    assert done.returncode == code, (command, done.stdout, done.stderr, on.last_lines())
    return done.stdout + done.stderr


def online(app: Grpcflow) -> list[str]:
    """Returns the names of all workers; asked from here, for a wait that starts a command each time is a heavy one."""
    return sorted(info.name for info in app.connection.list_workers())


def replies(on: LocalCluster, command: str) -> dict[str, Any]:
    """Returns what the workers answered to a question, by worker."""
    told: dict[str, Any] = json.loads(grpcflow(on, f"{command} --timeout=40 --json"))
    return told


def answers(on: LocalCluster, command: str) -> list[str]:
    """Returns the names of the workers that answered."""
    return sorted(replies(on, command))


def queues(on: LocalCluster, worker: str) -> list[str]:
    """Returns the names of the queues that a worker serves."""
    return sorted(queue["name"] for queue in replies(on, f"ctl inspect active_queues --destination={worker}")[worker])
