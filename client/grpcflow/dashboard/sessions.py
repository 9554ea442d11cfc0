"""Who is logged in: sessions kept here, of which a browser has a random name and nothing else. Pure but for randomness.

What a browser shows is looked up by its hash, so that how long the look takes tells nothing about the names that there
are. It may not ask anybody.
"""

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from grpcflow.dashboard.link import Link

__all__ = ["MOST", "Attempts", "Session", "Sessions"]

#: Sessions that are kept; beyond them the one that was used longest ago ends.
MOST: Final = 10_000
#: Failed logins of one address, or of all, that are let through within a minute.
_FROM_ONE: Final = 10
_FROM_ALL: Final = 100
_MINUTE: Final = 60.0


@dataclass(slots=True)
class Session:
    """Somebody who was let in.

    Attributes:
        name: Who, for people; "": nobody asked.
        kind: How: ``token``, ``proxy`` or ``open``.
        may: What is allowed: some of ``inspect``, ``control``, ``submit``, ``admin``.
        link: Where the cluster is asked.
        csrf: What each action has to bear, so that no other page can have it done.
        used: When it was last used, by the monotonic clock.
    """

    name: str
    kind: str
    may: frozenset[str]
    link: "Link"
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    used: float = 0.0

    def has_csrf(self, said: str) -> bool:
        """Return whether an action bears what it has to; takes the same time whatever was said."""
        return hmac.compare_digest(said.encode(), self.csrf.encode())


class Sessions:
    """The sessions; used from one event loop, and safe for threads.

    Args:
        lasting: Seconds that one holds without being used.
        now: The monotonic clock.
    """

    def __init__(self, lasting: float, now: Callable[[], float] = time.monotonic) -> None:
        self._lasting = lasting
        self._now = now
        self._lock = threading.Lock()
        self._kept: OrderedDict[bytes, Session] = OrderedDict()

    def open(self, session: Session) -> str:
        """Keep a session and return its name for the browser."""
        name = secrets.token_urlsafe(32)
        session.used = self._now()
        with self._lock:
            self._kept[_hash(name)] = session
            self._forget()
        return name

    def find(self, name: str) -> Session | None:
        """Return the session of a browser; None: there is none, or it was not used for too long."""
        key = _hash(name)
        with self._lock:
            self._forget()
            session = self._kept.get(key)
            if session is not None:
                session.used = self._now()
                self._kept.move_to_end(key)
            return session

    def close(self, name: str) -> None:
        """End a session."""
        with self._lock:
            self._kept.pop(_hash(name), None)

    def links(self) -> "set[Link]":
        """Return where the sessions that there are ask."""
        with self._lock:
            self._forget()
            return {session.link for session in self._kept.values()}

    def _forget(self) -> None:
        """End what is over; the lock is held."""
        until = self._now() - self._lasting
        while self._kept:
            session = next(iter(self._kept.values()))
            if session.used > until and len(self._kept) <= MOST:
                return
            self._kept.popitem(last=False)


class Attempts:
    """Counts failed logins, so that nobody tries tokens by the thousand.

    Args:
        now: The monotonic clock.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._failed: list[tuple[float, str]] = []

    def may_try(self, peer: str) -> bool:
        """Return whether an address may try now."""
        since = self._now() - _MINUTE
        self._failed = [one for one in self._failed if one[0] > since]
        return len(self._failed) < _FROM_ALL and sum(who == peer for _, who in self._failed) < _FROM_ONE

    def failed(self, peer: str) -> None:
        """Note that one failed."""
        self._failed.append((self._now(), peer))


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
