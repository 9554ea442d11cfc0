"""What keeps a session's link open: one driver reads it, and opens another where it breaks.

Then everything that is still open is asked for again: the same submissions, and what is missing of the watches. Who
waits looks after the link. What comes in, and what is asked, is the session's affair. Written once for threads and for
event loops, as ``session``; this file may neither block nor know a loop.
"""

import copy
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import grpc

from grpcflow import errors, forking, statuses
from grpcflow.channels import PLAIN, Door
from grpcflow.guards import Lock, Pause
from grpcflow.link import Link, Received
from grpcflow.retry_policy import RetryPolicy
from grpcflow.submission import Submissions
from grpcflow.waiters import Waiters
from grpcflow.watches import watches

__all__ = ["Driven"]

_log: Final = logging.getLogger("grpcflow.connection")

#: Seconds of silence after which the coordinator is asked for a sign of life, and how long it has for it.
_SILENCE: Final = 5.0
_PROBE_TIME: Final = 5.0
#: Seconds between two looks at a link that is about to change.
_LOOK: Final = 0.5
#: Seconds between two warnings about the same outage.
_WARN_EVERY: Final = 30.0
#: Seconds before a link that had worked is opened again.
_AGAIN: Final = 0.05


class Driven(ABC):
    """The link of one session and what is open over it; parameters as for ``Session``."""

    _changed: Lock
    _pause: Pause

    def __init__(
        self, addresses: Sequence[str], policy: RetryPolicy, connect_timeout: float, version: str, door: Door = PLAIN
    ) -> None:
        self.addresses, self.policy, self._door = tuple(addresses), policy, door
        self._connect_timeout, self._version = connect_timeout, version
        self._submissions = Submissions()
        self._waiters = Waiters()
        self._opened = 0
        self._failures = 0
        self._last_fault = ""
        #: What the coordinator said where it refused the last link; None: that ended otherwise, or is open.
        self._refusal: errors.GrpcflowError | None = None
        self._warned_at = 0.0
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        """Set everything that a new process starts without."""
        self._link: Link | None = None
        self._driven = False
        self._resting = False
        self._borrowed = 0

    @abstractmethod
    def _new_link(self, address: str) -> Link:
        """Open a link."""

    @abstractmethod
    def _begin_driving(self) -> None:
        """Have ``_drive`` run beside whatever else goes on. Lock held."""

    @abstractmethod
    async def _wait_for_change(self, seconds: float) -> None:
        """Wait until something of the session has changed, or the time is over. Lock held."""

    @abstractmethod
    def _receive(self, link: Link, received: Received) -> None:
        """Take one message of the coordinator. The driver."""

    # --- the link -----------------------------------------------------------------------------------------

    @asynccontextmanager
    async def lend(self, deadline: float) -> AsyncIterator[Link]:
        """Lend an open link for one call; the link may break meanwhile, and the call with it.

        Args:
            deadline: Monotonic time to give up at.

        Raises:
            CoordinatorUnavailable: No link could be opened until then, or the connection is closed.
        """
        with self._changed:
            self._ensure_link()
            while self._link is None:
                self._pause.set()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self.unavailable()
                await self._wait_for_change(min(left, _LOOK))
                self._ensure_link()
            link = self._link
            self._borrowed += 1
        changed = self._changed
        try:
            yield link
        finally:
            del link
            with changed:
                if changed is self._changed:  # else: this is a forked child now, which counts anew
                    self._borrowed -= 1
                    changed.notify_all()

    def lost(self) -> errors.GrpcflowError:
        """Return the error of a call whose link has ended: why the coordinator refused it, or that it is not there."""
        return self.unavailable() if self._refusal is None else copy.copy(self._refusal)

    def unavailable(self) -> errors.CoordinatorUnavailable:
        """Return the error that names the address and what went wrong."""
        fault = f": {self._last_fault}" if self._last_fault else ""
        message = (
            f"{self._where()} cannot be reached{fault}. Start one with grpcflow-coordinator, "
            "or name its address in GRPCFLOW_COORDINATOR or app.conf.coordinator"
        )
        return errors.CoordinatorUnavailable(message)

    def _unacknowledged(self) -> errors.TimeoutError:
        """Return what is said where a graph was sent and not answered."""
        return errors.TimeoutError(
            f"{self._where()} did not acknowledge a graph in time; it may have it all the same: "
            "submitting the same chunks again is the same submission"
        )

    def _where(self) -> str:
        return f"the coordinator at {', '.join(self.addresses)}"

    def look_after_link(self) -> float:
        """Open, probe or end the link where that is due; return the seconds until the next look."""
        with self._changed:
            self._ensure_link()
            link = self._link
            if link is None:
                return _LOOK
            now = time.monotonic()
            if link.welcome is None:
                if now < link.welcome_by:
                    return min(link.welcome_by - now, _SILENCE) + 0.001
                link.abort(f"no welcome within {self._connect_timeout:g} s")
                return _LOOK
            if link.probe is not None:
                link.judge()
                return _LOOK
            quiet = now - link.heard
            if quiet < _SILENCE:
                return _SILENCE - quiet + 0.001
            link.ask(_PROBE_TIME)
            return _LOOK

    def _ensure_link(self) -> bool:
        """Open a link where there is none and nobody is about to; False where there is none yet. Lock held.

        Raises:
            CoordinatorUnavailable: The connection is closed.
            ForkedEventLoop: This process was forked while an event loop was connected.
        """
        if self._closed:
            message = "the connection was closed"
            raise errors.CoordinatorUnavailable(message)
        forking.check_usable()
        if self._link is not None:
            return True
        if self._resting:
            return False
        if self._driven:
            return False
        # What this opens sends everything that is open, the caller's own included.
        self._open()
        self._driven = True
        self._begin_driving()
        return False

    # --- the driver ---------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Open a link to the next address and ask for all that is open. Lock held."""
        address = self.addresses[self._opened % len(self.addresses)]
        self._opened += 1
        link = self._new_link(address)
        for submission in self._submissions:
            link.send(*submission.pieces)
        for waiter in self._waiters:
            link.send(*watches(waiter))
        self._link = link
        self._changed.notify_all()

    async def _drive(self) -> None:
        """Read links, one after the other, for as long as anything is open. The driver."""
        while True:
            with self._changed:
                link = self._link
            if link is None:
                return
            error = await link.read(self._receive)
            await link.close()
            with self._changed:
                self._link = None
                delay = self._link_ended(link, error)
                del link, error
                if delay is None:
                    self._driven = False
                    self._changed.notify_all()
                    return
                pause = self._pause
                pause.clear()
            await pause.rest(delay)
            with self._changed:
                if not self._goes_on():
                    self._driven = False
                    self._changed.notify_all()
                    return
                self._open()

    def _goes_on(self) -> bool:
        return not (self._closed or self._resting) and bool(self._submissions or len(self._waiters))

    def _link_ended(self, link: Link, error: grpc.RpcError | None) -> float | None:
        """Decide what a broken link means; return the seconds until the next one, or None for no next one."""
        if self._closed or self._resting:
            return None
        self._last_fault = link.describe(error)
        later = None if error is None or link.fault else statuses.retry_after(error)
        if error is not None and later is None and not link.fault and not statuses.is_passing(error):
            self._refusal = statuses.error_of_call(error)
            self._fail_all(self._refusal)
            return None
        self._refusal = None  # it may be another coordinator by now, or one with other tokens
        worked = link.welcome is not None
        self._failures = 0 if worked else self._failures + 1
        self._submissions.link_ended(worked, self.policy, len(self.addresses), self.unavailable)
        if not self._goes_on():
            return None
        self._warn()
        if later is not None:
            return self.policy.spread(later)
        return _AGAIN if worked else self.policy.delay(self._failures)

    def _warn(self) -> None:
        """Say once in a while what is waited for while the coordinator is away."""
        now = time.monotonic()
        if len(self._waiters) == 0 or now - self._warned_at < _WARN_EVERY:
            return
        self._warned_at = now
        missing = sum(waiter.missing_count() for waiter in self._waiters)
        _log.warning("%s is lost (%s); still waiting for %d results", self._where(), self._last_fault, missing)

    def _fail_all(self, error: Exception) -> None:
        self._submissions.fail_all(error)
        for waiter in self._waiters:
            waiter.finish(error)

    def _stop_link(self, fault: str) -> None:
        """End the link and wake the driver. Lock held."""
        if self._link is not None:
            self._link.abort(fault)
        self._pause.set()
        self._changed.notify_all()
