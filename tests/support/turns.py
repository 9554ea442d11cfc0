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

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Run beside others that run together, and never while one is alone."""
        with contextlib.ExitStack() as room:
            with _locked(self._door, fcntl.LOCK_EX):
                room.enter_context(_locked(self._room, fcntl.LOCK_SH))
            yield

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Run once all others are done; who comes meanwhile waits at the door, so that nobody overtakes for ever."""
        with _locked(self._door, fcntl.LOCK_EX), _locked(self._room, fcntl.LOCK_EX):
            yield


@contextlib.contextmanager
def _locked(path: Path, kind: int) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, kind)  # bounded by the time limits of the tests that hold it
        yield
