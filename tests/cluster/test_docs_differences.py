"""What docs/celery-differences.md says and no other test shows, on a small cluster."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.example_cluster import cluster
from tests.support.tree import ROOT

from grpcflow import (
    AsyncResult,
    GroupResult,
    Grpcflow,
    ImproperlyConfigured,
    NotFound,
    TaskRevokedError,
    chain,
    chord,
    group,
)
from grpcflow.cli import main
from grpcflow.lower import Calls, Mode, lower
from local_cluster import LocalCluster

pytestmark = pytest.mark.timeout(180)

TASKS = '''"""Tasks of this test."""
import json
import socket

from grpcflow import Grpcflow, signals

app = Grpcflow("tasks")


@app.task
def echo(*values):
    return list(values)


@app.task
def hold(port):
    with socket.create_connection(("127.0.0.1", port)) as told:
        told.sendall(b"started")
        return told.recv(1)


@signals.task_revoked.connect(sender="tasks.hold", weak=False)
def revoked(sender=None, request=None, signal=None, **how):
    with socket.create_connection(("127.0.0.1", request.args[0])) as told:
        told.sendall(json.dumps([sender.name, request.id, how]).encode())
'''

#: Names of Celery that must not be there as if they worked.
MISSING = {
    "inspect": "memdump objgraph",
    "control": "election",
}

#: The same of its commands.
MISSING_COMMANDS = "multi report shell logtool"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grpcflow]:
    """An app in front of one worker that knows `tasks.echo`."""
    folder = tmp_path_factory.mktemp("differences")
    (folder / "tasks.py").write_text(TASKS)
    with cluster(folder, "tasks", folder) as running:
        running.start_worker("w1")
        made = client(running)
        running.wait_until_online(made, ["w1"])
        yield made


def client(running: LocalCluster) -> Grpcflow:
    """An app of this process that speaks to the cluster."""
    made = Grpcflow("tests", coordinator=running.address, set_as_current=False)

    @made.task(name="tasks.echo")
    def echo(*values: object) -> list[object]:
        return list(values)

    return made


def test_a_group_of_one_is_its_member_in_a_chain_only(app: Grpcflow) -> None:
    echo = app.tasks["tasks.echo"]
    assert (group(echo.s(1)) | echo.s()).delay().get(timeout=20) == [[[1]]]
    assert chain(group(echo.s(1)), echo.s()).delay().get(timeout=20) == [[1]]
    assert chain(echo.s(0), group(group(echo.s(1))), echo.s()).delay().get(timeout=20) == [[[0], 1]]


def test_behind_a_chord_the_parent_of_a_result_is_the_step_before(app: Grpcflow) -> None:
    echo = app.tasks["tasks.echo"]
    result = (chord([echo.s(1), echo.s(2)], echo.s()) | echo.s()).delay()
    before = result.parent
    assert before is not None
    assert (result.get(timeout=20), before.get(timeout=20)) == ([[[[1], [2]]]], [[[1], [2]]])
    assert isinstance(before.parent, GroupResult)


def test_an_id_that_nobody_knows_is_told_from_one_that_waits(app: Grpcflow) -> None:
    waits = app.send_task("tasks.echo", queue="nobody serves this")
    unknown = app.AsyncResult("no such id")
    assert isinstance(waits, AsyncResult)
    assert isinstance(unknown, AsyncResult)
    assert (waits.state, waits.exists()) == ("PENDING", True)
    assert (unknown.state, unknown.exists()) == ("PENDING", False)
    with pytest.raises(NotFound):
        unknown.get()
    waits.revoke()
    assert waits.state == "REVOKED"


def test_task_revoked_is_sent_by_the_worker_that_held_the_call_and_by_nobody_else(app: Grpcflow) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        port = server.getsockname()[1]
        for nowhere in (app.send_task("tasks.hold", [port], queue="nobody serves this"), held_back(app, port)):
            nowhere.revoke(terminate=True)
            assert nowhere.state == "REVOKED"
        runs = app.send_task("tasks.hold", [port])
        with server.accept()[0] as task:
            task.settimeout(20)
            assert task.recv(7) == b"started"
            runs.revoke(terminate=True)
            with server.accept()[0] as receiver:
                receiver.settimeout(20)
                told = json.load(receiver.makefile())
        assert told == ["tasks.hold", runs.id, {"terminated": True, "signum": 15, "expired": False}]
        with pytest.raises(TaskRevokedError):
            runs.get(timeout=20)


def held_back(app: Grpcflow, port: int) -> AsyncResult[object]:
    """A call that its worker has not been given yet."""
    result = app.send_task("tasks.hold", [port], countdown=3600)
    assert isinstance(result, AsyncResult)
    return result


def test_equal_errbacks_on_two_levels_both_run(app: Grpcflow) -> None:
    echo = app.tasks["tasks.echo"]
    canvas = chain(echo.s(1).on_error(echo.s("sorry")), echo.s()).on_error(echo.s("sorry"))
    graph = lower(canvas, Calls(app))
    assert graph is not None
    told = [[edge.parent for edge in run.inputs if edge.mode is Mode.ERROR] for run in graph.runs]
    assert sorted(filter(None, told)) == [[0], [0, 1]]
    once = echo.s(1).on_error(echo.s("sorry")).on_error(echo.s("sorry"))
    graph = lower(once, Calls(app))
    assert graph is not None
    assert graph.node_count == 2


@pytest.mark.parametrize(("of", "names"), MISSING.items())
def test_what_is_not_there_yet_is_an_error(app: Grpcflow, of: str, names: str) -> None:
    control = app.control
    things = {"inspect": control.inspect(), "control": control}
    assert [name for name in names.split() if hasattr(things[of], name)] == []
    with pytest.raises(TypeError, match="Request"):
        app.task(name="tasks.other", Request="package:Class")(print)
    with pytest.raises(TypeError, match="Strategy"):
        app.task(name="tasks.other", Strategy="package:Class")(print)
    with pytest.raises(ImproperlyConfigured):
        app.conf.update(worker_send_task_events=True)


@pytest.mark.parametrize("command", MISSING_COMMANDS.split())
def test_a_command_that_is_not_there_yet_is_an_error(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command]) == 2
    assert f"No such command '{command}'" in capsys.readouterr().err


def page_of_differences() -> list[str]:
    """The page: what is otherwise on purpose, and what is not there yet."""
    return Path(ROOT / "docs" / "celery-differences.md").read_text(encoding="utf-8").split("## Not there yet")


def test_every_difference_names_a_test_that_shows_it() -> None:
    entries = re.split(r"^- ", page_of_differences()[0], flags=re.MULTILINE)[1:]
    assert len(entries) > 100
    assert [entry for entry in entries if not re.search(r"`tests/[\w/]+\.py::\w+`", entry)] == []
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page_of_differences()[0])
    assert [each for each in named if f"def {each[1]}(" not in (ROOT / each[0]).read_text(encoding="utf-8")] == []


def test_the_page_names_all_that_is_checked_here_as_missing() -> None:
    page = page_of_differences()[1]
    named = [*" ".join(MISSING.values()).split(), *MISSING_COMMANDS.split(), "Request=", "Strategy="]
    said = re.findall(r"`([^`]+)`", page)
    assert [name for name in named if not any(name == each.rpartition(".")[2] for each in said)] == []


def test_what_the_page_says_of_is_not_said_to_be_missing(app: Grpcflow) -> None:
    rows = dict(re.findall(r"^\| (control|inspect) \| (.*) \|$", page_of_differences()[1], flags=re.MULTILINE))
    things = {"control": app.control, "inspect": app.control.inspect()}
    assert rows.keys() == things.keys()
    there = [name for of, row in rows.items() for name in re.findall(r"`(\w+)`", row) if hasattr(things[of], name)]
    assert there == []
