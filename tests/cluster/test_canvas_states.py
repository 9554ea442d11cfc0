"""States, stamps, ids and values that many processes share: seen by all clients, kept over kills, fetched in pieces."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import HERE, Cluster, wait_for

from grpcflow import AsyncResult, GroupResult, Grpcflow, NotFound, TaskRevokedError, chain, chord, group

#: Seconds that a result may take.
SOON = 60.0
BINARIES = Path(sys.executable).parent


@pytest.fixture(autouse=True)
def client(address: str) -> None:
    tasks.app.conf.update(coordinator=address)


@pytest.fixture
def another(address: str) -> Iterator[Grpcflow]:
    """A second client, with a connection of its own."""
    made = Grpcflow("another", coordinator=address, set_as_current=False)
    yield made
    made.connection.close()


def test_a_state_of_a_tasks_own_is_seen_by_another_client_and_over_a_kill(cluster: Cluster, another: Grpcflow) -> None:
    coordinator = cluster.start_coordinator()
    cluster.start_worker("w1")
    door = cluster.folder / "door"
    result = tasks.progress.delay(str(door))
    seen = another.AsyncResult(result.id)
    assert isinstance(seen, AsyncResult)
    wait_for("its last state", lambda: seen.state == "PROGRESS" and seen.info == {"done": 3, "of": 3})
    coordinator.kill()
    cluster.start_coordinator()
    assert (seen.state, seen.info) == ("PROGRESS", {"done": 3, "of": 3})
    door.touch()
    assert result.get(timeout=SOON) == "all"
    assert (seen.state, seen.info) == ("SUCCESS", "all")


def test_calls_are_revoked_by_stamp_without_any_worker_and_while_they_run(cluster: Cluster) -> None:
    coordinator = cluster.start_coordinator()
    door = cluster.folder / "door"
    waiting = (
        chain(tasks.add.s(1, 1), group(tasks.add.s(i) for i in range(3)), tasks.total.s()).stamp(order="1").delay()
    )
    spared = tasks.stamps.si().stamp(order="2", tenant=["a", "b"]).delay()
    assert cluster.app.control.revoke_by_stamped_headers({"order": ["1"]}).revoked > 0
    coordinator.kill()
    cluster.start_coordinator()
    cluster.start_worker("w1")
    with pytest.raises(TaskRevokedError):
        waiting.get(timeout=SOON)
    assert spared.get(timeout=SOON) == {"order": ["2"], "tenant": ["a", "b"]}
    running = group(tasks.gate.s(str(door), f"gate-{i}") for i in range(2)).stamp(order="3").delay()
    wait_for("both to run", lambda: cluster.count("start-gate") == 2)
    assert cluster.app.control.revoke_by_stamped_headers({"order": ["3", "4"]}, terminate=True).revoked == 2
    for result in running:
        with pytest.raises(TaskRevokedError):
            result.get(timeout=SOON)
    assert tasks.add.delay(1, 2).get(timeout=SOON) == 3
    assert cluster.count("end-gate") == 0


@pytest.mark.parametrize(("members", "size"), [(5, 1_000_000), (20, 3_000_000)])
def test_a_header_of_many_megabytes_reaches_its_body(shared: Cluster, members: int, size: int) -> None:
    shared.hire("w1", queues="default,urgent")
    canvas = chord([tasks.text.s(size + i) for i in range(members)], tasks.lengths.s())()
    assert canvas.get(timeout=40) == [size + i for i in range(members)]


def test_what_is_forgotten_stays_forgotten_and_what_is_saved_is_found_over_a_kill(
    cluster: Cluster, another: Grpcflow
) -> None:
    coordinator = cluster.start_coordinator()
    cluster.start_worker("w1")
    forgotten = tasks.add.delay(1, 1)
    saved = group(tasks.add.s(i, i) for i in range(3))()
    assert (forgotten.get(timeout=SOON), saved.get(timeout=SOON)) == (2, [0, 2, 4])
    forgotten.forget()
    saved.save()
    coordinator.kill()
    cluster.start_coordinator()
    unknown = another.AsyncResult(forgotten.id)
    assert (unknown.state, unknown.exists()) == ("PENDING", False)
    with pytest.raises(NotFound):
        unknown.get(timeout=SOON)
    found = GroupResult.restore(saved.id, app=another)
    assert found is not None
    assert found.get(timeout=SOON) == [0, 2, 4]
    found.delete()
    coordinator = cluster.coordinator or coordinator
    coordinator.kill()
    cluster.start_coordinator()
    assert GroupResult.restore(saved.id, app=another) is None
    assert saved.get(timeout=SOON) == [0, 2, 4]


def test_a_wait_for_an_id_that_another_client_submits_later_ends(shared: Cluster, another: Grpcflow) -> None:
    shared.hire("w1", queues="default,urgent")
    early = another.AsyncResult("later")
    with pytest.raises(NotFound, match="later"):
        early.get(timeout=SOON)
    with ThreadPoolExecutor(1) as pool:
        waits = pool.submit(early.get, timeout=SOON, wait_for_submit=True)
        with pytest.raises(NotFound):  # one question and answer later the wait has begun
            another.AsyncResult("never").get(timeout=SOON)
        assert tasks.add.apply_async((1, 2), task_id="later").get(timeout=SOON) == 3
        assert waits.result(SOON) == 3


def test_what_ran_a_call_and_how_often_is_known_after_its_value_too(shared: Cluster, tmp_path: Path) -> None:
    shared.hire("w1", queues="default,urgent")
    flag = tmp_path / "flag"
    result = tasks.until.delay(str(flag), 1)
    wait_for("two attempts", lambda: shared.count("until") >= 2)
    flag.touch()
    assert result.get(timeout=SOON) == 1
    assert (result.worker, result.name) == ("w1", "t.until")
    assert result.retries >= 2
    assert result.date_done is not None


def test_a_retry_in_a_header_goes_on_over_a_kill_of_the_coordinator(cluster: Cluster) -> None:
    coordinator = cluster.start_coordinator()
    cluster.start_worker("w1")
    flag = cluster.folder / "flag"
    canvas = chord([tasks.until.s(str(flag), 1), tasks.noted.s("once", 2)], tasks.total.s())()
    wait_for("some attempts", lambda: cluster.count("until") >= 3)
    coordinator.kill()
    cluster.start_coordinator()
    before = cluster.count("until")
    wait_for("another attempt", lambda: cluster.count("until") > before)
    assert not canvas.ready()
    flag.touch()
    assert canvas.get(timeout=SOON) == 3
    assert cluster.count("once") == 1


EAGER = """
from cluster_tasks import add, app, fail, gather, instead, total
from grpcflow import chain, chord, group
app.conf.update(task_always_eager=True)
assert add.delay(1, 2).get() == 3
assert chain(add.s(1, 1), group(add.s(1), add.s(2)), total.s()).delay().get() == 7
assert chord([add.s(1, 1), instead.s("x", add.s(2, 2))], gather.s())().get() == [2, 4]
assert chain(fail.s("no"), add.s(1)).delay().state == "FAILURE"
assert add.apply((1, 2)).get() == 3
print("done")
"""


def test_calls_in_place_need_no_daemon(cluster: Cluster) -> None:
    environment = {**os.environ, "PYTHONPATH": str(HERE), "GRPCFLOW_COORDINATOR": cluster.address}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", EAGER], env=environment, capture_output=True, text=True, timeout=SOON
    )
    assert done.stdout == "done\n", done.stderr


def test_a_call_from_the_shell_takes_the_options_of_a_call(shared: Cluster) -> None:
    shared.hire("w1", queues="default,urgent")
    for options, code, words in [
        (["--countdown", "0.1", "--queue", "urgent", "--serializer", "msgpack", "--compression", "gzip"], 0, "3"),
        (["--expires", "60", "--priority", "9"], 0, "3"),
        (["--exchange", "logs"], 2, "queue"),
        (["--routing-key", "logs"], 2, "queue"),
    ]:
        command = [
            str(BINARIES / "grpcflow"),
            "-A",
            "cluster_tasks",
            "call",
            "t.add",
            "-a",
            "[1, 2]",
            "--wait",
        ]
        told = subprocess.run(
            [*command, *options],
            env=shared.environment(),
            capture_output=True,
            text=True,
            timeout=SOON,
            cwd=shared.folder,
        )
        assert told.returncode == code, told.stderr
        assert words in told.stdout + told.stderr
