"""What a token may, found out by asking for what changes nothing. Knows the codes with which a coordinator refuses."""

from collections.abc import Callable
from typing import Any, Final

from grpcflow import errors
from grpcflow.connection import Connection

__all__ = ["asks_for_token", "permissions"]

_FORBIDDEN: Final = "ROLE_FORBIDDEN"
_REFUSED: Final = "TOKEN_"


def permissions(connection: Connection) -> frozenset[str]:
    """Return which of ``inspect``, ``control``, ``submit`` and ``admin`` a connection's token may.

    Args:
        connection: Shows the token.

    Raises:
        RequestFailed: The coordinator does not take the token at all; ``code`` begins with ``TOKEN_``.
        CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
    """
    # A revoke of nothing, a run of no schedule and the retention of no task change nothing, and who may not is told so.
    questions: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("inspect", connection.list_workers),
        ("control", lambda: connection.revoke([])),
        ("submit", lambda: connection.run_schedule("")),
        ("admin", lambda: connection.clear_retention("task", "")),
    )
    return frozenset(name for name, ask in questions if _is_let(ask))


def _is_let(ask: Callable[[], Any]) -> bool:
    try:
        ask()
    except errors.RequestFailed as error:
        if error.code.startswith(_REFUSED):
            raise
        return error.code != _FORBIDDEN
    return True


def asks_for_token(connection: Connection) -> bool:
    """Return whether the coordinator serves nobody who shows no token.

    Args:
        connection: Shows none.

    Raises:
        CoordinatorUnavailable, TimeoutError: It could not be reached, or did not answer.
    """
    try:
        connection.list_workers()
    except errors.RequestFailed as error:
        if error.code.startswith(_REFUSED):
            return True
        raise
    return False
