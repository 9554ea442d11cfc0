"""Ids of spans that anybody can work out: from the trace and the call, for its first attempt; those after it differ.

That is how a call links to the calls it takes values from without having been told a word about their attempts. Pure
but for what the generator of the provider does; it may not import OpenTelemetry.
"""

import threading
from hashlib import blake2b
from typing import Any, Final

__all__ = ["ChosenIds", "span_id", "trace_id"]

_SPAN_BYTES: Final = 8
_TRACE_BYTES: Final = 16
_TOKEN_BYTES: Final = 8


def span_id(trace: int, node: bytes, after: int = 0) -> int:
    """Return the id of the span of an attempt.

    Args:
        trace: Id of the trace.
        node: The 16 bytes of the call's node.
        after: What tells a later attempt of the call from all others; 0: it is the first.
    """
    data = trace.to_bytes(_TRACE_BYTES, "big") + node + after.to_bytes(_TOKEN_BYTES, "big")
    return int.from_bytes(blake2b(data, digest_size=_SPAN_BYTES).digest(), "big") or 1


def trace_id(root: str) -> int:
    """Return the id of the trace of calls that no trace was submitted with: of all with the same root.

    Args:
        root: Id of the first call of the work.
    """
    return int.from_bytes(blake2b(root.encode(), digest_size=_TRACE_BYTES).digest(), "big") or 1


class ChosenIds(threading.local):
    """Gives the ids that were chosen for the span that this thread is making, else those of another generator.

    Args:
        inner: The generator of the provider.

    Attributes:
        trace: Id of the next trace; 0: not chosen.
        span: Id of the next span; 0: not chosen.
    """

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.trace = 0
        self.span = 0

    def generate_trace_id(self) -> int:
        """Return the id of a new trace."""
        chosen: int = self.trace or self._inner.generate_trace_id()
        return chosen

    def generate_span_id(self) -> int:
        """Return the id of a new span."""
        chosen: int = self.span or self._inner.generate_span_id()
        return chosen

    def is_trace_id_random(self) -> bool:
        """Return True where new traces have random ids; chosen ones are as evenly spread as random ones."""
        return bool(self.trace) or bool(getattr(self._inner, "is_trace_id_random", bool)())
