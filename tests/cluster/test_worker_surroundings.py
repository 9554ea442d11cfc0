"""The surroundings of a real worker: its log, its files, its signals, and a change of its sources."""

import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.cluster import service_tasks as tasks
from tests.cluster.harness import LIMIT, Cluster, Process, wait_for

from grpcflow import group

#: Seconds that a result may take.
SOON = 60.0


@pytest.fixture(autouse=True)
def client(address: str) -> None:
    tasks.app.conf.update(coordinator=address)


def start(cluster: Cluster, name: str, *options: str, app: str = "service_tasks", **variables: str) -> Process:
    """Starts a worker that serves a queue of its own name, and waits until it is live."""
    command = ["grpcflow_worker", "-A", app, "-n", name, "-Q", name, *options]
    worker = cluster.launch(name, *command, **variables)
    wait_for(f"{name} to be live", lambda: cluster.state_of(name) == "live" or cluster._ended(worker))
    return worker


def call(task: Any, queue: str, *args: Any) -> Any:
    return task.apply_async(args, queue=queue).get(timeout=SOON)


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", "asyncio"])
def test_what_a_task_prints_and_logs_is_in_the_log_once_with_its_name_and_id(shared: Cluster, pool: str) -> None:
    name = f"speaks-{pool}"
    concurrency = [] if pool == "solo" else ["-c", "2"]
    worker = start(shared, name, "-P", pool, *concurrency, "-f", str(shared.folder / "%n%I.spoken"))
    task = tasks.speak_async if pool == "asyncio" else tasks.speak
    spoken = group(task.s(f"word-{i}.").set(queue=name) for i in range(8))()
    assert len(spoken.get(timeout=SOON)) == 8
    assert worker.terminate() == 0
    files = sorted(path.name for path in shared.folder.glob(f"{name}*.spoken"))
    assert files == [f"{name}{index}.spoken" for index in (("-1", "-2", "") if pool == "prefork" else ("",))]
    lines = [line for file in files for line in (shared.folder / file).read_text().splitlines()]
    for number, result in enumerate(spoken):
        for word in ("printed", "logged", "noted"):
            found = [line for line in lines if f"{word} word-{number}." in line]
            assert len(found) == 1, found
            assert found[0].endswith(f"{name}: {task.name}[{result.id}]: {word} word-{number}.")
    assert "word-" not in worker.log.read_text(), "nothing of it is on the worker's own output"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("def broken(:\n", "SyntaxError: invalid syntax"),
    ],
)
def test_an_app_that_does_not_import_ends_with_its_traceback_within_a_second(
    tmp_path: Path, source: str, said: str
) -> None:
    (tmp_path / "not_an_app.py").write_text(source)
    command = [sys.executable, "-m", "grpcflow_worker", "-A", "not_an_app", "-c", "1"]
    waited, worked = [], []
    for _ in range(3):
        began, before = time.monotonic(), processor_time()
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, check=False)
        waited.append(time.monotonic() - began)
        worked.append(processor_time() - before)
        assert ended.returncode == 1
        assert "Traceback (most recent call last)" in ended.stderr
        assert said in ended.stderr
        assert "not_an_app.py" in ended.stderr
    assert min(worked) < 1.0
    assert min(waited) < 10.0, "the quickest of three, for what else the machine does"


def processor_time() -> float:
    """Returns for how many seconds processes that this one started, and that have ended, had a processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_a_hangup_starts_it_anew_and_a_dump_shows_all_stacks(cluster: Cluster) -> None:
    cluster.start_coordinator()
    pid_file, door = cluster.folder / "w.pid", cluster.folder / "door"
    worker = start(cluster, "w1", "-c", "2", "--pidfile", str(pid_file))
    assert pid_file.read_text() == f"{worker.pid}\n"
    waits = group(tasks.wait_here.s(str(door)).set(queue="w1") for _ in range(2))()
    wait_for("both to wait", lambda: cluster.count("waits-") == 2)
    worker.send(signal.SIGUSR1)
    wait_for("both stacks", lambda: worker.log.read_text().count("in wait_here") == 2)
    assert len(re.findall(r"stacks of child process (\d+):", worker.log.read_text())) == 2
    assert "supervisor.py" in worker.log.read_text() or "asyncio" in worker.log.read_text()
    worker.send(signal.SIGHUP)
    wait_for("it to drain", lambda: cluster.state_of("w1") == "draining")
    later = tasks.speak.apply_async(("later",), queue="w1")
    door.touch()
    before = set(waits.get(timeout=SOON))
    assert later.get(timeout=SOON) not in before, "the children are new"
    assert worker.popen.poll() is None
    assert pid_file.read_text() == f"{worker.pid}\n"
    assert worker.log.read_text().count("worker w1 starts") == 2
    assert worker.terminate() == 0
    assert not pid_file.exists()


def test_a_changed_source_is_what_runs_next_and_one_that_does_not_import_is_waited_out(cluster: Cluster) -> None:
    cluster.start_coordinator()
    source = cluster.folder / "shop_tasks.py"

    def write(value: str) -> None:
        head = "from grpcflow import Grpcflow\napp = Grpcflow('shop', set_as_current=False)\n"
        whole = source.with_suffix(".new")  # the worker must not meet it half written, and start anew twice
        whole.write_text(f"{head}@app.task(name='shop.price')\ndef price():\n    return {value}\n")
        whole.replace(source)

    def price(expected: int) -> None:
        wait_for(f"a price of {expected}", lambda: call(tasks.app.signature("shop.price"), "w1") == expected)

    write("1")
    worker = start(cluster, "w1", "-c", "1", "--reload", app="shop_tasks", PYTHONDONTWRITEBYTECODE="1")
    price(1)
    wait_for("the watch", lambda: "watching 1 Python files under" in worker.log.read_text())
    write("22")
    price(22)
    wait_for("the watch again", lambda: worker.log.read_text().count("watching 1 Python files") == 2)
    write("(")
    wait_for("the error", lambda: "waiting for a file to change" in worker.log.read_text())
    assert "SyntaxError" in worker.log.read_text()
    wait_for("the watch once more", lambda: worker.log.read_text().count("watching 1 Python files") == 3)
    write("333")
    price(333)
    assert worker.popen.poll() is None
    assert worker.terminate() == 0


def test_a_soft_stop_lets_what_is_short_end_and_term_can_mean_quit(cluster: Cluster) -> None:
    cluster.start_coordinator()
    (cluster.folder / "soft_tasks.py").write_text(
        "from service_tasks import app\napp.conf.worker_soft_shutdown_timeout = 30.0\n"
    )
    door = cluster.folder / "door"
    worker = start(cluster, "w1", "-c", "1", app="soft_tasks", REMAP_SIGTERM="SIGQUIT")
    waits = tasks.wait_here.apply_async((str(door),), queue="w1")
    wait_for("it to wait", lambda: cluster.count("waits-") == 1)
    worker.send(signal.SIGTERM)
    wait_for("the soft stop", lambda: "what runs has 30 s more" in worker.log.read_text())
    door.touch()
    assert worker.popen.wait(LIMIT) == 0
    assert waits.get(timeout=SOON)
    assert cluster.count("waits-") == 1
