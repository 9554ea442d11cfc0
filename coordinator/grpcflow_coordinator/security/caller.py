"""Who calls: what the door found out, for what stands behind it. It may not decide anything."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from grpcflow_coordinator.security.tokens import EVERYONE, Identity

#: The caller of the rpc that runs in this context.
_CALLER: Final[ContextVar[Identity]] = ContextVar("grpcflow_caller", default=EVERYONE)


def caller() -> Identity:
    """Return who made the call that is being answered."""
    return _CALLER.get()


def called_by(identity: Identity) -> None:
    """Say who made the call that is answered in this context, and in tasks that are begun in it."""
    _CALLER.set(identity)
