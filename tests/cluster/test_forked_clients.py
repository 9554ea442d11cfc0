"""The client and `os.fork()`: it works before and after, in both processes; and inside tasks."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import Cluster, cluster_in

#: Seconds that a result may take, and a whole script.
SOON = 60.0
SCRIPT_LIMIT = 90.0

#: What each script begins with: an end to all waiting, whatever hangs, which says where; and so does a crash.
HEAD = """
import faulthandler, os, signal, threading
from cluster_tasks import add, gate, nap, note
faulthandler.enable()
faulthandler.register(signal.SIGALRM, chain=True)
signal.alarm(85)

def check(got, wanted):
    if got != wanted:
        print("got", got, "wanted", wanted, "in", "parent" if os.getpid() == first else "child", flush=True)
        os._exit(3)

def ended_well(child):
    check(os.waitpid(child, 0)[1], 0)

first = os.getpid()
"""

BEFORE_AND_AFTER = """
check(add.delay(1, 1).get(timeout=40), 2)
child = os.fork()
if child == 0:
    check(add.delay(2, 2).get(timeout=40), 4)
    grandchild = os.fork()
    check(add.delay(3, 3).get(timeout=40), 6)
    if grandchild == 0:
        os._exit(0)
    ended_well(grandchild)
    os._exit(0)
check(add.delay(4, 4).get(timeout=40), 8)
ended_well(child)
check(add.delay(5, 5).get(timeout=40), 10)
"""

LIVE_STREAM = """
door = os.environ["DOOR"]
answers = []
held = gate.delay(door, "held")
asking = [threading.Thread(target=lambda: answers.append(held.get(timeout=40))) for _ in range(2)]
for thread in asking:
    thread.start()
check(add.delay(1, 1).get(timeout=40), 2)
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        check(add.delay(number, number).get(timeout=40), 2 * number)
        check(held.get(timeout=40), "held")
        os._exit(0)
    children.append(child)
    check(add.delay(number, 1).get(timeout=40), number + 1)
open(door, "w").close()
for child in children:
    ended_well(child)
for thread in asking:
    thread.join(40)
check(answers, ["held", "held"])
"""

POOL = """
import multiprocessing
check(add.delay(1, 1).get(timeout=40), 2)

def ask(number):
    return add.delay(number, number).get(timeout=40)

with multiprocessing.get_context("fork").Pool(2) as pool:
    check(pool.map(ask, range(8)), [2 * number for number in range(8)])
check(ask(9), 18)
"""

FORKED_FIRST = """
child = os.fork()
check(add.delay(1, 1).get(timeout=40), 2)
if child == 0:
    os._exit(0)
ended_well(child)
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of one coordinator and one worker."""
    with cluster_in(tmp_path_factory.mktemp("forks")) as cluster:
        cluster.start_coordinator()
        cluster.start_worker("w1")
        tasks.app.conf.update(coordinator=cluster.address)
        yield cluster


@pytest.mark.parametrize("variable", [None, "1"])
def test_a_client_works_before_and_after_a_fork_in_both_processes(running: Cluster, variable: str | None) -> None:
    run_script(running, BEFORE_AND_AFTER, variable)


@pytest.mark.parametrize("variable", [None, "1"])
def test_a_client_forks_while_other_threads_wait_on_its_stream(running: Cluster, variable: str | None) -> None:
    run_script(running, LIVE_STREAM, variable)


@pytest.mark.parametrize("variable", [None, "1"])
def test_a_pool_of_forked_processes_submits_and_waits(running: Cluster, variable: str | None) -> None:
    run_script(running, POOL, variable)


def test_a_client_that_forked_before_its_first_call_works_in_both_processes(running: Cluster) -> None:
    run_script(running, FORKED_FIRST, None)


def run_script(cluster: Cluster, body: str, variable: str | None) -> None:
    """Runs a script with grpc's fork variable set, or unset for None; it must end well and in time."""
    environment = {**cluster.environment(), "DOOR": str(cluster.folder / f"door-{variable}")}
    environment.pop("GRPC_ENABLE_FORK_SUPPORT", None)
    if variable is not None:
        environment["GRPC_ENABLE_FORK_SUPPORT"] = variable
    command = [sys.executable, "-W", "error", "-c", HEAD + body]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SCRIPT_LIMIT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "did not end before a fork" not in done.stderr


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_task_submits_another_one(running: Cluster, pool: str) -> None:
    worker = running.start_worker(pool, "-P", pool, "-c", "1", queues=pool)
    inner = [tasks.submit.apply_async((i, i), queue=pool).get(timeout=SOON) for i in range(3)]
    assert [tasks.app.AsyncResult(each).get(timeout=SOON) for each in inner] == [0, 2, 4]
    with pytest.raises(RuntimeError, match=r"get\(\) was called inside a task"):
        tasks.wait.apply_async(queue=pool).get(timeout=SOON)
    assert worker.terminate() == os.EX_OK
