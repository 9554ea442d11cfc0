"""Commands of apps in the shell: in help, by name, with typed arguments; and options that choose workers."""

import socket
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.client.cli.fake_coordinator import FakeConnection

from grpcflow.cli import command_line
from grpcflow.cli.invocation import Invocation
from grpcflow.targets import Targets
from grpcflow_protos.v1 import command_pb2
from grpcflow_protos.v1 import control_service_pb2 as control_pb2

Type = Callable[..., Result]


def of_app(name: str, *arguments: tuple[str, str, bool], **told: Any) -> control_pb2.AvailableCommand:
    given = [command_pb2.CommandArgument(name=one, type=kind, optional=optional) for one, kind, optional in arguments]
    return control_pb2.AvailableCommand(
        command=command_pb2.CommandInfo(name=name, arguments=given, **told), workers=["w1"]
    )


@pytest.fixture(autouse=True)
def commands(cluster: FakeConnection) -> None:
    cluster.commands = [
        control_pb2.AvailableCommand(command=command_pb2.CommandInfo(name="ping", help="Who is there.")),
        of_app("cache", ("n", "int", False), ("deep", "bool", True), ("timeout", "json", True), help="How large."),
        of_app("hidden", ("n", "int", True), help="Seen by those who know.", hidden=True, default_timeout_ms=7_000),
        of_app("evict", control=True, variadic="keys", help="Forget KEYS."),
    ]


def test_help_and_list_show_what_the_apps_define(typed: Type) -> None:
    text = typed("ctl", "inspect", "--help").stdout
    assert "Of the apps of this cluster" in text
    assert "cache N [DEEP] [TIMEOUT]" in text
    assert "evict" not in text
    assert "hidden" not in text
    listed = typed("ctl", "control", "--list").stdout
    assert "evict [KEYS]...            Forget KEYS." in listed
    assert "shutdown " in listed


def test_arguments_are_typed_as_the_app_says(typed: Type, cluster: FakeConnection) -> None:
    assert typed("ctl", "inspect", "cache", "4", "yes", '{"a": 1}', "-t", "2").exit_code == 0
    assert typed("ctl", "control", "evict", "a", "b", "-d", "w2").exit_code == 0
    assert typed("ctl", "inspect", "hidden").exit_code == 0
    assert typed("ctl", "inspect", "-t", "3", "hidden").exit_code == 0
    assert cluster.asked == [
        ("inspect", "cache", {"n": 4, "deep": True, "timeout": {"a": 1}}, (), 2),
        ("control", "evict", {"keys": ["a", "b"]}, ("w2",), 1),
        ("inspect", "hidden", {}, (), 7),
        ("inspect", "hidden", {}, (), 3),
    ]
    wrong = typed("ctl", "inspect", "cache", "four")
    assert (wrong.exit_code, "not a valid integer" in wrong.stderr) == (2, True)


def test_a_wrong_name_is_told_the_nearest(typed: Type) -> None:
    for words, near in ((("inspect", "cahce"), "cache"), (("control", "shutdwon"), "shutdown")):
        result = typed("ctl", *words)
        assert (result.exit_code, f"Did you mean '{near}'?" in result.stderr) == (2, True)
    told = typed("ctl", "inspect", "xyzzy").stderr
    assert ("There are: active" in told, "hidden" in told) == (True, False)


def test_celerys_other_names_are_understood(typed: Type, cluster: FakeConnection) -> None:
    assert typed("ctl", "inspect", "dump_active").exit_code == 0
    assert cluster.asked[0][:2] == ("inspect", "active")


def test_without_a_coordinator_our_own_commands_are_listed_at_once() -> None:
    with socket.socket() as reserved:  # bound and not listening: nobody answers there, and nobody else takes it
        reserved.bind(("127.0.0.1", 0))
        words = ["ctl", "inspect", "--coordinator", f"127.0.0.1:{reserved.getsockname()[1]}", "--help"]
        result = CliRunner().invoke(command_line, words, obj=Invocation())
    assert result.exit_code == 0
    assert "memsample" in result.stdout
    assert "Of the apps" not in result.stdout


def test_options_choose_workers(typed: Type, cluster: FakeConnection) -> None:
    typed(
        "ctl", "inspect", "reserved", "--pattern", "w*", "-Q", "mail", "--label", "a", "--label", "b", "--upcoming", "7"
    )
    typed("ctl", "control", "--regex", "--pattern", "w.", "heartbeat")
    assert cluster.targets == [
        Targets(patterns=("w*",), queues=("mail",), labels=("a", "b"), upcoming=7),
        Targets(patterns=("w.",), regex=True),
    ]


def test_a_stamp_that_is_none_is_wrong_usage(typed: Type) -> None:
    result = typed("ctl", "control", "revoke_by_stamped_headers", "customer")
    assert (result.exit_code, "NAME=VALUE" in result.stderr) == (2, True)
