"""Turns between the sessions of tests that run side by side: a test that measures runs while no other does.

Locks on two files in a folder that the sessions share. May know nothing about the tests themselves.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


class Turns:
    """Takes turns with the other processes that name the same folder; a process that dies gives its turn back."""

    def __init__(self, folder: Path) -> None:
        self._door = folder / "door.lock"
        self._room = folder / "room.lock"
        #: Both locks, while this process is alone.
        self._alone = contextlib.ExitStack()
        self._is_alone = False

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Run beside others that run together, and never while one is alone."""
        self.end_alone()
        with contextlib.ExitStack() as room:
            with _locked(self._door, fcntl.LOCK_EX):
                room.enter_context(_locked(self._room, fcntl.LOCK_SH))
            yield

    @contextlib.contextmanager
    def alone(self, *, goes_on: bool) -> Iterator[None]:
        """Run once all others are done; who comes meanwhile waits at the door, so that nobody overtakes for ever.

        Args:
            goes_on: True: the turn is kept for the next call, since to begin another one all others would be awaited.
        """
        if not self._is_alone:
            self._alone.enter_context(_locked(self._door, fcntl.LOCK_EX))
            self._alone.enter_context(_locked(self._room, fcntl.LOCK_EX))
            self._is_alone = True
        try:
            yield
        finally:
            if not goes_on:
                self.end_alone()

    def end_alone(self) -> None:
        """Give a turn back that was kept; without one this does nothing."""
        self._alone.close()
        self._is_alone = False


@contextlib.contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, kind)  # bounded by the time limits of the tests that hold it
        yield
