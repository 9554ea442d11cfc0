"""Bounded memory: what waits lies on disk. Measured in a process of its own, so that nothing else is counted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "support" / "queue_many.py"

#: Bytes of anonymous memory by which a coordinator may grow while 200,000 tasks wait.
ALLOWED = 60 * 1000 * 1000


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="anonymous memory is told by Linux only")
def test_what_waits_costs_no_memory_and_an_unknown_name_holds_up_nobody(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, timeout=150, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    print(figures)
    assert figures["queued"] == 200_000
    assert figures["grown"] < ALLOWED
    assert figures["grown by singles"] < ALLOWED
    assert figures["grown after restart"] < ALLOWED
    assert figures["handed out behind them"] == 1
