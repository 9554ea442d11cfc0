"""Completion: what a shell is told of commands, options and what is alive, asked as click's classes ask."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner
from tests.client.cli.fake_coordinator import FakeConnection

from grpcflow import errors
from grpcflow.cli import command_line, live_names
from grpcflow.cli.completion import VARIABLE
from grpcflow.cli.invocation import Invocation
from grpcflow_protos.v1 import control_service_pb2 as control_pb2


class Scheduled(FakeConnection):
    """Has schedules beside workers."""

    names: tuple[str, ...] = ()


def completed(connection: Any, *words: str) -> list[str]:
    """Returns what the last of the words is completed to."""
    said = Invocation(connect=lambda _addresses: connection)
    asked = BashComplete(command_line, {"obj": said}, "grpcflow", VARIABLE)
    return [item.value for item in asked.get_completions(list(words[:-1]), words[-1])]


def test_commands_are_completed_from_the_list_alone(cluster: FakeConnection) -> None:
    assert completed(cluster, "re") == ["result", "retention"]
    assert completed(cluster, "ctl", "") == ["status", "inspect", "control"]
    assert "add_consumer" in completed(cluster, "ctl", "control", "add")
    assert "--destination" in completed(cluster, "ctl", "status", "--d")
    assert cluster.asked == []


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["ctl", "inspect", "active", "-d", ""], ["w1", "w2"]),
        (["ctl", "inspect", "active", "--destination", "w1,"], ["w1,w2"]),
        (["ctl", "inspect", "-d", "w2"], ["w2"]),
        (["control", "pause", ""], ["default", "hipri", "lonely"]),
        (["control", "purge", "default", "hi"], ["hipri"]),
        (["call", "proj.tasks.a"], ["proj.tasks.add"]),
        (["call", "proj.tasks.add", "-Q", "h"], ["hipri"]),
        (["limit", "set", "task", "proj.tasks.n"], ["proj.tasks.nap"]),
        (["limit", "set", "queue", "d"], ["default"]),
        (["retention", "set", ""], ["task", "queue"]),
        (["graph", "list", "--state", "FA"], ["FAILURE"]),
        (["failed", "list", "--task", "proj.tasks.n"], ["proj.tasks.nap"]),
        (["completion", ""], ["bash", "zsh", "fish"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_live_names_are_completed(cluster: FakeConnection, words: list[str], names: list[str]) -> None:
    cluster.queues = control_pb2.ListQueuesResponse(lanes=[control_pb2.LaneInfo(queue="lonely", task="t")])
    assert completed(cluster, *words) == names


def test_schedules_are_completed(cluster: FakeConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = SimpleNamespace(list=lambda: [SimpleNamespace(name=name) for name in ("nightly", "hourly")])
    monkeypatch.setattr("grpcflow.schedule_control.ScheduleControl", lambda _app: listed)
    assert completed(cluster, "schedule", "pause", "") == ["hourly", "nightly"]
    assert completed(cluster, "schedule", "show", "n") == ["nightly"]


def test_nobody_there_is_silence(cluster: FakeConnection, capfd: pytest.CaptureFixture[str]) -> None:
    cluster.error = errors.CoordinatorUnavailable("nobody at 127.0.0.1:1")
    assert completed(cluster, "call", "") == []
    assert capfd.readouterr() == ("", "")


def test_somebody_who_never_answers_costs_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(live_names, "_PATIENCE", 0.01)
    answered: list[bool] = []
    silent = SimpleNamespace(list_workers=lambda: answered.append(never.wait(20)))
    try:
        assert completed(silent, "ctl", "status", "-d", "") == []
        assert answered == []
    finally:
        never.set()


def test_what_an_app_prints_is_no_completion(cluster: FakeConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    def chatty() -> list[Any]:
        print("hello from an app")
        return FakeConnection.list_workers(cluster)

    monkeypatch.setattr(cluster, "list_workers", chatty)
    said = Invocation(connect=lambda _addresses: cluster)  # type: ignore[arg-type, return-value]
    env = {VARIABLE: "bash_complete", "COMP_TYPED": "grpcflow status -d ", "COMP_PIECE": ""}
    result = CliRunner(env=env).invoke(command_line, [], prog_name="grpcflow", obj=said)
    assert (result.exit_code, result.stdout.split()) == (0, ["plain,w1", "plain,w2"])


def told(connection: Any, shell: str, line: str, piece: str = "") -> list[str]:
    """Returns what a shell is told for a line that ends at the cursor; piece: what bash takes for its last word."""
    typed = line.rpartition(" ")[2]
    env = {
        VARIABLE: f"{shell}_complete",
        "COMP_TYPED": line,
        "COMP_PIECE": piece,
        "COMP_WORDS": line,
        "COMP_CWORD": typed if shell == "fish" else str(line.count(" ")),
    }
    said = Invocation(connect=lambda _addresses: connection)
    result = CliRunner(env=env).invoke(command_line, [], prog_name="grpcflow", obj=said)
    assert (result.exit_code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    return lines[1::3] if shell == "zsh" else [line.partition(",")[2].partition("\t")[0] for line in lines if line]


@pytest.mark.parametrize(
    ("shell", "piece", "names"),
    [
        ("bash", "w", ["w1", "w2"]),
        ("bash", "=w", ["=w1", "=w2"]),
        ("zsh", "", ["--destination=w1", "--destination=w2"]),
        ("fish", "", ["--destination=w1", "--destination=w2"]),
    ],
)
def test_the_value_behind_an_equals_sign_is_put_where_the_shell_looks_for_it(
    cluster: FakeConnection, shell: str, piece: str, names: list[str]
) -> None:
    assert told(cluster, shell, "grpcflow status --destination=w", piece) == names
    assert told(cluster, shell, "grpcflow status -d w1,", "w1,") == ["w1,w2"]
    assert told(cluster, shell, "grpcflow -A proj:app ctl st", "st") == ["status"]
    assert told(cluster, shell, "grpcflow status --jso", "--jso") == ["--json"]
    assert told(cluster, shell, "grpcflow no such command", "command") == []


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["grpcflow", "-A", "a", ":", "b", "ctl", "st"], "status"),
        (["grpcflow", "graph", "list", "--state", "=", "FA"], "FAILURE"),
        (["grpcflow", "graph", "list", "--state", "="], "FAILURE"),
        (["grpcflow", "call", "-a", "'[2, 3]'", "--countd"], "--countdown"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bash_itself_puts_in_what_fits_behind_its_piece_of_a_word(words: list[str], completed: str) -> None:
    script = CliRunner().invoke(command_line, ["completion", "bash"]).stdout
    line = " ".join(words).replace(" = ", "=").replace(" : ", ":").removesuffix(" =") + "=" * (words[-1] == "=")
    program = Path(sys.executable).parent / "grpcflow"
    run = f'{script}\nCOMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE=$LINE COMP_POINT=${{#LINE}}\n'
    run += f'_grpcflow_completion {program}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    command = ["bash", "--norc", "-c", run, "bash", *words]
    done = subprocess.run(command, env=os.environ | {"LINE": line}, capture_output=True, text=True, timeout=150)
    assert (done.stdout.split()[0], done.stderr) == (completed, "")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_asks_us(shell: str) -> None:
    result = CliRunner().invoke(command_line, ["completion", shell])
    assert result.exit_code == 0
    assert f"{VARIABLE}={shell}_complete" in result.stdout
    assert "grpcflow" in result.stdout


def test_the_real_program_completes_for_a_shell_and_is_silent_without_a_coordinator(free_address: str) -> None:
    surroundings = {**os.environ, "GRPCFLOW_COORDINATOR": free_address, VARIABLE: "bash_complete"}

    def asked(words: str) -> subprocess.CompletedProcess[str]:
        more = {"COMP_TYPED": words, "COMP_PIECE": words.rpartition(" ")[2]}
        code = "import sys; from grpcflow.cli import main; sys.exit(main([]))"
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=surroundings | more, capture_output=True, text=True, timeout=150)

    assert asked("grpcflow ctl st").stdout == "plain,status\n"
    nobody = asked("grpcflow ctl status -d ")
    assert (nobody.stdout.strip(), nobody.stderr) == ("", "")


@pytest.fixture
def free_address() -> Iterator[str]:
    """An address where nobody listens: the port is taken, and takes no connection."""
    import socket

    with closing(socket.socket()) as held:
        held.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{held.getsockname()[1]}"


def test_commands_know_their_live_names() -> None:
    """Where a name of something alive is an argument, it is completed."""

    def types(path: Sequence[str]) -> dict[str, Any]:
        command: click.Command = command_line
        for word in path:
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), word)
            assert found is not None
            command = found
        return {parameter.name or "": parameter.type for parameter in command.params}

    assert types(["control", "add_consumer"])["destination"] is live_names.WORKERS
    assert types(["control", "rate_limit"])["task"] is live_names.TASK
    assert types(["schedule", "remove"])["names"] is live_names.SCHEDULE
