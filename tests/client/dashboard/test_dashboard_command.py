"""`grpcflow dashboard` as a command: what it refuses, and the real thing once, with a socket, news and a signal."""

import contextlib
import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.coordinator.security.token_files import give

from grpcflow import Grpcflow
from grpcflow.cli import main
from grpcflow.connection import Connection
from grpcflow.credentials import Credentials
from grpcflow.dashboard.permissions import asks_for_token, permissions
from grpcflow.errors import RequestFailed
from grpcflow.testing import Cluster
from grpcflow_coordinator.security.token_file import Role

WAIT = 30.0


# --- what it refuses ---------------------------------------------------------------------------------------


def test_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "uvicorn" else found(name))
    assert main(["dashboard"]) == 78
    assert "pip install 'grpcflow[dashboard]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--listen", "8551"], "HOST:PORT"),
        (["--certificate", "c.pem"], "--key"),
        (["--certificate", "nowhere.pem", "--key", "nowhere.key"], "cannot be used"),
        (["--proxy", "there"], "10.1.0.0/16"),
        (["--proxy-role", "admin"], "inspect"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["dashboard", *words]) != 0
    assert told in capsys.readouterr().err


def test_an_address_that_is_taken_is_refused_with_a_cure(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["dashboard", "--listen", f"127.0.0.1:{taken.getsockname()[1]}"]) == 78
    assert "Choose another with --listen" in capsys.readouterr().err


# --- what a real coordinator says of tokens ----------------------------------------------------------------


def test_what_a_token_may_is_found_out_and_nothing_is_changed(tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    every = (Role.SUBMIT, Role.WORK, Role.INSPECT, Role.CONTROL, Role.ADMIN)
    tokens = {role.value: give(file, [role], name=role.value) for role in every}
    with Cluster(Grpcflow("x", set_as_current=False), concurrency=0, coordinator={"tokens": str(file)}) as cluster:

        def asked(token: str) -> Any:
            return contextlib.closing(Connection([cluster.address], credentials=Credentials(token=token)))

        expected = {"submit": {"submit"}, "work": set(), "inspect": {"inspect"}, "control": {"inspect", "control"}}
        expected["admin"] = {"inspect", "control", "submit", "admin"}
        for role, may in expected.items():
            with asked(tokens[role]) as connection:
                assert permissions(connection) == may, role
        with asked("wrong") as connection, pytest.raises(RequestFailed) as refused:
            permissions(connection)
        assert refused.value.code == "TOKEN_WRONG"
        with asked("") as connection:
            assert asks_for_token(connection)


# --- the real thing ----------------------------------------------------------------------------------------

app = Grpcflow("dashboard", set_as_current=False)


@app.task(name="dashboard.add")
def add(x: int, y: int) -> int:
    return x + y


@pytest.fixture
def served() -> Iterator[tuple[Cluster, subprocess.Popen[str], http.client.HTTPConnection]]:
    """A cluster in this process, and a dashboard of it in another."""
    with Cluster(app, queues=["default"]) as cluster:
        words = ["dashboard", "--listen", "127.0.0.1:0", "--coordinator", cluster.address]
        program = f"import sys; from grpcflow.cli import main; sys.exit(main({words!r}))"
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("GRPCFLOW_")}
        process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True, env=surroundings)
        assert process.stderr is not None
        try:
            line = process.stderr.readline()
            assert line.startswith("Dashboard: http://127.0.0.1:"), line + process.stderr.read()
            port = int(line.rstrip().rstrip("/").rpartition(":")[2])
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT)) as asks:
                yield cluster, process, asks
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=WAIT)


def test_a_browser_gets_the_page_news_of_it_and_an_end(
    served: tuple[Cluster, subprocess.Popen[str], http.client.HTTPConnection],
) -> None:
    _, process, asks = served
    asks.request("GET", "/")
    page = asks.getresponse()
    cookie = (page.getheader("set-cookie") or "").partition(";")[0]
    assert (page.status, b"<main" in page.read()) == (200, True)
    assert page.getheader("server") is None
    add.delay(1, 2).get(timeout=WAIT)
    asks.request("GET", "/api/live/overview?range=5m", headers={"Cookie": cookie})
    stream = asks.getresponse()
    assert stream.getheader("content-type", "").startswith("text/event-stream")
    shown: dict[str, Any] = {}
    for line in stream:
        shown = json.loads(line[6:]) if line.startswith(b'data: {"at') else {}
        if shown and shown["asked"] and shown["latency"]["run"][0] and shown["workers"]:
            break
    assert shown["summary"]["workers"] == {"live": 1}
    process.send_signal(signal.SIGTERM)
    assert b"event: over" in stream.read(), "who watches is told that it ends"
    assert process.wait(timeout=WAIT) == 0
