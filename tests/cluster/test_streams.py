"""Items and progress on a cluster of real processes, which are killed meanwhile: each item once, no state missed."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.cluster import streaming_tasks as tasks
from tests.cluster.harness import Cluster, Process, wait_for

from grpcflow import errors, group

#: Seconds that a result may take.
SOON = 60.0


@pytest.fixture(autouse=True)
def client(address: str) -> None:
    tasks.app.conf.update(coordinator=address)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Threads that read beside the test."""
    with ThreadPoolExecutor(8) as made:
        yield made


def start(cluster: Cluster, *options: str) -> Process:
    """Start a coordinator and a worker."""
    cluster.start_coordinator("--grace", "0.5")
    return cluster.start_worker("w1", "-A", "streaming_tasks", *options)


def test_items_of_any_size_arrive_once_in_order_and_as_often_as_they_are_read(shared: Cluster) -> None:
    shared.hire("streaming", "-A", "streaming_tasks")
    result = tasks.count.delay(5_000)
    assert list(result.stream(timeout=SOON)) == list(range(5_000))
    assert list(result.stream(timeout=SOON, first=4_998)) == [4_998, 4_999], "they stay, as the value does"
    assert result.get(timeout=SOON) == 5_000
    large = tasks.count.delay(12, 700_000)
    assert [number for number, _ in large.stream(timeout=SOON)] == list(range(12))
    assert not list(tasks.quiet.delay().stream(timeout=SOON))


def test_a_failure_follows_its_items_and_retries_and_replacements_add_to_one_stream(shared: Cluster) -> None:
    shared.hire("streaming", "-A", "streaming_tasks")
    items = tasks.breaks.delay().stream(timeout=SOON)
    assert next(items) == "before"
    with pytest.raises(ValueError, match="broken"):
        next(items)
    assert list(tasks.again.delay().stream(timeout=SOON)) == list(range(7))
    assert list(tasks.handed_on.delay().stream(timeout=SOON)) == ["outer", 0, 1, 2]


@pytest.mark.parametrize("kind", ["threads", "asyncio"])
def test_every_executor_emits(cluster: Cluster, kind: str) -> None:
    start(cluster, "--pool", kind)
    many = group(tasks.gently.s(200) for _ in range(5))()
    for result in many:
        assert list(result.stream(timeout=SOON)) == list(range(200))
    assert list(tasks.count.delay(300).stream(timeout=SOON)) == list(range(300))


def test_readers_of_a_task_whose_worker_is_killed_get_each_item_once(
    cluster: Cluster, pool: ThreadPoolExecutor
) -> None:
    killed = start(cluster)
    door = cluster.folder / "door"
    result = tasks.behind_door.delay(str(door), 700, 300)
    early = result.stream(timeout=SOON)
    assert [next(early) for _ in range(100)] == list(range(100))
    wait_for("it to stand before the door", lambda: cluster.count("start") == 1)
    readers = [pool.submit(list, result.stream(timeout=SOON)) for _ in range(3)]
    killed.kill()
    cluster.start_worker("w2", "-A", "streaming_tasks")
    wait_for("it to run again", lambda: cluster.count("start") == 2)
    door.touch()
    assert list(early) == list(range(100, 1_000))
    assert [reader.result(SOON) for reader in readers] == [list(range(1_000))] * 3


def test_a_coordinator_that_restarts_in_the_middle_of_a_stream_loses_and_doubles_nothing(
    cluster: Cluster, pool: ThreadPoolExecutor
) -> None:
    killed = cluster.start_coordinator("--grace", "20")
    cluster.start_worker("w1", "-A", "streaming_tasks")
    result = tasks.slow_counter.delay(600)
    seen: list[int] = []
    half = threading.Event()

    def read() -> None:
        for item in result.stream(timeout=SOON):
            seen.append(item)
            if len(seen) == 150:
                half.set()

    reader = pool.submit(read)
    assert half.wait(SOON)
    killed.kill()
    cluster.start_coordinator("--grace", "20")
    reader.result(SOON)
    assert seen == list(range(600))
    assert result.get(timeout=SOON) == 600
    assert result.retries == 0


def test_progress_is_told_by_push_and_anew_when_the_coordinator_comes_back(
    cluster: Cluster, pool: ThreadPoolExecutor
) -> None:
    killed = cluster.start_coordinator("--grace", "20")
    cluster.start_worker("w1", "-A", "streaming_tasks")
    door = cluster.folder / "door"
    result = tasks.progress.delay(10, str(door))
    told: list[dict[str, Any]] = []
    waiting = pool.submit(result.get, timeout=SOON, on_message=told.append)
    wait_for("half of it", lambda: told and told[-1]["result"] == {"current": 6, "total": 10})
    late: list[dict[str, Any]] = []
    also = pool.submit(tasks.app.AsyncResult(result.id).get, timeout=SOON, on_message=late.append)
    wait_for("who comes late is told where it stands", lambda: late)
    assert late[0]["result"] == {"current": 6, "total": 10}
    killed.kill()
    cluster.start_coordinator("--grace", "20")
    wait_for("the worker to be back", lambda: cluster.state_of("w1") == "live")
    door.touch()
    assert (waiting.result(SOON), also.result(SOON)) == ("done", "done")
    steps = [one["result"]["current"] for one in told if one["status"] == "PROGRESS"]
    assert steps == sorted(set(steps)), "none twice, none late"
    missed = sum(one.get("skipped", 0) for one in told)
    assert len(steps) + missed <= 10, "nothing is counted twice"
    assert set(told[0]) >= {"status", "result", "task_id", "traceback", "children"}
    assert (told[-1]["status"], told[-1]["result"]) == ("SUCCESS", "done")


def test_a_slow_reader_of_progress_gets_the_newest_state_and_the_end(shared: Cluster) -> None:
    shared.hire("streaming", "-A", "streaming_tasks")
    result = tasks.progress.delay(2_000)
    told: list[dict[str, Any]] = []
    held = threading.Event()

    def slow(message: dict[str, Any]) -> None:
        told.append(message)
        if len(told) == 1:
            wait_for("the task to end meanwhile", lambda: tasks.app.AsyncResult(result.id).ready())
            held.set()

    assert result.get(timeout=SOON, on_message=slow) == "done"
    assert held.is_set()
    assert len(told) < 100
    assert told[-1]["status"] == "SUCCESS"
    assert sum(one.get("skipped", 0) + 1 for one in told if one["status"] == "PROGRESS") <= 2_000


def test_members_of_a_group_tell_of_themselves_while_all_are_waited_for(shared: Cluster) -> None:
    shared.hire("streaming", "-A", "streaming_tasks")
    many = group(tasks.progress.s(3) for _ in range(4))()
    told: list[dict[str, Any]] = []
    assert many.get(timeout=SOON, on_message=told.append) == ["done"] * 4
    ends = [one["task_id"] for one in told if one["status"] == "SUCCESS"]
    assert sorted(ends) == sorted(one.id for one in many)
    assert {one["task_id"] for one in told if one["status"] == "PROGRESS"} <= set(ends)


def test_a_stream_that_nobody_knows_is_a_clear_error(shared: Cluster) -> None:
    with pytest.raises(errors.NotFound, match="there is no task"):
        list(tasks.app.AsyncResult("nobody").stream(timeout=SOON))
