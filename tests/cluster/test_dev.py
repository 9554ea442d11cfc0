"""`grpcflow dev` with the real coordinator and the real worker: up, called, and gone with one Ctrl-C."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
from tests.cluster.harness import HERE, LIMIT, alive, wait_for

from grpcflow import Grpcflow


def test_one_terminal_holds_a_cluster_until_ctrl_c(tmp_path: Path) -> None:
    log = tmp_path / "dev.log"
    surroundings = {**os.environ, "PYTHONPATH": str(HERE), "NOTES": str(tmp_path)}
    surroundings.pop("GRPCFLOW_COORDINATOR", None)
    program = "import sys; from grpcflow.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "dev", "-A", "cluster_tasks", "--port", "0", "-P", "threads"]
    with log.open("w") as file:
        dev = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=tmp_path, env=surroundings)
    children: list[psutil.Process] = []
    try:
        wait_for("the worker to connect", lambda: "connected to" in log.read_text())
        lines = log.read_text().splitlines()
        address = next(line.split("serving on ")[1].split(",")[0] for line in lines if "serving on" in line)
        assert any(f"grpcflow --coordinator {address} -A cluster_tasks call" in line for line in lines)
        app = Grpcflow("dev", coordinator=address, set_as_current=False)
        assert app.send_task("t.add", (2, 3)).get(timeout=LIMIT) == 5
        children = psutil.Process(dev.pid).children(recursive=True)
        dev.send_signal(signal.SIGINT)
        assert dev.wait(LIMIT) == 0
    finally:
        left = children if dev.poll() is not None else psutil.Process(dev.pid).children(recursive=True)
        dev.kill()
        dev.wait(LIMIT)
        not_ended = alive(left)
        for process in not_ended:
            process.kill()
    assert len(children) >= 2
    assert not_ended == []
    said = log.read_text()
    assert said.index("stopping; once more") < said.rindex("worker      |") < said.rindex("coordinator |")
    assert "Traceback" not in said
