"""Pools of real workers, their sizes, titles and replaced children, and batches: from the options to the result."""

from typing import Any

import psutil
import pytest
from tests.cluster.harness import Cluster, wait_for

from grpcflow import group


def titles(cluster: Cluster, name: str) -> list[str]:
    """The titles of a worker's children, sorted."""
    found: list[str] = []
    for process in cluster.workers[name].children():
        try:
            found.append(process.cmdline()[0])
        except psutil.Error:  # it ended while it was looked at
            continue
    return sorted(title for title in found if " child " in title)


def test_a_pool_grows_with_its_work_replaces_its_children_and_shows_all_that_in_titles(shared: Cluster) -> None:
    options = ("--autoscale", "3,1", "--autoscale-keepalive", "0.2", "--max-tasks-per-child", "40")
    shared.hire("scaled", *options, queues="scaled")
    worker = shared.workers["scaled"]
    assert psutil.Process(worker.pid).cmdline()[0] == "grpcflow-worker: scaled (1 queue, 3 children)"
    wait_for("one child", lambda: len(titles(shared, "scaled")) == 1)
    naps = [shared.app.send_task("t.gate", (str(shared.notes / "open"),), queue="scaled") for _ in range(3)]
    wait_for("three children", lambda: len(titles(shared, "scaled")) == 3)
    wait_for("their tasks", lambda: all(title.endswith(": t.gate") for title in titles(shared, "scaled")))
    (shared.notes / "open").touch()
    for nap in naps:
        nap.get(timeout=20)
    wait_for("one child", lambda: len(titles(shared, "scaled")) == 1)
    wait_for("it to show no task", lambda: all(title[-1].isdigit() for title in titles(shared, "scaled")))
    add: Any = shared.app.signature("t.add", queue="scaled")
    values = group(add.clone((number, 1)) for number in range(500)).delay().get(timeout=30)
    assert values == [number + 1 for number in range(500)]
    stats = shared.app.control.inspect(["scaled"], timeout=30).stats()["scaled"]
    assert stats["pool"]["max-tasks-per-child"] == 40
    assert stats["autoscaler"]["max"] == 3


def test_calls_of_a_batch_task_are_gathered_and_each_has_its_own_end(shared: Cluster) -> None:
    shared.hire("gathers", queues="gathered")
    names = [str(number) for number in range(120)]
    names[7] = "bad"
    sent = [shared.app.send_task("t.gathered", (name,), queue="gathered") for name in names]
    for number, result in enumerate(sent):
        if number == 7:
            with pytest.raises(ValueError, match="bad is bad"):
                result.get(timeout=20)
        else:
            assert result.get(timeout=20) == f"{number}!"
    assert 3 <= shared.count("gathered") < 60, "batches are of 50 calls at most, and of more than one or two"
