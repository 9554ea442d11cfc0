"""The network: connections from a worker or a client to the coordinator, each with two directions and their delays.

Within a direction order holds, as on a TCP stream; between connections it does not. A connection may break, so that
what is on its way is lost and each end hears of it in its own time; or fall silent, so that nothing gets through until
it is mended and then all of it does.

May NOT look into messages.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Final

from tests.simulation.clockwork import Clockwork, Process

#: Seconds that a message takes at most where all is well, and where the network is slow.
_QUICK: Final = 0.004
_SLOW: Final = 1.5


class Network:
    """What connects the processes.

    Args:
        clockwork: The time.
        rng: Draws the delays.
    """

    def __init__(self, clockwork: Clockwork, rng: random.Random) -> None:
        self.clockwork = clockwork
        self._rng = rng
        self.slow_until = 0.0

    def delay(self) -> float:
        """Draw how long a message takes."""
        most = _SLOW if self.clockwork.now < self.slow_until and self._rng.random() < 0.3 else _QUICK
        return self._rng.random() * most


class Connection:
    """One connection; opened by its near end.

    Args:
        network: What carries it.
        near: The worker or client.
        far: The coordinator, as it is now: its successor after a crash is another process.
        take: Called at the near end with each message.
        lost: Called at the near end once it hears that the connection broke.
    """

    def __init__(
        self,
        network: Network,
        near: Process,
        far: Process,
        take: Callable[[Any], None],
        lost: Callable[[], None],
    ) -> None:
        self._network = network
        self.near, self.far = near, far
        self._take, self._lost = take, lost
        #: What the far end does with messages, and when it hears of the end; set where it accepts.
        self.taken: Callable[[Any], None] | None = None
        self.ended: Callable[[], None] | None = None
        self.is_open = True
        self._near_told = self._far_told = False
        self._last_out = self._last_in = 0.0
        self._silent_until = 0.0

    def silence(self, seconds: float) -> None:
        """Let nothing through for so long."""
        self._silent_until = self._network.clockwork.now + seconds

    def mend(self) -> None:
        """Let everything through again, from now on."""
        self._silent_until = 0.0

    def _arrival(self, last: float) -> float:
        now = self._network.clockwork.now
        return max(last, self._silent_until, now + self._network.delay())

    def send_out(self, message: Any) -> None:
        """Send from the near end to the far one."""
        self._last_out = self._arrival(self._last_out)
        self._network.clockwork.at(self._last_out, self.far, self._arrive_out, message)

    def send_in(self, message: Any) -> None:
        """Send from the far end to the near one."""
        self._last_in = self._arrival(self._last_in)
        self._network.clockwork.at(self._last_in, self.near, self._arrive_in, message)

    def _arrive_out(self, message: Any) -> None:
        if self.is_open and self.taken is not None:
            self.taken(message)

    def _arrive_in(self, message: Any) -> None:
        if self.is_open and not self._near_told:
            self._take(message)

    def finish(self) -> None:
        """End it from the far end, behind what it has sent: the near end hears of it in order."""
        self._far_told = True
        self._last_in = self._arrival(self._last_in)
        self._network.clockwork.at(self._last_in, self.near, self._tell_near)

    def close(self) -> None:
        """End it from the near end, behind what it has sent."""
        self._near_told = True
        self._last_out = self._arrival(self._last_out)
        self._network.clockwork.at(self._last_out, self.far, self._tell_far)

    def tear(self, *, tells_far: bool = True) -> None:
        """Break it: what is on its way is lost.

        Args:
            tells_far: False: the far end hears nothing, as where a host loses its power.
        """
        if not self.is_open:
            return
        self.is_open = False
        clockwork, network = self._network.clockwork, self._network
        clockwork.at(clockwork.now + network.delay(), self.near, self._tell_near)
        if tells_far:
            clockwork.at(clockwork.now + network.delay(), self.far, self._tell_far)

    def _tell_near(self) -> None:
        self.is_open = False
        if not self._near_told:
            self._near_told = True
            self._lost()

    def _tell_far(self) -> None:
        self.is_open = False
        if not self._far_told:
            self._far_told = True
            if self.ended is not None:
                self.ended()
