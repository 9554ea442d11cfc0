"""A test that takes too long is found out by the thread that watches all of them."""

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_timeout  # type: ignore[import-untyped]
from tests.support import time_limits


def test_of_two_tests_the_one_that_is_too_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Any] = []
    told = threading.Event()

    def note(item: object, settings: object) -> None:
        found.append((item, settings))
        told.set()

    monkeypatch.setattr(pytest_timeout, "timeout_timer", note)
    monkeypatch.setattr(time_limits, "LOOKS_EACH_SECONDS", 0.001)
    first, second = (SimpleNamespace(method="thread", timeout=seconds) for seconds in (3_600, 0.02))
    limits: Any = time_limits.TimeLimits()
    assert limits.pytest_timeout_set_timer("in time", first)
    limits.pytest_timeout_cancel_timer()
    assert limits.pytest_timeout_set_timer("too long", second)
    assert told.wait(20)
    limits.end()
    assert found[0] == ("too long", second)


def test_one_that_asks_for_a_signal_is_left_to_the_plugin() -> None:
    limits: Any = time_limits.TimeLimits()
    assert limits.pytest_timeout_set_timer("item", SimpleNamespace(method="signal", timeout=1)) is None
