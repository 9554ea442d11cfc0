"""The benchmark of short and long tasks: what it calls ideal and idle, and that it runs. No figure is judged here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

sys.path.insert(0, str(ROOT / "scripts"))

from benchmarks import mixed  # noqa: E402  # the scripts are no package that is installed


@pytest.mark.parametrize(
    ("seconds", "places", "took"),
    [([], 2, 0.0), ([5, 5, 5], 2, 10), ([1, 1, 1, 1, 5], 2, 7), ([5, 1, 1, 1, 1], 2, 5), ([1, 2, 3], 4, 3)],
)
def test_in_the_ideal_schedule_each_place_begins_the_next_task_once_it_is_free(
    seconds: list[float], places: int, took: float
) -> None:
    assert mixed.ideal(seconds, places) == took


def test_a_place_is_idle_from_the_submission_to_the_start_of_the_last_task_where_it_runs_nothing() -> None:
    spans = [(10.5, 12.0, 1), (12.0, 13.0, 1), (11.0, 12.5, 2), (14.0, 15.0, 2)]
    assert sorted(mixed.pauses(spans, 10.0)) == [0.0, 0.0, 0.5, 1.0, 1.0, 1.5]


def test_all_orders_have_the_same_tasks_and_a_shuffled_one_is_that_of_its_seed() -> None:
    mix = mixed.Mix(longs=2, shorts=5)
    assert mix.ordered("long first", 1) == [5.0] * 2 + [0.001] * 5
    assert mix.ordered("short first", 1) == [0.001] * 5 + [5.0] * 2
    assert mix.ordered("shuffled", 1) == mix.ordered("shuffled", 1)
    assert sorted(mix.ordered("shuffled", 2)) == mix.ordered("short first", 2)


def test_the_benchmark_of_short_and_long_tasks_compares_them_with_what_is_ideal(tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--mixed", "--small", "--seed", "7", "--json", str(figures)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "scripts")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=150,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())
    assert found["seed"] == 7
    assert [one["names"] for one in found["runs"]] == [1, 2]
    assert all(one["took"] > one["ideal"] > 0.5 for one in found["runs"])
    assert [len(waits) for waits in found["waits"].values()] == [50, 50]
    assert "seed 7" in done.stdout
