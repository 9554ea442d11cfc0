"""The time limits of tests, kept by one thread for all of them. May not know how long any test may take.

pytest-timeout starts a thread for each test, and waits for its end: two thirds of a millisecond of a CPU, and that six
thousand times.
"""

from __future__ import annotations

import threading
import time

import pytest
import pytest_timeout  # type: ignore[import-untyped]

#: How late a test may be found out.
LOOKS_EACH_SECONDS = 0.5


class TimeLimits:
    """A plugin that stands in for the timers of pytest-timeout; what happens to a test that is too long is as there."""

    def __init__(self) -> None:
        #: The test that runs, its settings, and when it must be over by the monotonic clock.
        self._watched: tuple[pytest.Item, pytest_timeout.Settings, float] | None = None
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @pytest.hookimpl
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: pytest_timeout.Settings) -> bool | None:
        """Begin to watch a test; one that asks for a signal is left to pytest-timeout."""
        if settings.method != "thread":
            return None
        self._watched = (item, settings, time.monotonic() + settings.timeout)
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="time limits of tests", daemon=True)
            self._thread.start()
        return True

    @pytest.hookimpl
    def pytest_timeout_cancel_timer(self) -> None:
        """Watch no longer; pytest-timeout ends a timer of its own, where there is one."""
        self._watched = None

    def end(self) -> None:
        """End the thread; the session is over."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOKS_EACH_SECONDS):
            watched = self._watched
            if watched is not None and time.monotonic() > watched[2]:
                pytest_timeout.timeout_timer(*watched[:2])
