"""A few seconds of the soak: everything in its load works, and it measures. The long one is scripts/soak."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parents[2] / "scripts"


def test_a_few_seconds_of_mixed_load_are_watched_and_judged(tmp_path: Path) -> None:
    samples: list[dict[str, Any]] = []
    for minutes in ("0.05", "0.2", "0.8"):  # on a busy machine little is done in three seconds
        samples = watched(tmp_path, minutes)
        if len(samples) > 5 and samples[-1]["done"] > 20:
            break
    assert len(samples) > 5
    assert all(sample["coordinator"] > 1e6 and sample["worker"] > 1e6 for sample in samples)
    assert samples[-1]["done"] > 20
    assert (tmp_path / "soak.svg").read_text().count("<polyline") == 4


def watched(folder: Path, minutes: str) -> list[dict[str, Any]]:
    """Runs the soak for a while; returns what it saw at each look."""
    looks = folder / "soak.jsonl"
    looks.unlink(missing_ok=True)
    options = ["--minutes", minutes, "--warm", "0.01", "--seed", "1", "--plot", str(folder / "soak.svg")]
    done = subprocess.run(
        [sys.executable, "-m", "soaking", *options, "--json", str(looks)],
        cwd=SCRIPTS,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert "p99 of single calls" in done.stdout, done.stdout + done.stderr  # whether it grew says nothing so soon
    return [json.loads(line) for line in looks.read_text().splitlines()]
