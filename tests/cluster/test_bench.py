"""The benchmark runs: a few tasks of everything, so that it does not rot. No figure is judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def benchmark(tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Runs a small benchmark, which writes its figures beside."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--small", *options, "--json", str(tmp_path / "figures.json")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_benchmark_prunes_while_it_measures(tmp_path: Path) -> None:
    benchmark(tmp_path, "--pruning")
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert all(figures[name] > 0 for name in ("bulk", "bulk_pruning", "p50_ms", "p50_ms_pruning"))


def test_the_benchmark_measures_everything_beside_the_floor(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = benchmark(tmp_path)
    rows = json.loads(figures.read_text())["rows"]
    assert [row["measure"].split(",")[0] for row in rows] == [
        "bulk no-op tasks",
        "CPU a task",
        "one task there and back",
        "one task there and back",
        "durable bulk submit",
        "chord of 20",
        "chain of 5",
    ]
    # The kernel counts CPU time in steps that a small run may not reach.
    timed = [row for row in rows if not row["measure"].startswith("CPU")]
    assert all(row["grpcflow"] > 0 for row in timed)
    assert all(row["ratio"] > 0 for row in timed[:4])
    assert "medians of 1 rounds" in done.stdout
