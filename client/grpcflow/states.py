"""The states of a call: their names, which of them are ends, and which goes before which. Imports nothing of grpcflow.

A task may give itself any other state besides (``self.update_state``).
"""

from typing import Final

__all__ = [
    "ALL_STATES",
    "EXCEPTION_STATES",
    "FAILURE",
    "IGNORED",
    "PENDING",
    "PRECEDENCE",
    "PRECEDENCE_LOOKUP",
    "PROPAGATE_STATES",
    "READY_STATES",
    "RECEIVED",
    "REJECTED",
    "RETRY",
    "REVOKED",
    "STARTED",
    "SUCCESS",
    "UNREADY_STATES",
    "precedence",
    "state",
]

#: It waits: for what goes before it, in a queue, or for its time. Also of an id that nobody knows.
PENDING: Final = "PENDING"
#: A worker has it.
RECEIVED: Final = "RECEIVED"
#: It runs (only where the task has ``track_started``).
STARTED: Final = "STARTED"
#: It ended with a value.
SUCCESS: Final = "SUCCESS"
#: It ended with an exception.
FAILURE: Final = "FAILURE"
#: It was given up, or expired.
REVOKED: Final = "REVOKED"
#: The task would not do this work.
REJECTED: Final = "REJECTED"
#: It waits for another attempt.
RETRY: Final = "RETRY"
#: It ended without a value, because it asked for that.
IGNORED: Final = "IGNORED"

#: States in which a call is at its end.
READY_STATES: Final = frozenset({SUCCESS, FAILURE, REVOKED, IGNORED, REJECTED})
#: Named states in which it is not.
UNREADY_STATES: Final = frozenset({PENDING, RECEIVED, STARTED, RETRY})
#: States that come with an exception.
EXCEPTION_STATES: Final = frozenset({RETRY, FAILURE, REVOKED, REJECTED})
#: States whose exception ``get()`` raises.
PROPAGATE_STATES: Final = frozenset({FAILURE, REVOKED, REJECTED})
#: All states that have a name here.
ALL_STATES: Final = READY_STATES | UNREADY_STATES

#: The states from the one that says most to the one that says least; None stands for every other.
PRECEDENCE: Final[tuple[str | None, ...]] = (
    SUCCESS,
    FAILURE,
    None,
    REVOKED,
    STARTED,
    RECEIVED,
    REJECTED,
    RETRY,
    PENDING,
)
#: Place of each in ``PRECEDENCE``.
PRECEDENCE_LOOKUP: Final[dict[str | None, int]] = {name: place for place, name in enumerate(PRECEDENCE)}
#: Place of all others.
NONE_PRECEDENCE: Final = PRECEDENCE_LOOKUP[None]


def precedence(state: str) -> int:
    """Return the place of a state in the order of precedence: the lower, the more it says.

    Args:
        state: Its name; one that the task made up stands between FAILURE and REVOKED.
    """
    return PRECEDENCE_LOOKUP.get(state, NONE_PRECEDENCE)


class state(str):  # noqa: N801 - Celery's name
    """A state that compares by precedence: ``state("SUCCESS") > state("PENDING")``."""

    __slots__ = ()

    def __gt__(self, other: str) -> bool:
        """Return whether it says more than the other."""
        return precedence(self) < precedence(other)

    def __ge__(self, other: str) -> bool:
        """Return whether it says as much as the other, or more."""
        return precedence(self) <= precedence(other)

    def __lt__(self, other: str) -> bool:
        """Return whether it says less than the other."""
        return precedence(self) > precedence(other)

    def __le__(self, other: str) -> bool:
        """Return whether it says as much as the other, or less."""
        return precedence(self) >= precedence(other)
