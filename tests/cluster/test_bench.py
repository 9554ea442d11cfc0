"""The benchmark runs: a few tasks of everything, so that it does not rot. No figure is judged here."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
from tests.cluster.harness import wait_for

ROOT = Path(__file__).resolve().parents[2]

sys.path.insert(0, str(ROOT / "scripts"))

from benchmarks import registry  # noqa: E402  # the scripts are no package that is installed


def command(tmp_path: Path, *options: str) -> dict[str, Any]:
    """What starts a small benchmark that writes its figures beside."""
    words = [sys.executable, "-m", "benchmarks", "--small", *options, "--json", str(tmp_path / "figures.json")]
    there = {**os.environ, "PYTHONPATH": str(ROOT / "scripts"), "TMPDIR": str(tmp_path)}
    return {"args": words, "env": there, "cwd": tmp_path, "text": True}


def benchmark(tmp_path: Path, *options: str) -> str:
    """Runs a small benchmark; returns what it prints."""
    done: subprocess.CompletedProcess[str]
    done = subprocess.run(**command(tmp_path, *options), capture_output=True, timeout=150)
    assert done.returncode == 0, done.stderr
    return done.stdout


def records(tmp_path: Path, kind: str) -> list[dict[str, Any]]:
    """Returns what a run wrote of one kind."""
    found = [json.loads(line) for line in (tmp_path / "figures.json").read_text().splitlines()]
    return [record for record in found if record["kind"] == kind]


def test_the_benchmark_prunes_while_it_measures(tmp_path: Path) -> None:
    benchmark(tmp_path, "--pruning")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert all(figures[name] > 0 for name in ("bulk", "bulk_pruning", "p50_ms", "p50_ms_pruning"))


def test_the_benchmark_measures_every_row_of_its_table(tmp_path: Path) -> None:
    told = benchmark(tmp_path)
    rows = {record["row"]: record for record in records(tmp_path, "row")}
    assert list(rows) == [name for name, row in registry.ROWS.items() if row.family == "rounds"]
    # The kernel counts CPU time in steps that a small run may not reach.
    timed = [row for name, row in rows.items() if name != "cpu"]
    assert all(row["value"] > 0 for row in timed)
    # Celery takes part only where it is asked for.
    assert all((row["ratio"] or 0) > 0 for row in timed if registry.ROWS[row["row"]].beside != "Celery")
    machine = rows["bulk"]["machine"]
    assert machine["floor_per_second"] == rows["bulk"]["compared"]
    assert {"cpus", "python", "grpcio"} <= machine.keys()
    assert "medians of the rounds" in told
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"], "it leaves nothing behind"


def test_the_benchmark_measures_many_workers_and_a_backlog(tmp_path: Path) -> None:
    benchmark(tmp_path, "--only", "idle_cpu,idle_dispatch,busy_p99,busy_throughput,backlog_memory,backlog_order")
    rows = {record["row"]: record["value"] for record in records(tmp_path, "row")}
    assert all(rows[name] > 0 for name in ("idle_dispatch", "busy_p99", "busy_throughput", "backlog_memory"))
    figures = {record["name"]: record for record in records(tmp_path, "figures")}
    assert figures["busy"]["offered"] == figures["busy"]["peak"] / 2
    assert figures["busy"]["per_second"] > 0
    assert figures["backlog"]["restart_s"] > 0


def test_a_benchmark_that_is_interrupted_leaves_no_process_and_no_folder(tmp_path: Path) -> None:
    with subprocess.Popen(**command(tmp_path, "--only", "submit"), stderr=subprocess.PIPE) as run:
        process = psutil.Process(run.pid)
        started = wait_for("processes of the benchmark", lambda: process.children(recursive=True))
        run.send_signal(signal.SIGINT)
        assert run.wait(30) == 130, run.communicate()[1]
    psutil.wait_procs(started, 10)
    assert not [one for one in started if one.is_running()]
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]
