"""Every command of remote control, typed with --json, against two real workers of which one is busy."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.cluster.harness import LIMIT, Cluster, wait_for

from grpcflow.cli import main

#: Types a command; returns its exit code, what stdout holds as JSON, and stderr.
Typed = Callable[..., tuple[int, Any, str]]

BUSY, IDLE = "busy1", "idle1"
BOTH = ("-d", f"{BUSY},{IDLE}")

#: A worker that has no processor for a second is no fault.
PATIENTLY = ("-t", "40")


@pytest.fixture
def typed(shared: Cluster, capsys: pytest.CaptureFixture[str]) -> Typed:
    def run(*words: str) -> tuple[int, Any, str]:
        capsys.readouterr()
        code = main(["ctl", *words, "--json", "--coordinator", shared.address])
        said = capsys.readouterr()
        return code, json.loads(said.out or "null"), said.err

    return run


@pytest.fixture
def running(shared: Cluster) -> Iterator[list[str]]:
    """Ids of tasks that keep each child of one worker busy until the test is over; two more wait behind them."""
    shared.hire(BUSY, "--label", "zone=eu", queues="busy")
    shared.hire(IDLE, "--label", "zone=us", queues="idle")
    gate = str(shared.notes / "open")
    sent = [shared.app.send_task("t.gate", (gate,), queue="busy") for _ in range(2)]
    inspect = shared.app.control.inspect([BUSY], timeout=30)
    wait_for("two tasks to run", lambda: len(inspect.active()[BUSY]) == 2)
    yield [each.id for each in sent]
    (shared.notes / "open").touch()
    for each in sent:
        each.get(timeout=20)


def said(typed: Typed, *words: str) -> dict[str, Any]:
    """What both workers answer, who must."""
    code, told, stderr = typed(*words, *BOTH, *PATIENTLY)
    assert (code, stderr) == (0, ""), (told, stderr)
    assert list(told) == [BUSY, IDLE] or set(told) == {BUSY, IDLE}
    return dict(told)


def test_every_question(shared: Cluster, typed: Typed, running: list[str]) -> None:
    # No question may wait for a task: those of the busy one go on until the end of this test.
    assert said(typed, "inspect", "ping")[BUSY] == {"ok": "pong"}
    active = said(typed, "inspect", "active")
    assert {each["id"] for each in active[BUSY]} == set(running)
    assert active[IDLE] == []
    assert active[BUSY][0].keys() >= {"id", "name", "args", "kwargs", "type", "hostname", "time_start", "acknowledged"}
    assert isinstance(said(typed, "inspect", "active", "--safe")[BUSY][0]["args"], str)
    waits = [shared.app.send_task("t.gate", (str(shared.notes / "open"),), queue="busy") for _ in range(3)]
    later = shared.app.send_task("t.add", (1, 2), queue="idle", countdown=3_600)
    reserved = said(typed, "inspect", "reserved")
    assert [each["id"] for each in reserved[BUSY]] == [each.id for each in waits]
    scheduled = said(typed, "inspect", "scheduled")
    assert [each["request"]["id"] for each in scheduled[IDLE]] == [later.id]
    assert scheduled[IDLE][0]["request"]["args"] == [1, 2]
    assert scheduled[BUSY] == []
    shared.app.control.revoke(later)
    assert said(typed, "inspect", "revoked", "--upcoming", "1") == {BUSY: [later.id], IDLE: [later.id]}
    assert "t.add" in said(typed, "inspect", "registered")[IDLE]
    assert "t.nap_once [acks_late=False]" in said(typed, "inspect", "registered", "acks_late")[IDLE]
    assert said(typed, "inspect", "active_queues")[BUSY] == [{"name": "busy", "weight": 1}]
    found = said(typed, "inspect", "query_task", running[0], waits[0].id, "unknown")
    assert (found[BUSY][running[0]][0], found[IDLE]) == ("active", {})
    stats = said(typed, "inspect", "stats")
    assert stats[BUSY]["pool"]["max-concurrency"] == 2
    assert stats[IDLE]["labels"] == ["zone=us"]
    assert "task_default_queue" not in said(typed, "inspect", "conf")[IDLE]
    assert said(typed, "inspect", "conf", "--with-defaults")[IDLE]["task_default_queue"] == "default"
    assert "prefork" in said(typed, "inspect", "report")[BUSY]["ok"]
    assert said(typed, "inspect", "clock")[BUSY]["clock"] > 0
    assert said(typed, "inspect", "memsample")[IDLE].endswith("MB")
    assert said(typed, "inspect", "times", "21") == {name: {"hostname": name, "product": 42.0} for name in (BUSY, IDLE)}
    (shared.notes / "open").touch()
    for each in waits:
        each.get(timeout=20)


def test_every_command(shared: Cluster, typed: Typed, running: list[str]) -> None:
    for name, *words in (
        ("add_consumer", "more", "3"),
        ("cancel_consumer", "more"),
        ("pool_grow",),
        ("pool_shrink", "1"),
        ("pool_restart",),
        ("time_limit", "t.nap", "20", "40"),
        ("enable_events",),
        ("disable_events",),
        ("heartbeat",),
        ("say", "a", "b"),
    ):
        told = said(typed, "control", name, *words)
        assert all(list(value) == ["ok"] for value in told.values()), (name, told)
    assert typed("control", "say", "-d", IDLE, *PATIENTLY)[:2] == (1, {IDLE: {"error": "LookupError: no words"}})
    code, told, _ = typed("control", "autoscale", "4", "2", "-d", IDLE, *PATIENTLY)
    assert (code, list(told[IDLE])) == (1, ["error"]), "it was not started with autoscale"
    assert typed("control", "rate_limit", "t.text", "100/s")[0] == 0
    assert typed("control", "rate_limit", "t.text", "0")[0] == 0
    idle = [shared.app.send_task("t.add", (1, 1), queue="nobody") for _ in range(3)]
    stamped: Any = shared.app.signature("t.add", args=(1, 1), queue="nobody")
    stamped.stamp(customer="17")
    stamped.delay()
    assert typed("control", "revoke", idle[0].id)[:2] == (0, {"revoked": 1, "unknown": []})
    assert typed("control", "terminate", "KILL", idle[1].id)[1]["revoked"] == 1
    assert typed("control", "revoke_by_stamped_headers", "customer=17", "--yes")[:2] == (0, {"revoked": 1})
    assert typed("control", "purge", "nobody", "--yes")[0] == 0
    assert idle[2].state == "REVOKED"
    listed = {each.name: each.workers for each in shared.app.control.commands()}
    assert listed["ping"] == ()
    assert {BUSY, IDLE} <= set(listed["times"])
    assert typed("control", "shutdown", "-d", IDLE, *PATIENTLY)[1] == {IDLE: {"ok": "shutting down"}}
    assert shared.workers.pop(IDLE).popen.wait(LIMIT) == 0


def assert_one_is_silent(typed: Typed) -> None:
    """Asks both workers of which one is stopped; the other one may need longer on a busy machine."""
    for seconds in (0.3, 3.0, 30.0):
        began = time.monotonic()
        code, told, stderr = typed("inspect", "active_queues", "-t", str(seconds), *BOTH)
        assert time.monotonic() - began >= seconds
        if told:
            assert (code, list(told), f"{IDLE}: NO REPLY" in stderr) == (0, [BUSY], True)
            return
    pytest.fail("nobody answered")


def test_targets_and_those_who_do_not_answer(shared: Cluster, typed: Typed, running: list[str]) -> None:
    assert list(typed("inspect", "ping", "--label", "zone=eu", *PATIENTLY)[1]) == [BUSY]
    assert list(typed("inspect", "ping", "--queue", "idle", *PATIENTLY)[1]) == [IDLE]
    assert set(typed("inspect", "ping", "--pattern", "*[!0-9]1", "--pattern", "none", *PATIENTLY)[1]) >= {BUSY, IDLE}
    assert list(typed("inspect", "ping", "--regex", "--pattern", "idle[0-9]", *PATIENTLY)[1]) == [IDLE]
    code, _, stderr = typed("inspect", "ping", "-d", "buzy1")
    assert (code, f"did you mean {BUSY}?" in stderr) == (69, True)
    code, _, stderr = typed("inspect", "pong")
    assert (code, "Did you mean 'ping'?" in stderr) == (2, True)
    code, _, stderr = typed("inspect", "times", "x", "-d", IDLE)
    assert (code, "not a valid integer" in stderr) == (2, True)
    worker = shared.workers[IDLE]
    worker.send(signal.SIGSTOP)
    try:
        assert_one_is_silent(typed)
        assert typed("inspect", "ping", "-t", "0.1", "-d", IDLE)[0] == 69
    finally:
        worker.send(signal.SIGCONT)
    assert typed("inspect", "ping", "-t", "40", "-d", IDLE)[0] == 0
