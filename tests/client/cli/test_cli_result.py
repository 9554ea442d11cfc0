"""`grpcflow result`: the value on stdout, the rest on stderr, and an exit code for each way a task can stand."""

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from click.testing import Result
from tests.client.cli.fake_coordinator import FakeConnection, FakeSettled

from grpcflow.codec import encode
from grpcflow_protos.v1 import value_pb2

Type = Callable[..., Result]

FAILURE = value_pb2.Failure(
    type_name="NoFunds",
    module="proj.bank",
    message="no funds",
    traceback="Traceback ...\nproj.bank.NoFunds: no funds\n",
)


def test_a_value_is_json_on_stdout(typed: Type, cluster: FakeConnection) -> None:
    cluster.results["t"] = FakeSettled("SUCCESS", data=encode({"a": [1, "é"]}))
    result = typed("result", "t")
    assert (result.exit_code, json.loads(result.stdout), result.stderr) == (0, {"a": [1, "é"]}, "")


def test_values_that_json_has_no_word_for_are_shown_as_text(
    typed: Type, cluster: FakeConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = [datetime(2030, 1, 2, tzinfo=UTC), {3, 1}, b"x", float("nan"), {2: "two", (1, 2): None}, "lone \ud800"]
    content = "application/x-python-pickle"
    cluster.results["t"] = FakeSettled("SUCCESS", data=encode(value, content), content_type=content)
    monkeypatch.setattr("grpcflow.codec.DEFAULT_ACCEPT", ("pickle",))
    assert json.loads(typed("result", "t").stdout) == [
        "2030-01-02T00:00:00+00:00",
        [1, 3],
        "b'x'",
        "nan",
        {"2": "two", "[1, 2]": None},
        "lone \ud800",
    ]


def test_a_value_too_deep_to_show_is_an_error_and_no_crash(typed: Type, cluster: FakeConnection) -> None:
    cluster.results["t"] = FakeSettled("SUCCESS", data=b"[" * 3000 + b"]" * 3000)
    result = typed("result", "t")
    assert result.exit_code == 1
    assert "nested too deeply" in result.stderr


def test_the_list_of_a_group_is_a_list(typed: Type, cluster: FakeConnection) -> None:
    members = [value_pb2.Value(data=encode(number)) for number in (1, 2)]
    cluster.results["g"] = FakeSettled("SUCCESS", value=value_pb2.Value(list=value_pb2.ValueList(values=members)))
    assert json.loads(typed("result", "g").stdout) == [1, 2]


def test_a_failure_is_exit_code_1_and_its_traceback_is_there_for_the_asking(
    typed: Type, cluster: FakeConnection
) -> None:
    cluster.results["t"] = FakeSettled("FAILURE", failure=FAILURE)
    short = typed("result", "t")
    assert (short.exit_code, short.stdout, short.stderr) == (1, "", "FAILURE: proj.bank.NoFunds: no funds\n")
    long = typed("result", "t", "--traceback")
    assert (long.exit_code, long.stdout) == (1, FAILURE.traceback)


@pytest.mark.parametrize(
    ("state", "code"),
    [("IGNORED", 0), ("REVOKED", 1), ("REJECTED", 1), ("PENDING", 75), ("STARTED", 75), ("RETRY", 75)],
)
def test_each_state_has_its_exit_code(typed: Type, cluster: FakeConnection, state: str, code: int) -> None:
    cluster.results["t"] = FakeSettled(state)
    result = typed("result", "t")
    assert (result.exit_code, result.stdout) == (code, "")
    assert state in result.stderr


def test_an_id_that_nobody_knows_is_exit_code_66(typed: Type) -> None:
    for words in (("result", "t"), ("result", "t", "--timeout", "5")):
        result = typed(*words)
        assert (result.exit_code, result.stdout) == (66, "")


def test_timeout_waits_and_then_tells_how_it_stands(typed: Type, cluster: FakeConnection) -> None:
    cluster.results["t"] = FakeSettled("STARTED")
    assert typed("result", "t", "--timeout", "5").exit_code == 75
    cluster.settles_later["t"] = FakeSettled("SUCCESS", data=b"42")
    assert typed("result", "t", "--timeout", "5").stdout == "42\n"


def test_json_after_a_wait_tells_what_the_stream_leaves_out(typed: Type, cluster: FakeConnection) -> None:
    cluster.settles_later["t"] = FakeSettled("SUCCESS", data=b"42")
    cluster.results["t"] = FakeSettled("SUCCESS", data=b"42", worker="w1")
    assert json.loads(typed("result", "t", "--timeout", "5", "--json").stdout)["worker"] == "w1"


def test_json_tells_everything(typed: Type, cluster: FakeConnection) -> None:
    when = datetime(2030, 1, 2, tzinfo=UTC)
    cluster.results["t"] = FakeSettled("FAILURE", failure=FAILURE, settled_at=when, worker="w1", retries=2)
    result = typed("result", "t", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "id": "t",
        "state": "FAILURE",
        "result": None,
        "error": "proj.bank.NoFunds: no funds",
        "traceback": FAILURE.traceback,
        "settled_at": "2030-01-02T00:00:00+00:00",
        "worker": "w1",
        "retries": 2,
    }


def test_pickle_is_read_only_where_an_app_accepts_it(typed: Type, cluster: FakeConnection) -> None:
    cluster.results["t"] = FakeSettled(
        "SUCCESS", data=encode({1}, "application/x-python-pickle"), content_type="application/x-python-pickle"
    )
    result = typed("result", "t")
    assert result.exit_code == 1
    assert "accept_content" in result.stderr
