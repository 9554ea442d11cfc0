"""What an app holds is in memory once, however many children run its tasks."""

import os
import sys
from pathlib import Path

import psutil
import pytest
from tests.cluster.harness import Cluster, Process

from grpcflow import group
from grpcflow.canvas import Signature

CHILDREN = 8
#: Megabytes of proportional memory, the supervisor, the forkserver and all children together.
MOST = 250


def proportional(process: Process) -> dict[str, int]:
    """KiB of proportional memory of a process and all that it started, by title."""
    sizes: dict[str, int] = {}
    for each in [psutil.Process(process.pid), *process.children()]:
        rollup = Path(f"/proc/{each.pid}/smaps_rollup").read_text()
        size = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        sizes[f"{each.pid} {each.cmdline()[0]}"] = size
    return sizes


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="no system file says who shares what")
def test_eight_children_of_an_app_of_100_megabytes_take_less_than_250(cluster: Cluster) -> None:
    cluster.start_coordinator()
    worker = cluster.launch(
        "heavy", "grpcflow_worker", "-A", "heavy_tasks", "-n", "heavy", "-Q", "heavy", "-c", str(CHILDREN)
    )
    cluster.workers["heavy"] = worker
    app = cluster.app

    def call(name: str, *args: object) -> Signature:
        return app.signature(f"heavy_tasks.{name}", args=args, queue="heavy")

    met = group(call("meet", CHILDREN, "first") for _ in range(CHILDREN))
    assert len(set(met.delay().get(timeout=60))) == CHILDREN
    words = group(call("look_up", number) for number in range(400)).delay().get(timeout=60)
    assert words[7].startswith("meaning 7")
    again = group(call("meet", CHILDREN, "second") for _ in range(CHILDREN))
    assert len(set(again.delay().get(timeout=60))) == CHILDREN
    sizes = proportional(worker)
    assert len(sizes) == CHILDREN + 2
    assert sum(sizes.values()) > 100 << 10, "the app does not hold what this test is about"
    print(f"{sum(sizes.values()) >> 10} MiB: {sizes}", file=sys.stderr)
    assert sum(sizes.values()) < MOST << 10, sizes
