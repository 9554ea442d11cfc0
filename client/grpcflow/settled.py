"""How a node stands, as the client keeps it: read from the wire's results, with what is in them left encoded."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from grpcflow_protos.v1 import client_service_pb2, value_pb2

__all__ = ["FIRST_SETTLED", "Settled", "settled_from", "told_from"]

#: States of the wire by number, in Celery's words.
_STATES: Final = (
    "UNKNOWN",
    "PENDING",
    "RECEIVED",
    "STARTED",
    "RETRY",
    "SUCCESS",
    "FAILURE",
    "REVOKED",
    "IGNORED",
    "REJECTED",
)

#: Number of the first state that is an end; all behind it are ends too.
FIRST_SETTLED: Final = 5


@dataclass(slots=True)
class Settled:
    """How a node stands; mostly how it ended.

    Attributes:
        state: Celery's word: ``SUCCESS``, ``FAILURE``, ``REVOKED``, ... or ``PENDING`` and the like in a lookup.
        data: The encoded value of a success, or a view of the message that holds it; None where it is a list
            (``value``) or there is none.
        content_type: Content type of ``data``; empty means JSON.
        value: The value of a join, a list of values that the coordinator collected.
        failure: Why it did not succeed.
        settled_at: When it ended (UTC), where the coordinator told.
        worker: Name of the worker that settled it; empty where none did or the coordinator did not tell.
        retries: How often it was retried.
        custom_state: The state that the task gave itself; empty where it gave none, and after the end.
        meta: What it said with that state: encoded, and its content type.
        details: How the node was called, where that was asked for.
        value_apart: True: the value did not fit and has to be fetched.
        skipped: How many states came and went untold before this one: whoever reads is slower.
        ahead: The value as it was read while others were waited for: a list of one, given away once; None: it was not.
    """

    state: str
    data: bytes | None = None
    content_type: str = ""
    value: "value_pb2.Value | None" = None
    failure: "value_pb2.Failure | None" = None
    settled_at: datetime | None = None
    worker: str = ""
    retries: int = 0
    custom_state: str = ""
    meta: tuple[bytes, str] | None = None
    details: "value_pb2.CallDetails | None" = None
    value_apart: bool = False
    skipped: int = 0
    ahead: list[Any] | None = None

    def take_value(self, value: "value_pb2.Value") -> None:
        """Keep a value as it came over the wire; one that holds nothing is passed over."""
        kind = value.WhichOneof("kind")
        if kind == "data":
            self.data, self.content_type = value.data, value.content_type
        elif kind is not None:
            self.value = value


def settled_from(result: "value_pb2.Result") -> Settled:
    """Return a result of the wire as Settled."""
    number = result.state
    settled = Settled(
        _STATES[number] if 0 <= number < len(_STATES) else "UNKNOWN",
        worker=result.worker,
        retries=result.retries,
        value_apart=result.value_apart,
    )
    if result.HasField("value"):
        settled.take_value(result.value)
    if result.HasField("failure"):
        settled.failure = result.failure
    if result.settled_at_ms:
        settled.settled_at = datetime.fromtimestamp(result.settled_at_ms / 1000, UTC)
    if result.custom_state and number < FIRST_SETTLED:
        settled.custom_state = result.custom_state
        settled.meta = (result.meta.data, result.meta.content_type)
    if result.HasField("details"):
        settled.details = result.details
    return settled


def told_from(progress: "client_service_pb2.Progress") -> Settled:
    """Return the news of a node that has not settled as Settled."""
    state = progress.state
    told = Settled(state, retries=progress.retries, skipped=progress.skipped)
    if progress.HasField("meta") or state not in _STATES:
        told.state, told.custom_state = "STARTED", state
        told.meta = (progress.meta.data, progress.meta.content_type)
    return told
