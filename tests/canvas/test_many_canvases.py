"""Thousands of random canvases in each run of the suite: what everything that composes comes to on a simulated cluster.

The same trials as those of scripts/canvas_soak, which runs many more. A difference is printed with its seed, cut down.
"""

import os
import subprocess

import pytest
from tests.support import soak
from tests.support.tree import ROOT

#: Each part is a test of its own, so that they can run side by side.
PARTS = 4
IN_FAIR_WEATHER = 440
WITH_KILLS = 60


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("part", range(PARTS))
def test_random_canvases_end_as_the_reference_says(part: int, seed: int) -> None:
    assert_no_difference(seed, IN_FAIR_WEATHER, kills=False)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("part", range(PARTS))
def test_also_while_workers_streams_and_the_coordinator_are_killed(part: int, seed: int) -> None:
    assert_no_difference(seed, WITH_KILLS, kills=True)


def assert_no_difference(seed: int, count: int, *, kills: bool) -> None:
    failed = soak.soak(seed, count, kills=kills, processes=1)
    if failed is not None:
        soak.report(seed, failed, kills=kills)
        pytest.fail(f"canvas {failed} of seed {seed} differs; see the output")


@pytest.mark.slow
def test_the_long_script_runs_and_says_its_seed(seed: int) -> None:
    command = [str(ROOT / "scripts" / "canvas_soak"), "--count", "6", "--seed", str(seed), "--kills"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[0] == f"seed: {seed}"
    assert "no difference in 6 canvases" in done.stdout
