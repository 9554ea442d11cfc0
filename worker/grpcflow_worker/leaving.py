"""What each signal of the operating system means to a worker, after those that came before it.

    working --TERM, INT, HUP--> warm --TERM, INT, QUIT--> [soft] --any of them--> cold
       +----------------------QUIT-------------------------^

*Warm* finishes what runs, however long that takes; *soft*, where the app asks for it, for a bounded time; *cold* stops
at once. A state machine without I/O: this file may NOT install handlers, read a clock or log.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from enum import Enum
from typing import Final

#: The environment variable that makes SIGTERM mean what SIGQUIT means; its only value is "SIGQUIT".
REMAP: Final = "REMAP_SIGTERM"

_TERM: Final = int(signal.SIGTERM)
_INT: Final = int(signal.SIGINT)
_QUIT: Final = int(getattr(signal, "SIGQUIT", 0))
_HUP: Final = int(getattr(signal, "SIGHUP", 0))

#: The signals that tell a worker to leave, as far as this platform has them.
SIGNALS: Final = tuple(number for number in (_TERM, _INT, _QUIT, _HUP) if number)


class Step(Enum):
    """How far a worker is on its way out."""

    WORKING = "working"
    WARM = "warm"
    SOFT = "soft"
    COLD = "cold"


class Leaving:
    """The way out of one worker.

    Args:
        environment: read is ``REMAP_SIGTERM``.
        terminal: True: it runs in a terminal, whose end sends SIGHUP too: then that is no wish for a restart.
    """

    def __init__(self, environment: Mapping[str, str], *, terminal: bool = False) -> None:
        self.step = Step.WORKING
        #: True where the worker is to start anew once it has ended.
        self.restarts = False
        #: Seconds that what runs gets before it is stopped; 0: none.
        self.soft_seconds = 0.0
        self._hurried = {_QUIT, _TERM} if environment.get(REMAP) == "SIGQUIT" else {_QUIT}
        self._terminal = terminal

    def hear(self, number: int) -> Step | None:
        """Take a signal; returns the step that it leads to, None where it changes nothing.

        Args:
            number: one of ``SIGNALS``.
        """
        if number == _HUP:
            if self.step is not Step.WORKING:
                return None
            self.restarts = not self._terminal
            return self._go(Step.WARM)
        self.restarts = False
        match self.step:
            case Step.WORKING if number not in self._hurried:
                return self._go(Step.WARM)
            case Step.WORKING | Step.WARM:
                return self._go(Step.SOFT if self.soft_seconds else Step.COLD)
            case Step.SOFT:
                return self._go(Step.COLD)
            case _:
                return None

    def restart(self) -> None:
        """Leave warm and start anew, as SIGHUP says; nothing where it leaves already."""
        if self.step is Step.WORKING:
            self.restarts = True
            self._go(Step.WARM)

    def _go(self, step: Step) -> Step:
        self.step = step
        return step
