"""`grpcflow call`: what is sent, with an app and without, and what is printed."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import Result
from tests.client.cli.fake_coordinator import FakeConnection, FakeSettled

from grpcflow import codec, signals
from grpcflow.app import Grpcflow
from grpcflow_protos.v1 import graph_pb2, value_pb2

Type = Callable[..., Result]

PROJECT = """
from grpcflow import Grpcflow

app = Grpcflow("callproj")
app.conf.update(task_routes={"callproj.urgent": {"queue": "hipri"}})

@app.task(name="callproj.add", queue="maths")
def add(x, y=0):
    return x + y

@app.task(name="callproj.urgent")
def urgent(): ...
"""


@pytest.fixture(autouse=True)
def in_memory(monkeypatch: pytest.MonkeyPatch, cluster: FakeConnection) -> Iterator[None]:
    """Every app talks to the cluster in memory; what a test imports is forgotten after it."""
    monkeypatch.setattr(Grpcflow, "connection", property(lambda _self: cluster))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    sys.modules.pop("callproj", None)


@pytest.fixture
def project(tmp_path: Path) -> None:
    (tmp_path / "callproj.py").write_text(PROJECT, encoding="utf-8")


def only_call(cluster: FakeConnection) -> tuple[graph_pb2.Template, list[object]]:
    """Returns the template and the payload of the one call that was submitted."""
    (chunk,) = cluster.submitted
    (run,) = chunk.runs
    (template,) = chunk.templates
    (payload,) = run.payloads
    return template, json.loads(payload)


def test_a_call_without_an_app_goes_by_its_name(typed: Type, cluster: FakeConnection) -> None:
    result = typed("call", "some.task", "--args", "[2, 3]", "-k", '{"debug": true}')
    template, payload = only_call(cluster)
    assert (template.task, template.queue or "default", payload) == ("some.task", "default", [[2, 3], {"debug": True}])
    assert result.exit_code == 0
    assert len(result.stdout.strip()) == 36
    assert result.stderr == ""


@pytest.mark.usefixtures("project")
def test_with_an_app_its_routes_and_the_tasks_options_hold(typed: Type, cluster: FakeConnection) -> None:
    typed("-A", "callproj", "call", "callproj.add", "-a", "[1]")
    typed("call", "-A", "callproj:app", "callproj.urgent")
    assert [chunk.templates[0].queue for chunk in cluster.submitted] == ["maths", "hipri"]


@pytest.mark.usefixtures("project")
def test_a_name_that_the_app_lacks_is_noted_and_sent(typed: Type, cluster: FakeConnection) -> None:
    result = typed("-A", "callproj", "call", "callproj.ad")
    assert result.exit_code == 0
    assert "callproj.ad" in result.stderr
    assert only_call(cluster)[0].task == "callproj.ad"


@pytest.mark.usefixtures("project")
def test_wrong_arguments_are_refused_before_anything_is_sent(typed: Type, cluster: FakeConnection) -> None:
    result = typed("-A", "callproj", "call", "callproj.add", "-a", "[1, 2, 3]")
    assert result.exit_code == 2
    assert "callproj.add" in result.stderr
    assert cluster.submitted == []


def test_options_reach_the_call(typed: Type, cluster: FakeConnection) -> None:
    typed("call", "t", "--countdown", "60", "--expires", "90.5", "--queue", "slow", "--priority", "7")
    template, _ = only_call(cluster)
    assert (template.queue, template.priority) == ("slow", 7)
    assert template.countdown.ToTimedelta().total_seconds() == 60
    assert template.expires_in.ToTimedelta().total_seconds() == 90.5


def test_arguments_are_written_as_the_caller_says(typed: Type, cluster: FakeConnection) -> None:
    typed("call", "t", "-a", "[1]", "--serializer", "msgpack", "--compression", "gzip")
    (chunk,) = cluster.submitted
    assert chunk.templates[0].content_type == "application/msgpack+gzip"
    assert codec.decode_call(chunk.runs[0].payloads[0], "application/msgpack+gzip") == ([1], {})


@pytest.mark.parametrize("option", ["--exchange", "--routing-key"])
def test_what_only_a_broker_has_is_refused_with_the_way_to_go(
    typed: Type, cluster: FakeConnection, option: str
) -> None:
    result = typed("call", "t", option, "x")
    assert result.exit_code == 2
    assert "there are no exchanges here: name the queue with --queue" in " ".join(result.stderr.split())
    assert cluster.submitted == []


def test_an_unknown_compression_is_told_by_name(typed: Type, cluster: FakeConnection) -> None:
    result = typed("call", "t", "--compression", "rar")
    assert result.exit_code == 2
    assert "there is no compression 'rar'" in result.stderr


def test_moments_are_read_as_iso_8601(typed: Type, cluster: FakeConnection) -> None:
    typed("call", "t", "--eta", "2030-01-31T12:00:00+02:00", "--expires", "2030-02-01")
    template, _ = only_call(cluster)
    assert template.eta.ToJsonString() == "2030-01-31T10:00:00Z"
    assert template.expires_at.ToJsonString() == "2030-02-01T00:00:00Z"


@pytest.mark.parametrize(
    "words",
    [
        ("--args", "{}"),
        ("--args", "[1"),
        ("--kwargs", "[]"),
        ("--priority", "10"),
        ("--countdown", "-1"),
        ("--countdown", "1", "--eta", "2030-01-01"),
        ("--eta", "tomorrow"),
        ("--expires", "0"),
        ("--timeout", "3"),
        ("--serializer", "xml"),
        ("--queue", ""),
        ("--queue", "q" * 256),
        ("--eta", "0001-01-01T00:00:00+01:00"),
    ],
)
def test_what_cannot_be_meant_is_exit_code_2(typed: Type, cluster: FakeConnection, words: tuple[str, ...]) -> None:
    result = typed("call", "t", *words)
    assert result.exit_code == 2
    assert cluster.submitted == []


def test_wait_prints_the_value_and_the_id_apart(typed: Type, cluster: FakeConnection) -> None:
    cluster.settle_submitted = FakeSettled("SUCCESS", data=b"5")
    result = typed("call", "t", "--wait")
    assert (result.exit_code, result.stdout) == (0, "5\n")
    assert len(result.stderr.strip()) == 36
    as_json = json.loads(typed("call", "t", "--wait", "--json").stdout)
    assert (as_json["state"], as_json["result"]) == ("SUCCESS", 5)


def test_wait_ends_with_the_exit_code_of_the_task(typed: Type, cluster: FakeConnection) -> None:
    cluster.settle_submitted = FakeSettled("FAILURE", failure=value_pb2.Failure(type_name="ValueError", message="no"))
    result = typed("call", "t", "--wait")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "FAILURE: ValueError: no" in result.stderr


def test_wait_that_takes_too_long_is_exit_code_75(typed: Type, cluster: FakeConnection) -> None:
    cluster.pending_submitted = True
    result = typed("call", "t", "--wait", "--timeout", "0.1")
    assert result.exit_code == 75
    assert "grpcflow result" in result.stderr


def test_who_connected_to_it_is_told_of_the_options_once(typed: Type, project: None) -> None:
    told: list[tuple[str, object, object]] = []

    def hear(sender: str, app: Grpcflow, options: dict[str, object], **_: object) -> None:
        told.append((sender, app.main, options["app"]))

    signals.user_preload_options.connect(hear)
    try:
        typed("call", "callproj.add", "-a", "[1]", "-A", "callproj")
        typed("call", "callproj.add", "-a", "[1]")
    finally:
        signals.user_preload_options.disconnect(hear)
    assert told == [("call", "callproj", "callproj")]
