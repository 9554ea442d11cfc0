"""`grpcflow ctl`: what is asked, what is shown, and the exit codes that scripts rely on."""

import json
from collections.abc import Callable

import pytest
from click.testing import Result
from tests.client.cli.fake_coordinator import FakeConnection, FakeReply

from grpcflow import errors
from grpcflow_protos.v1 import control_service_pb2 as control_pb2

Type = Callable[..., Result]


def test_json_is_one_object_and_nothing_else(typed: Type) -> None:
    result = typed("ctl", "inspect", "ping", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"w1": {"ok": "pong"}, "w2": {"ok": "pong"}}
    assert result.stderr == ""


@pytest.mark.parametrize(
    "words",
    [
        ("ctl", "inspect", "active", "--destination=w1", "--json"),
        ("ctl", "inspect", "--destination=w1", "-j", "active"),
        ("ctl", "inspect", "-j", "active", "-d", "w1"),
        ("inspect", "active", "-d", "w1", "--json"),
    ],
)
def test_options_may_stand_before_or_after_the_question(typed: Type, words: tuple[str, ...]) -> None:
    assert list(json.loads(typed(*words).stdout)) == ["w1"]


def test_several_workers_are_named_with_commas_or_by_repeating(typed: Type, cluster: FakeConnection) -> None:
    typed("ctl", "inspect", "ping", "-d", "w1,w2", "-t", "2.5")
    typed("ctl", "inspect", "ping", "-d", "w1", "-d", "w2")
    assert cluster.asked == [
        ("inspect", "ping", {}, ("w1", "w2"), 2.5),
        ("inspect", "ping", {}, ("w1", "w2"), 1.0),
    ]


def test_active_is_shown_as_calls(typed: Type) -> None:
    lines = typed("ctl", "inspect", "active").stdout.splitlines()
    assert lines[0] == "-> w1: OK"
    assert lines[1].startswith('    * proj.tasks.nap(2, why="tired")  01890000-0000-7000-8000-000000000001  for ')
    assert lines[2:] == ["-> w2: OK", "    - none -", "", "2 nodes online."]


def test_queues_names_and_figures_are_shown_as_text(typed: Type) -> None:
    assert "    * hipri  weight 3\n    * default\n" in typed("ctl", "inspect", "active_queues").stdout
    assert "    * proj.tasks.add\n" in typed("ctl", "inspect", "registered").stdout
    stats = typed("ctl", "inspect", "stats", "-d", "w1").stdout
    assert "    uptime: 3725\n    pool:\n      max-concurrency: 2\n      processes: [1, 2]\n" in stats


def test_query_task_passes_the_ids(typed: Type, cluster: FakeConnection) -> None:
    cluster.workers["w1"].answers["query_task"] = {"a": ["active", {"id": "a", "name": "proj.add", "args": [2, 3]}]}
    cluster.workers["w2"].answers["query_task"] = {}
    result = typed("ctl", "inspect", "query_task", "a", "b")
    assert (result.exit_code, result.stdout.splitlines()[:3]) == (
        0,
        ["-> w1: OK", "    a: active  proj.add(2, 3)", "-> w2: OK"],
    )
    assert cluster.asked[0][:3] == ("inspect", "query_task", {"ids": ["a", "b"]})


def test_a_silent_worker_is_named_and_one_answer_is_enough(typed: Type, cluster: FakeConnection) -> None:
    cluster.workers["w2"].status = "no_reply"
    text = typed("ctl", "inspect", "ping")
    assert text.exit_code == 0
    assert "-> w2: NO REPLY in 1 s\n\n1 node online.\n" in text.stdout
    as_json = typed("ctl", "inspect", "ping", "--json")
    assert list(json.loads(as_json.stdout)) == ["w1"]
    assert as_json.stderr == "w2: NO REPLY in 1 s\n"


def test_nobody_answering_is_exit_code_69_with_their_names(typed: Type, cluster: FakeConnection) -> None:
    cluster.workers["w1"].status = "disconnected"
    cluster.workers["w2"].status = "no_reply"
    result = typed("ctl", "status")
    assert result.exit_code == 69
    assert "w1: NOT CONNECTED" in result.stdout
    assert "w2: NO REPLY" in result.stdout
    assert "0 nodes online." in result.stdout


def test_status_counts(typed: Type, cluster: FakeConnection) -> None:
    assert typed("ctl", "status").stdout == "-> w1: OK\n-> w2: OK\n\n2 nodes online.\n"
    del cluster.workers["w2"]
    assert typed("status").stdout == "-> w1: OK\n\n1 node online.\n"


@pytest.mark.parametrize("command", [("status",), ("inspect", "ping"), ("inspect",)])
def test_no_worker_at_all_is_exit_code_69(typed: Type, cluster: FakeConnection, command: tuple[str, ...]) -> None:
    cluster.workers.clear()
    result = typed("ctl", *command)
    assert result.exit_code == 69
    assert "0 nodes online" in result.stdout
    as_json = typed("ctl", *command, "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout)) == (69, {})


def test_an_unknown_destination_names_those_that_exist(typed: Type) -> None:
    result = typed("ctl", "inspect", "ping", "--destination=nobody")
    assert result.exit_code == 69
    assert result.stdout == ""
    assert "'nobody'" in result.stderr
    assert "w1, w2" in result.stderr


def test_names_that_the_coordinator_said_are_not_said_again(typed: Type, cluster: FakeConnection) -> None:
    cluster.error = errors.UnknownDestination("no worker has the name 'x'; connected: w1, w2")
    result = typed("ctl", "status", "-d", "x")
    assert (result.exit_code, result.stderr) == (69, "Error: no worker has the name 'x'; connected: w1, w2\n")


def test_an_unreachable_coordinator_is_exit_code_69_with_its_address(typed: Type, cluster: FakeConnection) -> None:
    cluster.error = errors.CoordinatorUnavailable("no coordinator at 127.0.0.1:1", cure="Start grpcflow-coordinator.")
    result = typed("ctl", "status")
    assert result.exit_code == 69
    assert result.stderr == "Error: no coordinator at 127.0.0.1:1 Start grpcflow-coordinator.\n"


def test_an_error_of_a_worker_is_exit_code_1(typed: Type, cluster: FakeConnection) -> None:
    cluster.workers["w1"].answers["add_consumer"] = {"error": "queue name is too long"}
    result = typed("ctl", "control", "add_consumer", "q")
    assert result.exit_code == 1
    assert "-> w1: ERROR\n    queue name is too long\n-> w2: OK\n" in result.stdout


def test_ctrl_c_is_exit_code_130_without_a_traceback(typed: Type, cluster: FakeConnection) -> None:
    cluster.error = KeyboardInterrupt()  # type: ignore[assignment]
    result = typed("ctl", "status")
    assert (result.exit_code, result.stdout, result.stderr) == (130, "", "")


def test_ctrl_c_ends_both_questions_of_the_overview(
    typed: Type, cluster: FakeConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(command: str, *_: object) -> list[FakeReply]:
        if command == "active":
            raise KeyboardInterrupt
        assert cluster.closed.wait(20), "the other question goes on until its time is over"
        return []

    monkeypatch.setattr(cluster, "inspect", interrupted)
    assert typed("ctl", "inspect", "-t", "3600").exit_code == 130


@pytest.mark.parametrize(
    "words",
    [
        ("ctl", "inspect", "nonsense"),
        ("ctl", "control", "add_consumer"),
        ("ctl", "inspect", "ping", "--timeout", "0"),
        ("ctl", "inspect", "ping", "--destination", ","),
        ("ctl", "control", "revoke"),
        ("ctl", "control", "terminate", "SIGNOTHING", "id"),
        ("ctl", "control", "-d", "w1", "revoke", "id"),
        ("nonsense",),
    ],
)
def test_wrong_usage_is_exit_code_2(typed: Type, cluster: FakeConnection, words: tuple[str, ...]) -> None:
    result = typed(*words)
    assert result.exit_code == 2
    assert cluster.asked == []


def test_add_and_cancel_consumer_name_the_queue(typed: Type, cluster: FakeConnection) -> None:
    assert typed("ctl", "control", "add_consumer", "extra", "--destination=w2").exit_code == 0
    assert typed("ctl", "control", "-d", "w2", "cancel_consumer", "extra").exit_code == 0
    assert typed("ctl", "control", "shutdown", "--destination=w2").exit_code == 0
    assert [asked[:4] for asked in cluster.asked] == [
        ("control", "add_consumer", {"queue": "extra"}, ("w2",)),
        ("control", "cancel_consumer", {"queue": "extra"}, ("w2",)),
        ("control", "shutdown", {}, ("w2",)),
    ]


def test_revoke_and_terminate_go_to_the_coordinator(typed: Type, cluster: FakeConnection) -> None:
    assert typed("ctl", "control", "revoke", "a", "b").stdout == "2 tasks revoked.\n"
    assert typed("control", "terminate", "kill", "a").stdout == "1 task revoked.\n"
    assert typed("control", "revoke", "a", "--terminate", "-s", "15").exit_code == 0
    assert cluster.revokes == [(["a", "b"], False, "SIGTERM"), (["a"], True, "SIGKILL"), (["a"], True, "SIGTERM")]


def test_ids_that_nobody_knows_are_named(typed: Type) -> None:
    some = typed("ctl", "control", "revoke", "a", "unknown-1", "--json")
    assert (some.exit_code, json.loads(some.stdout)) == (0, {"revoked": 1, "unknown": ["unknown-1"]})
    none = typed("ctl", "control", "revoke", "unknown-1")
    assert none.exit_code == 66
    assert "unknown-1" in none.stderr


def test_the_overview_shows_workers_work_and_why_it_waits(typed: Type, cluster: FakeConnection) -> None:
    cluster.queues = control_pb2.ListQueuesResponse(
        lanes=[
            control_pb2.LaneInfo(queue="default", task="proj.tasks.add", waiting=12_000, priority=3),
            control_pb2.LaneInfo(
                queue="hipri", task="proj.gone", waiting=7, blocked='no connected worker knows task "proj.gone"'
            ),
        ],
        scheduled=3,
    )
    screen = typed("ctl", "inspect").stdout
    for shown in (
        "w1", "prefork x2", "1 of 2", "1 of 64", "default hipri", "4700", "green", "1 h 2 min", 'nap(2, why="tired")',
        "12,000", 'no connected worker knows task "proj.gone"', "3 wait for their time.", "2 nodes online.",
    ):  # fmt: skip
        assert shown in screen
    assert screen.index("proj.gone") < screen.index("proj.tasks.add"), "what is blocked comes first"


def test_the_overview_of_one_worker_leaves_the_others_out(typed: Type) -> None:
    screen = typed("ctl", "inspect", "--destination=w1").stdout
    assert "w1" in screen
    assert "w2" not in screen
    document = json.loads(typed("ctl", "inspect", "--destination=w2", "--json").stdout)
    assert list(document) == ["w2"]
    assert (document["w2"]["pid"], document["w2"]["running"]) == (4800, [])


@pytest.mark.parametrize(("width", "seen"), [(80, False), (120, True)])
def test_the_overview_fits_a_narrow_screen(
    typed: Type, cluster: FakeConnection, monkeypatch: pytest.MonkeyPatch, width: int, seen: bool
) -> None:
    cluster.workers["w1"].info["queues"] = ["a-queue-with-a-name", "b-queue", "c-queue"]
    monkeypatch.setattr("grpcflow.cli.overview._PIPE_WIDTH", width)
    lines = typed("ctl", "inspect").stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert [head in lines[0].split() for head in ("WORKER", "UPTIME", "QUEUES", "PID", "HOST")] == [
        *(True, True, True, seen, seen)
    ]


def test_the_overview_of_those_who_serve_a_queue_has_their_lanes_only(typed: Type, cluster: FakeConnection) -> None:
    lanes = [control_pb2.LaneInfo(queue=queue, task=f"proj.{queue}", waiting=1) for queue in ("default", "hipri", "x")]
    cluster.queues = control_pb2.ListQueuesResponse(lanes=lanes, scheduled=3)
    screen = typed("ctl", "inspect", "--queue", "hipri").stdout
    assert [name in screen for name in ("w1", "w2", "proj.hipri", "proj.default", "proj.x", "wait for")] == [
        *(True, False, True, False, False, False)
    ]
    assert "1 node online" in screen
    screen = typed("ctl", "inspect", "-d", "w1").stdout
    assert [f"proj.{queue}" in screen for queue in ("default", "hipri", "x")] == [True, True, False]
    assert list(json.loads(typed("ctl", "inspect", "-Q", "hipri", "--label", "a", "-j").stdout)) == ["w1"]
    assert cluster.targets[-1].labels == ("a",)


def test_the_overview_shows_a_worker_that_does_not_answer(typed: Type, cluster: FakeConnection) -> None:
    cluster.workers["w2"].status = "no_reply"
    result = typed("ctl", "inspect")
    assert result.exit_code == 0
    assert "? of 2" in result.stdout
    assert "-> w2: NO REPLY" in result.stdout
