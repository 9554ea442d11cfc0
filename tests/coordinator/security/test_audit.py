"""The audit log: a line for each change, refused ones too, with names and ids and no payload; rotation; full disks."""

from __future__ import annotations

import json
import logging
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.coordinator.security.token_files import bearing, give
from tests.coordinator.support.serving import Wire, call, refused, serving

from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.rpc.roles import ROLES, rule_of
from grpcflow_coordinator.security.audit import Audit, summary
from grpcflow_coordinator.security.token_file import Role
from grpcflow_coordinator.security.tokens import EVERYONE
from grpcflow_protos.v1 import client_service_pb2, control_service_pb2, schedule_service_pb2

SECRET = b"hunter2-hunter2"


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def pause(wire: Wire, queue: str, token: str) -> None:
    request = control_service_pb2.PauseQueueRequest(queue=queue)
    await wire.control.PauseQueue(request, metadata=bearing(token))


async def test_who_changed_what_from_where_and_how_it_ended(tmp_path: Path) -> None:
    tokens, audit = tmp_path / "tokens.json", tmp_path / "audit.jsonl"
    chief, looker = give(tokens, [Role.CONTROL], name="chief"), give(tokens, [Role.INSPECT], name="looker")
    async with serving(tokens=str(tokens), audit_log=str(audit)) as wire:
        await pause(wire, "mail", chief)
        await refused(pause(wire, "mail", looker))
        await refused(pause(wire, "x" * 300, chief))
        await refused(pause(wire, "mail", chief + "x"))
        await wire.control.ListQueues(control_service_pb2.ListQueuesRequest(), metadata=bearing(looker))
    found = lines(audit)
    told = [(one["action"], one["name"], one["status"], one["request"]) for one in found]
    assert told == [
        ("PauseQueue", "chief", "OK", {"queue": "mail"}),
        ("PauseQueue", "looker", "ROLE_FORBIDDEN", {}),
        ("PauseQueue", "chief", "INVALID_ARGUMENT", {"queue": "x" * 200}),
        ("PauseQueue", "", "TOKEN_WRONG", {}),
    ]
    assert all(one["peer"].startswith("ipv4:127.0.0.1:") for one in found)
    assert [one["token"] for one in found[:2]] == [chief.split("_")[1], looker.split("_")[1]]
    assert all(token.split("_", 2)[2] not in audit.read_text() for token in (chief, looker))
    assert stat.S_IMODE(audit.stat().st_mode) == 0o600


async def test_a_command_for_workers_and_one_that_cannot_be_read_are_written_down(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    async with serving(audit_log=str(audit)) as wire:
        request = control_service_pb2.ControlRequest(command="shutdown", arguments=SECRET)
        stream = wire.control.Control(request)
        await refused(_drained(stream))
        raw: Any = wire.channel.unary_unary("/grpcflow.v1.ControlService/PurgeQueue", request_serializer=bytes)
        await refused(raw(b"\xff\xff"))
    first, second = lines(audit)
    assert (first["action"], first["request"]) == (
        "Control",
        {"command": "shutdown", "arguments": f"{len(SECRET)} bytes"},
    )
    assert (second["action"], second["status"], second["request"]) == ("PurgeQueue", "INVALID_ARGUMENT", {})


async def _drained(stream: Any) -> None:
    async for _ in stream:
        pass


async def test_lines_go_to_a_new_file_where_the_old_one_was_moved_away(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    async with serving(audit_log=str(audit)) as wire:
        for queue in ("a", "b"):
            await wire.control.PauseQueue(control_service_pb2.PauseQueueRequest(queue=queue))
            audit.rename(tmp_path / queue)
    assert [lines(tmp_path / queue)[0]["request"] for queue in ("a", "b")] == [{"queue": "a"}, {"queue": "b"}]


def test_no_payload_and_no_value_is_in_a_summary() -> None:
    schedule = schedule_service_pb2.Schedule(name="s", graph=call(SECRET), description=f"t({SECRET.decode()!r})")
    requests = (
        schedule_service_pb2.PutSchedulesRequest(schedules=[schedule], owner="o"),
        client_service_pb2.ForgetRequest(ids=["a"] * 30),
    )
    put, forget = (summary(request) for request in requests)
    assert SECRET.decode() not in json.dumps(put)
    assert put["owner"] == "o"
    assert put["schedules"][0]["name"] == "s"
    assert forget["ids"][-1] == "and 10 more"


def test_a_log_that_cannot_be_written_stops_no_call_and_no_start_passes_it_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    audit = Audit(folder / "audit.jsonl", lambda: 0.0)
    (folder / "audit.jsonl").unlink()
    folder.rmdir()
    with caplog.at_level(logging.ERROR):
        audit.write("/s/PauseQueue", EVERYONE, "here", None, "OK")
    assert "lacks a line, /s/PauseQueue" in caplog.text
    with pytest.raises(ConfigurationError, match="audit log"):
        Audit(folder / "audit.jsonl", lambda: 0.0)


def test_a_line_for_half_of_which_there_was_room_takes_no_other_along(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit(tmp_path / "audit.jsonl", lambda: 0.0)
    audit.write("/s/PauseQueue", EVERYONE, "here", None, "OK")
    write = os.write
    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(os, "write", lambda handle, data: write(handle, data[:20]))
        audit.write("/s/PurgeQueue", EVERYONE, "here", None, "OK")
    assert "lacks a line, /s/PurgeQueue by here: No space left" in caplog.text
    audit.write("/s/ResumeQueue", EVERYONE, "here", None, "OK")
    assert [one["action"] for one in lines(tmp_path / "audit.jsonl")] == ["PauseQueue", "ResumeQueue"]


def test_what_takes_control_is_audited_and_what_only_looks_is_not() -> None:
    for service, row in ROLES.items():
        for method, rule in row.items():
            if rule.roles in ((Role.CONTROL,), (Role.ADMIN,)):
                assert rule.audited, f"{service}/{method}"
            if rule.roles == (Role.INSPECT,):
                assert not rule.audited, f"{service}/{method}"
    assert rule_of("/unknown/Method").audited
