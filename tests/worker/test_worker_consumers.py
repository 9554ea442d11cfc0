"""Queues that a worker serves, changed while it runs, with a real coordinator."""

from collections.abc import Iterator

import pytest

from grpcflow import Grpcflow, Queue, worker_direct
from grpcflow.cli import main
from grpcflow.testing import Cluster

app = Grpcflow("consumers", task_queues=(Queue("mail", weight=5), Queue("video")), set_as_current=False)


@app.task(name="consumers.add")
def add(x: int, y: int) -> int:
    return x + y


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster(app, queues=["default"]) as made:
        yield made


def queues(cluster: Cluster) -> list[tuple[str, int]]:
    """What the one worker says that it serves."""
    (served,) = app.control.inspect(timeout=30).active_queues().values()
    return [(each["name"], each["weight"]) for each in served]


def test_a_worker_that_serves_nothing_any_more_takes_work_when_it_is_told_to(cluster: Cluster) -> None:
    app.control.cancel_consumer("default")
    assert queues(cluster) == []
    waits = add.apply_async((1, 2), queue="default")
    assert waits.explain().code == "NO_WORKER"
    (reply,) = app.control.add_consumer("default")
    assert list(reply.values()) == [{"ok": "add consumer default"}]
    assert waits.get(timeout=40) == 3


def test_a_queue_is_added_with_a_weight_from_python_and_from_the_shell(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    app.control.add_consumer("mail")
    app.control.add_consumer("video", weight=7)
    assert queues(cluster) == [("default", 1), ("mail", 5), ("video", 7)]
    where = ["--coordinator", cluster.address]
    assert main(["ctl", "control", "add_consumer", "video", "9", *where]) == 0
    assert main(["ctl", "control", "cancel_consumer", "mail", *where]) == 0
    assert queues(cluster) == [("default", 1), ("video", 9)]
    assert main(["ctl", "control", "add_consumer", "video", "101", *where]) == 2
    assert "101" in capsys.readouterr().err


def test_each_worker_has_a_queue_of_its_own_whatever_it_serves(cluster: Cluster) -> None:
    (name,) = app.control.inspect(timeout=30).ping()
    app.control.cancel_consumer("default")
    assert add.apply_async((1, 2), queue=worker_direct(name)).get(timeout=40) == 3
