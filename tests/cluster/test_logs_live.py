"""What tasks log on a cluster of real processes, which are killed meanwhile: lines of each attempt, once, in order."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.cluster import streaming_tasks as tasks
from tests.cluster.harness import LIMIT, Cluster, wait_for

from grpcflow.cli import main

BEFORE = ["before 0", "before 1", "before 2", "printed"]
AFTER = ["after 0", "after 1", "after 2"]


def test_who_follows_a_task_reads_its_lines_once_though_worker_and_coordinator_are_killed(
    cluster: Cluster, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tasks.app.conf.update(coordinator=address)
    killed = cluster.start_coordinator("--grace", "0.5")
    worker = cluster.start_worker("w1", "-A", "streaming_tasks")
    door = cluster.folder / "door"
    result = tasks.talks.delay(str(door))
    lines = result.logs(follow=True)
    assert [next(lines).text for _ in BEFORE] == BEFORE
    worker.kill()
    cluster.start_worker("w2", "-A", "streaming_tasks")
    assert [next(lines).text for _ in BEFORE] == BEFORE, "of the second attempt"
    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(list, lines)
        killed.kill()
        cluster.start_coordinator("--grace", "20")
        wait_for("the worker to be back", lambda: cluster.state_of("w2") == "live")
        door.touch()
        assert [line.text for line in rest.result(LIMIT)] == AFTER
    assert result.get(timeout=LIMIT) == 1
    whole = [(line.attempt, line.text) for line in result.logs()]
    first, second = sorted({attempt for attempt, _ in whole})
    assert whole == [*((first, text) for text in BEFORE), *((second, text) for text in BEFORE + AFTER)]
    assert main(["logs", str(result.id), "--tail", "2", "--coordinator", address]) == 0
    assert [line.split(maxsplit=2)[2] for line in capsys.readouterr().out.splitlines()] == AFTER[1:]
