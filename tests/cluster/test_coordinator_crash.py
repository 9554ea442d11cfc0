"""The coordinator dies at any moment and comes back: nothing is lost, and nothing that ran on runs again."""

import random
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.graphs import chunks_of
from tests.cluster.harness import LIMIT, Cluster, wait_for

from grpcflow import chain, chord, group
from grpcflow.connection import Connection, RetryPolicy
from grpcflow.ids import node_id

#: Seconds that a result may take.
SOON = 60.0

#: Lives of a coordinator that dies after its second or third commit, before one that lives on.
LIVES = 6

#: How often the coordinator is killed in the stream of groups, and how many tasks a group has.
KILLS = 6
GROUP = 20


@pytest.fixture(autouse=True)
def client(cluster: Cluster) -> None:
    tasks.app.conf.update(coordinator=cluster.address)


def wait_until(what: str, moment: float) -> None:
    """Waits for a moment of the wall clock."""
    wait_for(what, lambda: time.time() > moment)


def notes_per_task(cluster: Cluster, prefix: str) -> dict[str, int]:
    """Returns how many notes each task left."""
    counts: dict[str, int] = {}
    for name in cluster.noted(prefix):
        text = name.rpartition(".")[0]
        counts[text] = counts.get(text, 0) + 1
    return counts


def test_a_chord_of_a_thousand_goes_on_where_it_was_when_the_coordinator_was_killed(cluster: Cluster) -> None:
    killed = cluster.start_coordinator()
    cluster.start_worker("w1")
    cluster.start_worker("w2")
    door = cluster.folder / "door"
    members = [tasks.noted.s(f"member-{i}", i) for i in range(1_000)]
    gates = (100, 200, 300, 400)  # one for each place, so that no place goes on to the end before the kill
    for number in gates:
        members[number] = tasks.gate.s(str(door), number)
    result = chord(members, tasks.total.s())()
    wait_for("every place to stand before its gate", lambda: cluster.count("start-") == len(gates))
    killed.kill()
    done_before = cluster.count("member-")
    cluster.start_coordinator()
    door.touch()
    assert result.get(timeout=SOON) == sum(range(1_000))
    ran = notes_per_task(cluster, "member-") | notes_per_task(cluster, "start-")
    assert len(ran) == 1_000
    assert set(ran.values()) == {1}, {text: runs for text, runs in ran.items() if runs != 1}
    assert 0 < done_before < 1_000 - len(gates), "the coordinator was killed too early, or too late, to show anything"


@pytest.mark.alone
def test_the_first_hand_out_leaves_within_a_second_of_serving(cluster: Cluster) -> None:
    coordinator = cluster.start_coordinator()
    cluster.start_worker("w1")
    cluster.start_worker("w2")
    waited = []
    for turn in range(3):  # the machine may be busy once or twice
        due = time.time() + 1.0
        result = tasks.noted.apply_async((f"first-{turn}", turn), countdown=1.0)
        coordinator.kill()
        wait_until("the task's time, while no coordinator is there", due)
        coordinator = cluster.start_coordinator()
        waited.append(seconds_until_noted(cluster, f"first-{turn}"))
        assert result.get(timeout=SOON) == turn
        if waited[-1] < 1.0:
            return
    pytest.fail(f"seconds from serving to the first hand-out: {waited}")


def seconds_until_noted(cluster: Cluster, text: str) -> float:
    """Waits for a note and returns how long that took."""
    began = time.monotonic()
    wait_for("the hand-out", lambda: cluster.count(text))
    return time.monotonic() - began


def test_kills_at_random_moments_lose_nothing_and_repeat_nothing(cluster: Cluster, rng: random.Random) -> None:
    coordinator = cluster.start_coordinator()
    cluster.start_worker("w1")
    cluster.start_worker("w2")
    over = threading.Event()
    finished: list[int] = []
    with ThreadPoolExecutor(2) as clients:
        streams = [clients.submit(stream_of_groups, cluster, name, over, finished) for name in ("a", "b")]
        try:
            for turn in range(KILLS):
                wait_for("some groups", partial(enough, finished, 2 * turn + 1, streams))
                wait_until("a moment", time.time() + rng.uniform(0.1, 0.5))
                coordinator.kill()
                coordinator = cluster.start_coordinator()
        finally:
            over.set()
        submitted = sum(stream.result(SOON) for stream in streams)
    ran = notes_per_task(cluster, "stream-")
    assert len(ran) == submitted
    assert set(ran.values()) == {1}, {text: runs for text, runs in ran.items() if runs != 1}
    assert submitted > KILLS * GROUP


def enough(finished: list[int], count: int, streams: list[Future[int]]) -> bool:
    """Returns whether so many groups have been finished, or nobody goes on."""
    return len(finished) >= count or any(stream.done() for stream in streams)


def stream_of_groups(cluster: Cluster, name: str, over: threading.Event, finished: list[int]) -> int:
    """Submits one group after the other and checks its results, until told; returns the number of tasks."""
    connection = Connection([cluster.address], retry_policy=RetryPolicy(tries=100, window=SOON, max_delay=0.2))
    count = 0
    try:
        while not over.is_set():
            numbers = range(count, count + GROUP)
            chunks = chunks_of(group(tasks.noted.s(f"stream-{name}-{i}", i) for i in numbers))
            graph = chunks[0].graph
            connection.submit(chunks)
            settled = connection.wait_range(graph, 0, GROUP, timeout=SOON)
            assert [(one.state, one.data) for one in settled] == [("SUCCESS", b"%d" % i) for i in numbers]
            assert connection.lookup([node_id(graph, GROUP)])[0] is not None
            count += GROUP
            finished.append(GROUP)
    finally:
        connection.close()
    return count


def test_a_coordinator_that_is_stopped_under_load_loses_nothing_and_a_waiting_client_sees_nothing_of_it(
    cluster: Cluster,
) -> None:
    stopped = cluster.start_coordinator()
    cluster.start_worker("w1")
    cluster.start_worker("w2")
    with ThreadPoolExecutor(1) as clients:
        header = [tasks.noted.s(f"load-{i}", i) for i in range(1_000)]
        answer = clients.submit(lambda: chord(header, tasks.total.s())().get(timeout=SOON))
        wait_for("work to be under way", lambda: cluster.count("load-") >= 200)
        assert stopped.terminate() == 0
        cluster.start_coordinator()
        assert answer.result(SOON) == sum(range(1_000))
    assert set(notes_per_task(cluster, "load-").values()) == {1}
    assert cluster.count("load-") == 1_000


def test_workers_that_leave_while_no_coordinator_is_there_lose_nothing(cluster: Cluster) -> None:
    killed = cluster.start_coordinator("--grace", "0.5")
    worker = cluster.start_worker("w1")
    door = cluster.folder / "door"
    running = [tasks.gate.delay(str(door), f"left-{i}") for i in range(2)]
    behind = group(tasks.noted.s(f"behind-{i}", i) for i in range(50))()
    wait_for("both gates to run", lambda: cluster.count("start-left") == 2)
    killed.kill()
    worker.kill()
    door.touch()
    cluster.start_coordinator("--grace", "0.5")
    cluster.start_worker("w1")
    assert [result.get(timeout=SOON) for result in running] == ["left-0", "left-1"]
    assert behind.get(timeout=SOON) == list(range(50))
    assert cluster.count("start-left") == 4
    assert set(notes_per_task(cluster, "behind-").values()) == {1}


def test_restarts_count_no_delivery_of_a_task_that_runs_on(cluster: Cluster) -> None:
    coordinator = cluster.start_coordinator("--max-deliveries", "2")
    cluster.start_worker("w1")
    door = cluster.folder / "door"
    result = tasks.gate.delay(str(door), "patient")
    wait_for("it to run", lambda: cluster.count("start-patient") == 1)
    for _ in range(2):
        coordinator.kill()
        coordinator = cluster.start_coordinator("--max-deliveries", "2")
        wait_for("the worker to be back", lambda: cluster.state_of("w1") == "live")
    door.touch()
    assert result.get(timeout=SOON) == "patient"
    assert cluster.count("start-patient") == 1


def test_a_death_between_each_write_and_its_send_loses_nothing_and_repeats_nothing(
    cluster: Cluster, rng: random.Random
) -> None:
    cluster.start_coordinator()
    cluster.start_worker("w1")
    cluster.start_worker("w2")
    assert cluster.coordinator is not None
    cluster.coordinator.kill()
    lives = 0
    with ThreadPoolExecutor(1) as clients:
        answer = clients.submit(all_kinds_of_graphs, cluster)
        while not answer.done():
            # The first commit of a life is its epoch. Soon after the second comes the end, after some lives later.
            commits = rng.choice((2, 2, 3)) if lives < LIVES else 1_000_000
            live(cluster, commits, answer)
            lives += 1
        answer.result()
    assert lives >= LIVES
    ran = notes_per_task(cluster, "kinds-")
    assert len(ran) == 8
    assert set(ran.values()) == {1}, ran


def live(cluster: Cluster, commits: int, answer: Future[None]) -> None:
    """Runs a coordinator until it dies after so many commits, or the answer is there."""
    mortal = cluster.launch_coordinator("mortal_coordinator", MORTAL_COMMITS=str(commits))
    wait_for("its death, or the answer", lambda: mortal.popen.poll() is not None or answer.done())


def all_kinds_of_graphs(cluster: Cluster) -> None:
    """Submits what moves in different ways, one after the other, and checks the results."""
    connection = Connection([cluster.address], retry_policy=RetryPolicy(tries=1_000, window=LIMIT, max_delay=0.2))
    noted = tasks.noted

    def outcome(canvas: Any, last: int) -> Any:
        chunks = chunks_of(canvas)
        connection.submit(chunks)
        return connection.wait_range(chunks[0].graph, last, 1, timeout=LIMIT)[0]

    try:
        assert outcome(noted.s("kinds-one", 1), 0).data == b"1"
        assert outcome(chain(noted.s("kinds-a", 2), tasks.add.s(3), noted.si("kinds-b", 4)), 2).data == b"4"
        header = [noted.s(f"kinds-member-{i}", i) for i in range(3)]
        assert outcome(chord(header, tasks.total.s()), 4).data == b"3"
        failing = chain(tasks.fail.s("no").on_error(noted.si("kinds-errback")), tasks.add.s(1))
        assert outcome(failing, 1).failure.message == "no"
        assert outcome(noted.s("kinds-late", 5).set(countdown=0.1), 0).data == b"5"
    finally:
        connection.close()
