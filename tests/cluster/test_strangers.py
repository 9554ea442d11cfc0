"""Bad input on a live cluster: who sends it is told what is wrong, and everybody else goes on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import HERE, LIMIT, Cluster, cluster_in, wait_for
from tests.cluster.proxy import proxy_to

from grpcflow import (
    Grpcflow,
    InvalidRequest,
    PayloadTooLarge,
    RemoteError,
    SerializationError,
    codec,
    group,
    ids,
)
from grpcflow_protos import limits
from grpcflow_protos.v1 import graph_pb2

#: Seconds that a result may take.
SOON = 60.0

#: A name that is one byte too long, and one that just fits.
LONG = "q" * (limits.NAME_LIMIT + 1)
FITS = "q" * limits.NAME_LIMIT


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of one coordinator and one worker, which goes on through all of these tests."""
    with cluster_in(tmp_path_factory.mktemp("strangers")) as cluster:
        cluster.start_coordinator()
        cluster.start_worker("w1")
        yield cluster
        assert tasks.add.delay(1, 1).get(timeout=SOON) == 2
        assert cluster.workers["w1"].terminate() == 0
        assert cluster.coordinator is not None
        assert cluster.coordinator.terminate() == 0
        assert "ERROR" not in cluster.coordinator.log.read_text()


@pytest.fixture(autouse=True)
def client(running: Cluster) -> None:
    tasks.app.conf.update(coordinator=running.address)


def test_wrong_arguments_are_a_type_error_where_the_call_is_made() -> None:
    for args, kwargs in (((1,), {}), ((1, 2, 3), {}), ((1, 2), {"z": 3}), ((1,), {"x": 2})):
        with pytest.raises(TypeError, match="argument"):
            tasks.add.apply_async(args, kwargs)
    with pytest.raises(TypeError, match="argument"):
        group(tasks.add.s(1, 2), tasks.add.s(1))()


def test_arguments_that_cannot_travel_are_refused_with_their_place() -> None:
    with pytest.raises(SerializationError) as caught:
        tasks.noted.delay("never", {"inner": [1, object()]})
    assert caught.value.path == "args[1]['inner'][1]"


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_arguments_of_exactly_the_limit_pass_and_one_byte_more_is_refused(beyond: int) -> None:
    size = limits.PAYLOAD_LIMIT + beyond
    value = "x" * (size - len(codec.encode_call(("",), {})))
    assert len(codec.encode_call((value,), {})) == size
    if beyond <= 0:
        assert tasks.length.delay(value).get(timeout=SOON) == len(value)
        return
    with pytest.raises(PayloadTooLarge, match=f"{limits.PAYLOAD_LIMIT:,}.*Store them elsewhere") as caught:
        tasks.length.delay(value)
    assert caught.value.code == "PAYLOAD_TOO_LARGE"


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_result_of_exactly_the_limit_arrives_and_one_byte_more_fails_its_task(beyond: int) -> None:
    size = limits.PAYLOAD_LIMIT + beyond - len(codec.encode(""))
    result = tasks.text.delay(size)
    if beyond <= 0:
        assert len(result.get(timeout=SOON)) == size
        return
    with pytest.raises(PayloadTooLarge, match=f"{limits.PAYLOAD_LIMIT:,}"):
        result.get(timeout=SOON)


@pytest.mark.parametrize("beyond", [-1, 0, 1])
def test_a_traceback_of_exactly_the_limit_arrives_whole_and_a_longer_one_is_cut_in_its_middle(beyond: int) -> None:
    frames = len(traceback_of(100)) - 100
    wanted = limits.TRACEBACK_LIMIT + beyond
    told = traceback_of(wanted - frames)
    assert len(told) == min(wanted, limits.TRACEBACK_LIMIT)
    assert ("left out" in told) == (beyond > 0)
    assert told.startswith("Traceback (most recent call last)")


def traceback_of(length: int) -> str:
    """Returns the traceback of a task that failed with a message of this length."""
    failed = tasks.fail_at_length.delay(length)
    with pytest.raises(ValueError, match="xxx"):
        failed.get(timeout=SOON)
    assert failed.traceback is not None
    return str(failed.traceback)


def test_an_exception_with_arguments_as_large_as_the_limit_arrives_without_them() -> None:
    with pytest.raises(RemoteError, match="xxx") as caught:
        tasks.fail_at_length.delay(limits.PAYLOAD_LIMIT).get(timeout=SOON)
    assert (caught.value.type_name, caught.value.remote_args) == ("ValueError", ())


def test_a_result_that_cannot_travel_fails_its_task_and_names_it() -> None:
    with pytest.raises(SerializationError, match=r"t\.unspeakable"):
        tasks.unspeakable.delay().get(timeout=SOON)


def test_a_task_that_no_worker_knows_waits_alone_and_inspection_says_why(running: Cluster, tmp_path: Path) -> None:
    signature = tasks.app.signature("stranger.double", args=(21,))
    waiting = [signature.delay() for _ in range(3)]
    assert tasks.add.delay(2, 2).get(timeout=SOON) == 4
    assert not waiting[0].ready()
    overview = grpcflow(running, "ctl", "inspect").stdout
    assert "stranger.double" in overview
    assert "no connected worker that serves the queue 'default' knows the task 'stranger.double'" in overview
    (tmp_path / "stranger.py").write_text(
        "from grpcflow import Grpcflow\n"
        "app = Grpcflow('stranger')\n"
        "@app.task(name='stranger.double')\n"
        "def double(x):\n    return 2 * x\n"
    )
    command = ["grpcflow_worker", "-A", "stranger", "-n", "stranger", "-c", "1"]
    stranger = running.launch("stranger", *command, PYTHONPATH=str(tmp_path))
    assert [result.get(timeout=SOON) for result in waiting] == [42, 42, 42]
    assert "Nothing waits" in grpcflow(running, "ctl", "inspect").stdout
    assert tasks.add.delay(3, 3).get(timeout=SOON) == 6
    assert stranger.terminate() == 0


def test_a_queue_that_nobody_serves_is_named_as_the_reason(running: Cluster) -> None:
    waiting = tasks.add.apply_async((1, 2), queue="nobody")
    assert "no connected worker serves the queue 'nobody'" in grpcflow(running, "ctl", "inspect").stdout
    grpcflow(running, "ctl", "control", "add_consumer", "nobody", "--destination=w1")
    assert waiting.get(timeout=SOON) == 3
    grpcflow(running, "ctl", "control", "cancel_consumer", "nobody", "--destination=w1")


def grpcflow(cluster: Cluster, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs the command `grpcflow`."""
    command = [str(Path(sys.executable).parent / "grpcflow"), *arguments]
    return subprocess.run(
        command, env=cluster.environment(), capture_output=True, text=True, timeout=LIMIT, cwd=cluster.folder
    )


def test_names_that_are_too_long_are_refused_wherever_they_come_in(running: Cluster) -> None:
    with pytest.raises(ValueError, match="255 bytes"):
        tasks.add.apply_async((1, 2), queue=LONG)
    with pytest.raises(ValueError, match="255 bytes"):
        tasks.add.apply_async((1, 2), task_id=LONG)
    for options in (("-n", LONG), ("-n", "w9", "-Q", LONG)):
        refused = running.start_worker("long", *options, wait=False)
        assert refused.popen.wait(LIMIT) == os.EX_USAGE
        assert "255 bytes" in refused.log.read_text()
        refused.log.unlink()
    told = grpcflow(running, "ctl", "control", "add_consumer", LONG)
    assert told.returncode != 0
    assert "255 bytes" in told.stdout + told.stderr


def test_the_coordinator_itself_refuses_a_name_that_a_client_let_through(running: Cluster) -> None:
    chunk = graph_pb2.GraphChunk(graph=ids.mint_graph(), node_count=1, last=True)
    chunk.templates.add(task=LONG)
    chunk.runs.add(payloads=[codec.encode_call((), {})])
    with pytest.raises(InvalidRequest) as caught:
        running.app.connection.submit([chunk])
    assert caught.value.code == "NAME_TOO_LONG"
    assert tasks.add.delay(1, 2).get(timeout=SOON) == 3


def test_names_that_just_fit_work(running: Cluster) -> None:
    worker = running.start_worker("fits", "-n", FITS, "-c", "1", queues=FITS, wait=False)
    assert tasks.where.apply_async(queue=FITS, task_id=FITS).get(timeout=SOON)[0] == FITS
    assert worker.terminate() == 0


SUBMIT_MANY = """
from cluster_tasks import noted
from grpcflow import group
print("submitting", flush=True)
group(noted.s(f"halved-{i}", "x" * 1000) for i in range(6_000))().get(timeout=30)
"""


def test_a_client_that_is_killed_halfway_through_a_submission_leaves_nothing_behind(running: Cluster) -> None:
    with proxy_to(running.port) as proxy:
        environment = {**running.environment(proxy.address), "PYTHONPATH": str(HERE)}
        # Some chunks will have arrived, the last ones never do: what goes up after them is lost on the way.
        proxy.swallow_after(2_500_000)
        client = subprocess.Popen([sys.executable, "-c", SUBMIT_MANY], env=environment, stdout=subprocess.PIPE)
        try:
            wait_for("half of it to arrive", lambda: proxy.bytes_up > 2_500_000)
        finally:
            client.kill()
            client.communicate(timeout=LIMIT)
        proxy.cut()
    app = Grpcflow("after", coordinator=running.address, set_as_current=False)
    assert tasks.add.delay(1, 2).get(timeout=SOON) == 3
    assert not app.connection.list_queues().lanes
    assert not running.noted("halved")
