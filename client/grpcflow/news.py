"""What came of nodes that have not settled, kept for one reader: the newest state of each, however slow the reader is.

Does no I/O and knows neither gRPC nor the wire. One thread puts, another takes.
"""

import threading
from dataclasses import replace

from grpcflow.settled import Settled

__all__ = ["News"]


class News:
    """The newest untaken state of each node, by the text that its reader knows it by."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._newest: dict[str, Settled] = {}
        #: What was put last of each node: a coordinator tells anew how nodes stand when it was lost for a while.
        self._last: dict[str, tuple[str, tuple[bytes, str] | None]] = {}

    def put(self, text: str, state: Settled) -> bool:
        """Keep a state in the place of an older one that was not taken, which counts as skipped.

        Args:
            text: The node.
            state: Its state.

        Returns:
            True where the reader has to be told that there is something: it has taken all that came before.
        """
        shown = (state.custom_state or state.state, state.meta)
        with self._lock:
            if self._last.get(text) == shown:
                return False
            self._last[text] = shown
            before = self._newest.get(text)
            passed_over = 0 if before is None else before.skipped + 1
            self._newest[text] = replace(state, skipped=state.skipped + passed_over)
            return before is None

    def take(self, text: str) -> Settled | None:
        """Return the newest state of a node; None where it was taken before."""
        with self._lock:
            return self._newest.pop(text, None)

    def forget(self, text: str) -> None:
        """The node has settled: let go of what is only kept to know a state again."""
        with self._lock:
            self._last.pop(text, None)
