"""What a service manager hears, over a socket such as systemd listens at."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from grpcflow_protos.service_manager import ServiceManager


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """Listens as a service manager does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "n"))
        bound.setblocking(False)
        yield bound


def heard(listener: socket.socket) -> list[str]:
    """Returns what was told and not yet heard."""
    told = []
    while True:
        try:
            told.append(listener.recv(4_096).decode())
        except BlockingIOError:
            return told


def test_ready_alive_status_and_stopping_are_told_each_as_one_message(listener: socket.socket) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": listener.getsockname(), "WATCHDOG_USEC": "3000000"})
    assert manager.listens
    assert manager.watchdog_seconds == 1.5
    manager.ready("serving")
    manager.alive()
    manager.status("serving")  # nothing new
    manager.status("two\nlines\tand  é")
    manager.stopping("bye")
    told = ["READY=1\nSTATUS=serving", "WATCHDOG=1", "STATUS=two lines and é", "STOPPING=1\nSTATUS=bye"]
    assert heard(listener) == told


def test_an_abstract_socket_is_one_that_begins_with_an_at_sign() -> None:
    name = f"grpcflow-{os.urandom(6).hex()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(f"\0{name}")
        bound.setblocking(False)
        ServiceManager({"NOTIFY_SOCKET": f"@{name}"}).ready("up")
        assert heard(bound) == ["READY=1\nSTATUS=up"]


@pytest.mark.parametrize(
    "environment", [{}, {"WATCHDOG_USEC": "5"}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "", "WATCHDOG_USEC": "5"}]
)
def test_where_nobody_listens_nothing_is_told(environment: dict[str, str]) -> None:
    manager = ServiceManager(environment)
    manager.ready("up")
    manager.alive()
    assert not manager.listens
    assert manager.watchdog_seconds == 0


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("2000000", None, 1.0),
        ("2000000", "1", 0.0),
        ("x", None, 0.0),
        ("-5", None, 0.0),
        ("", None, 0.0),
        ("٣", None, 0),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_it_wants_and_only_where_it_means_this_process(
    listener: socket.socket, usec: str, pid: str | None, seconds: float
) -> None:
    environment = {"NOTIFY_SOCKET": listener.getsockname(), "WATCHDOG_USEC": usec}
    manager = ServiceManager(environment | {"WATCHDOG_PID": pid or str(os.getpid())})
    assert manager.watchdog_seconds == seconds
    manager.alive()
    assert heard(listener) == (["WATCHDOG=1"] if seconds else [])


def test_a_manager_that_is_gone_is_named_once_in_the_log_and_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    manager.ready("up")
    manager.status("later")
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "$NOTIFY_SOCKET" in caplog.text
    assert not manager.listens
