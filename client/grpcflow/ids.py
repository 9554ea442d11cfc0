"""Ids of graphs and nodes: minted here by the client, sorted by time.

A graph id is the first 12 bytes of a UUID of version 7; a node's id is the graph id and the node's index as
4 bytes, big endian. Pure but for the clock and the system's random source; imports nothing of grpcflow.
"""

import os
import threading
import time
import uuid
from typing import Final

__all__ = ["GRAPH_BYTES", "NODE_BYTES", "graph_time", "mint_graph", "node_bytes", "node_id", "parse"]

#: Length of a graph id in bytes.
GRAPH_BYTES: Final = 12

#: Length of a node id in bytes.
NODE_BYTES: Final = 16

_COUNTER_LIMIT: Final = 1 << 12
_RANDOM_MASK: Final = (1 << 30) - 1
#: Text form of a UUID: 8-4-4-4-12 hexadecimal digits.
_TEXT_LENGTH: Final = 36


class _Mint:
    """The state behind ``mint_graph``: the last millisecond, a counter within it, the process's random bits."""

    __slots__ = ("counter", "lock", "millisecond", "random")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.millisecond = 0
        self.counter = 0
        self.random = 0
        self.renew()

    def renew(self) -> None:
        """Take new random bits and a free lock: a forked child must not mint its parent's ids."""
        self.lock = threading.Lock()
        self.random = int.from_bytes(os.urandom(4), "big") & _RANDOM_MASK

    def mint(self, now_ms: int) -> bytes:
        """Return an id that is later than all before it, also where the clock stands or steps back."""
        with self.lock:
            if now_ms > self.millisecond:
                self.millisecond = now_ms
                self.counter = 0
            else:
                self.counter += 1
                if self.counter == _COUNTER_LIMIT:
                    # The millisecond is used up (or the clock stepped back): borrow the next one.
                    self.millisecond += 1
                    self.counter = 0
            number = (self.millisecond << 48) | (0x7000 | self.counter) << 32 | 0x8000_0000 | self.random
        return number.to_bytes(GRAPH_BYTES, "big")


_MINT: Final = _Mint()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_MINT.renew)


def mint_graph() -> bytes:
    """Return a new graph id of 12 bytes; ids of one process sort in the order in which they were made."""
    return _MINT.mint(time.time_ns() // 1_000_000)


def node_bytes(graph: bytes, index: int) -> bytes:
    """Return the 16 bytes of a node's id.

    Args:
        graph: The 12 bytes of the graph id.
        index: Index of the node in the graph, from 0.
    """
    return graph + index.to_bytes(4, "big")


def node_id(graph: bytes, index: int) -> str:
    """Return the text form of a node's id: that of a UUID.

    Args:
        graph: The 12 bytes of the graph id.
        index: Index of the node in the graph, from 0.
    """
    text = graph.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}{index:08x}"


def parse(text: str) -> tuple[bytes, int] | None:
    """Return graph id and node index of the text form of a node id, or None for any other text.

    Only the exact text that ``node_id`` makes is taken: a user's own id that merely looks like a UUID
    (of another version, in upper case, in braces) is that user's id and nothing else.
    """
    if len(text) != _TEXT_LENGTH or text[14] != "7" or text[19] not in "89ab":
        return None
    try:
        raw = uuid.UUID(text).bytes
    except ValueError:
        return None
    graph, index = raw[:GRAPH_BYTES], int.from_bytes(raw[GRAPH_BYTES:], "big")
    return (graph, index) if node_id(graph, index) == text else None


def graph_time(graph: bytes) -> float:
    """Return the Unix time in seconds at which a graph id was minted."""
    return int.from_bytes(graph[:6], "big") / 1000
