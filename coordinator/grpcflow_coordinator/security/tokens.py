"""Tokens: who a caller is, and what it may do. Read from a file that changes while the coordinator runs.

What logs name of a token is its id, which is no secret. Nothing here may log or raise a secret.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import msgspec

from grpcflow_coordinator.errors import ConfigurationError, Refusal
from grpcflow_coordinator.security.token_file import PREFIX, Role, RoleLimits, Token, TokenFile, digest, read_file

log = logging.getLogger(__name__)

#: Role -> the roles whose holders may do the same.
_GRANTED_BY: Final = {
    Role.SUBMIT: frozenset({Role.SUBMIT, Role.ADMIN}),
    Role.WORK: frozenset({Role.WORK, Role.ADMIN}),
    Role.INSPECT: frozenset({Role.INSPECT, Role.CONTROL, Role.ADMIN}),
    Role.CONTROL: frozenset({Role.CONTROL, Role.ADMIN}),
    Role.METRICS: frozenset({Role.METRICS, Role.ADMIN}),
    Role.ADMIN: frozenset({Role.ADMIN}),
}


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who a caller has proved to be."""

    #: Id and name of its token; empty where tokens are not in use.
    id: str = ""
    name: str = ""
    roles: frozenset[Role] = frozenset({Role.ADMIN})
    #: The namespace that it acts in; "": the default one.
    namespace: str = ""
    #: Patterns of the queues that it may use; none: all.
    queues: tuple[str, ...] = ()
    #: Largest payload in bytes and most nodes of a graph; 0: as the coordinator says.
    payload_limit: int = 0
    node_limit: int = 0
    #: Unix time in seconds from which on it holds no more; 0: none.
    expires: float = 0.0

    def may(self, role: Role) -> bool:
        """Return whether it may do what a role may."""
        return not self.roles.isdisjoint(_GRANTED_BY[role])

    def check_queue(self, queue: str) -> None:
        """Let a queue pass that it may use.

        Raises:
            Refusal: QUEUE_FORBIDDEN.
        """
        if self.queues and not any(fnmatchcase(queue or "default", pattern) for pattern in self.queues):
            raise Refusal(
                "QUEUE_FORBIDDEN",
                f"the token {self.name!r} is for the queues {', '.join(self.queues)}, and not for "
                f"{queue or 'default'!r}: use one of these, or a token for that one",
            )


#: Who calls where tokens are not in use: everybody may do everything.
EVERYONE: Final = Identity()


#: What the secret of a token is compared with that nobody knows, so that this takes as long as any other.
_NOBODY: Final = digest("")


#: Of an id that is in no file.
_UNKNOWN: Final[tuple[Token | None, Identity]] = (None, Identity(roles=frozenset()))


class Tokens:
    """The tokens that hold now.

    Args:
        path: the token file; read again by `reload` where it has changed.
        now: Unix time in seconds.

    Raises:
        ConfigurationError: the file cannot be used.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path, self._now = path, now
        self._seen = stamp_of(path)
        self._take(read_file(path))

    def _take(self, content: TokenFile) -> None:
        #: Token by id, with who shows it: made once, since it is looked at for each stream every second.
        self._by_id = {token.id: (token, _identity(token, content)) for token in content.tokens}
        #: The namespaces that tokens are in; "" is the default one.
        self.namespaces = frozenset(token.namespace for token in content.tokens)

    def reload(self) -> bool:
        """Read the file where it has changed; return whether other tokens may hold now.

        A file that cannot be used changes nothing, and is complained about: a slip of the pen locks nobody out.
        """
        state = stamp_of(self._path)
        if state == self._seen:
            return False
        self._seen = state
        try:
            content = read_file(self._path, must_exist=True)
        except ConfigurationError as error:
            log.error("the tokens stay as they were: %s", error)  # a mistake of a person's
            return False
        self._take(content)
        log.info("%d tokens hold now, as %s says", len(self._by_id), self._path)
        return True

    def identify(self, authorization: str) -> Identity:
        """Return who shows a token.

        Args:
            authorization: what the call bears, ``Bearer TOKEN``; "": nothing.

        Raises:
            Refusal: TOKEN_MISSING, TOKEN_WRONG or TOKEN_EXPIRED.
        """
        if not authorization:
            raise Refusal("TOKEN_MISSING", "the call bears no token: name a file with one by GRPCFLOW_TOKEN_FILE")
        scheme, _, text = authorization.partition(" ")
        prefix, _, rest = text.strip().partition("_")
        name, _, secret = rest.partition("_")
        token, identity = self._by_id.get(name, _UNKNOWN)
        right = hmac.compare_digest(digest(secret), _NOBODY if token is None else token.sha256)
        if token is None or not right or scheme.lower() != "bearer" or prefix != PREFIX:
            raise Refusal("TOKEN_WRONG", "the token is not known, or was revoked: ask for one with token add")
        if self._is_over(identity):
            raise Refusal("TOKEN_EXPIRED", f"the token {token.name!r} has expired: ask for a new one with token add")
        return identity

    def holds(self, identity: Identity) -> bool:
        """Return whether an identity is still what the file says, and its time is not over."""
        known = self._by_id.get(identity.id, _UNKNOWN)[1]
        return (known is identity or known == identity) and not self._is_over(identity)

    def _is_over(self, identity: Identity) -> bool:
        return 0 < identity.expires <= self._now()


def stamp_of(path: Path) -> tuple[int, ...] | None:
    """Return what tells two states of a file apart, its rights included; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _identity(token: Token, content: TokenFile) -> Identity:
    limits = [content.limits.get(role, RoleLimits()) for role in token.roles]
    return Identity(
        id=token.id,
        name=token.name,
        roles=frozenset(token.roles),
        namespace=token.namespace,
        queues=token.queues,
        payload_limit=_widest([one.payload for one in limits]),
        node_limit=_widest([one.nodes for one in limits]),
        expires=_seconds(token.expires),
    )


def _widest(limits: Sequence[int]) -> int:
    """Return the limit of somebody with several roles: the widest of theirs, none where one of them has none."""
    return max(limits) if limits and all(limits) else 0


def _seconds(moment: datetime | None) -> float:
    if moment is None:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
