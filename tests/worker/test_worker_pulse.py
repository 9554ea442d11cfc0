"""What the service manager hears of a worker, and its log as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grpcflow_protos.service_manager import ServiceManager
from grpcflow_worker import pulse
from grpcflow_worker.__main__ import log_options
from grpcflow_worker.config import build_config
from grpcflow_worker.leaving import Leaving, Step
from grpcflow_worker.lines import JsonLineFormatter, LineFormatter, LogOptions, formatter_of
from grpcflow_worker.printed import PRINTED_BY
from grpcflow_worker.service_options import build_service_options


class Heard(ServiceManager):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__({})
        self.told: list[str] = []
        self._address = "there"

    def _send(self, text: str) -> None:
        self.told.append(text)


def worker(**given: Any) -> Any:
    """Returns what a pulse looks at."""
    session = SimpleNamespace(streams=0, draining=False, open=0)
    return SimpleNamespace(leaving=Leaving({}), session=session, **given)


def test_a_worker_is_ready_once_the_coordinator_has_welcomed_it() -> None:
    manager, looked_at = Heard(), worker()
    beating = pulse.Pulse(manager, looked_at)
    session, looked_at.session = looked_at.session, None
    beating.look()
    looked_at.session = session
    beating.look()
    assert manager.told == []
    session.streams = 1
    beating.look()
    beating.look()
    session.open = 1
    beating.look()
    assert manager.told == ["READY=1\nSTATUS=holds 0 tasks", "STATUS=holds 1 task"]


@pytest.mark.parametrize("by", ["signal", "command"])
def test_a_worker_that_leaves_says_so_once_and_then_how_much_there_is_to_do(by: str) -> None:
    manager, looked_at = Heard(), worker()
    looked_at.session.streams, looked_at.session.open = 1, 2
    beating = pulse.Pulse(manager, looked_at)
    beating.look()
    if by == "signal":
        looked_at.leaving.step = Step.WARM
    else:
        looked_at.session.draining = True
    beating.look()
    looked_at.session.open = 1
    beating.look()
    assert manager.told[1:] == ["STOPPING=1\nSTATUS=finishing 2 tasks", "STATUS=finishing 1 task"]


def test_a_worker_that_starts_anew_does_not_say_that_it_stops_unless_it_is_told_to_after_all() -> None:
    manager, looked_at = Heard(), worker()
    looked_at.session.streams, looked_at.session.open = 1, 2
    beating = pulse.Pulse(manager, looked_at)
    beating.look()
    looked_at.leaving.step, looked_at.leaving.restarts = Step.WARM, True
    beating.look()
    looked_at.session.open = 1
    beating.look()
    looked_at.leaving.restarts = False  # a second signal
    beating.look()
    reloading = re.sub("(?<=MONOTONIC_USEC=)[1-9][0-9]+", "N", manager.told[1])
    assert reloading == "RELOADING=1\nMONOTONIC_USEC=N\nSTATUS=finishing 2 tasks"
    assert manager.told[2:] == ["STATUS=finishing 1 task", "STOPPING=1\nSTATUS=finishing 1 task"]


async def test_it_looks_as_often_as_the_watchdog_wants_and_once_more_at_the_end() -> None:
    manager, looked_at = Heard(), worker()
    manager.watchdog_seconds = 0.001
    looked_at.session.streams = 1
    async with asyncio.timeout(40), pulse.told_to(manager, looked_at):
        while manager.told.count("WATCHDOG=1") < 3:
            await asyncio.sleep(0)
        looked_at.leaving.step = Step.COLD
    assert "STOPPING=1\nSTATUS=finishing 0 tasks" in manager.told


async def test_where_nobody_listens_nothing_is_done() -> None:
    async with pulse.told_to(ServiceManager({}), worker()):
        assert len(asyncio.all_tasks()) == 1


def record(**given: Any) -> logging.LogRecord:
    """Returns a record."""
    return logging.getLogger("grpcflow.worker").makeRecord("x", logging.INFO, "f", 1, "said", (), None, extra=given)


def test_a_line_as_json_has_the_worker_and_the_task_that_printed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    formatter = formatter_of(LogOptions("INFO", "w1@h", as_json=True), {"worker_log_format": "%(message)s"})
    assert isinstance(formatter, JsonLineFormatter)
    found = json.loads(formatter.format(record()))
    assert (found["service"], found["worker"], found["message"]) == ("worker", "w1@h", "said")
    assert "task_id" not in found
    monkeypatch.setattr(LineFormatter, "index", 3)
    found = json.loads(formatter.format(record(**{PRINTED_BY: ("proj.add", "id-1")})))
    assert (found["task_name"], found["task_id"], found["child"]) == ("proj.add", "id-1", 3)
    assert isinstance(formatter_of(LogOptions("INFO", "w1"), {}), LineFormatter)


def test_the_option_reaches_the_log_of_the_worker_and_of_its_children(tmp_path: Path) -> None:
    service = build_service_options("w", log_format="json", logfile=str(tmp_path / "log"))
    options = log_options(build_config(app=None, name="w", service=service))
    assert options == LogOptions("INFO", "w", str(tmp_path / "log"), None, as_json=True)
