"""The keys of the records: which noun lies where. Knows no value.

A key is: partition (1 byte), two bytes that are zero, kind (1 byte), then what the kind says. There is one partition
today; it is in every key, so that a second coordinator needs no other layout. All of a graph's records share its
partition. The two bytes were meant for namespaces, which have a store each.
"""

from __future__ import annotations

from hashlib import blake2b

from grpcflow_coordinator.core.model import GRAPH_ID_BYTES, TimerKind

#: Partition 0.
SPACE = b"\x00\x00\x00"

META = SPACE + b"e"
GRAPH = SPACE + b"g"  # graph id -> root
RUN = SPACE + b"r"  # graph id, first index -> run with payloads
STAGED = SPACE + b"x"  # graph id -> nothing; runs without a root
CURSOR = SPACE + b"c"  # graph id -> index up to which ready nodes are queued
LIVE = SPACE + b"l"  # graph id -> unsettled nodes
OUTCOME = SPACE + b"o"  # node id -> outcome
WAITING = SPACE + b"w"  # node id -> parents it waits for
PROGRESS = SPACE + b"p"  # node id -> progress
ALIAS = SPACE + b"a"  # user's own id -> node id
LANE = SPACE + b"n"  # lane number -> queue and task name
ENTRY = SPACE + b"q"  # lane number, 9 - priority, sequence, count -> graph id, first index
MARK = SPACE + b"m"  # lane number, 9 - priority -> hand-out mark
TIMER = SPACE + b"t"  # due in unix ms, kind, node id -> count, when the graph was made
PRUNE = SPACE + b"d"  # due in unix ms, kind, node id -> count; apart, so that old results hold up no expiry
SESSION = SPACE + b"s"  # session id -> what the worker said of itself

EXTRA = SPACE + b"j"  # node id of a join, number -> node id of a member that was added while it waited
FORGOTTEN = SPACE + b"f"  # node id -> nothing; its result is hidden
STAMP = SPACE + b"b"  # digest of a stamp, graph id -> nothing; may name graphs that are gone
JOB = SPACE + b"k"  # number -> a revoke by stamp that is under way
SAVED = SPACE + b"v"  # digest of a group's id -> its description

CANCELLED = SPACE + b"z"  # graph id -> when it was cancelled
RETRIED = SPACE + b"h"  # graph id -> sequence below which no queue entry means it any more
STRAY = SPACE + b"0"  # graph id -> sequence below which queue entries may name nodes of it that settled
PAUSED = SPACE + b"u"  # digest of a queue's name -> its name; nothing of it is handed out
UNIQUE = SPACE + b"7"  # digest of a unique key -> who holds it
FOLLOWER = SPACE + b"8"  # node id of a holder, node id of who settles as it does -> nothing
PLAN = SPACE + b"9"  # digest of a schedule's name -> what was put of it
SCHEDULE = SPACE + b"A"  # digest of a schedule's name -> how it stands
FAILED = SPACE + b"3"  # node id -> nothing; it failed for good, by itself
STRIPPED = SPACE + b"4"  # graph id -> index up to which the arguments of its calls were deleted
RETENTION = SPACE + b"5"  # digest of scope and name -> what was set
KEPT = SPACE + b"6"  # digest of scope, name and kind, end in unix ms, graph id -> nothing; may name what is gone
LIMIT = SPACE + b"y"  # digest of scope and name -> a limit that was set
RATE = SPACE + b"2"  # digest of scope and name -> unix ms up to which a rate is used up at most
ITEM = SPACE + b"i"  # node id, number -> an item that the task emitted
LOG = SPACE + b"1"  # node id, token, number of the first line -> lines that an attempt logged

EPOCH = META + b"epoch"

#: Kinds whose key goes on with a graph id.
OF_A_GRAPH = (
    RUN,
    OUTCOME,
    PROGRESS,
    WAITING,
    LIVE,
    CURSOR,
    STAGED,
    EXTRA,
    FORGOTTEN,
    CANCELLED,
    RETRIED,
    ITEM,
    LOG,
    FAILED,
    STRIPPED,
    STRAY,
)


def after(prefix: bytes) -> bytes:
    """Return the first key behind all that begin with the prefix."""
    number = int.from_bytes(prefix, "big") + 1
    return number.to_bytes(len(prefix), "big")


def node(kind: bytes, graph: bytes, index: int) -> bytes:
    """Return a key that ends in a node id; an index that no node has gives the first key behind all of the graph's."""
    try:
        return kind + graph + index.to_bytes(4, "big")
    except OverflowError:  # strangers name such nodes, and ranges end there; it costs nothing where it does not happen
        return after(kind + graph)


def index_of(key: bytes) -> int:
    """Return the index of a key that ends in a node id."""
    return int.from_bytes(key[len(SPACE) + 1 + GRAPH_ID_BYTES :], "big")


def line(kind: bytes, lane: int, priority: int) -> bytes:
    """Return a key, or the beginning of one, of a line; higher priorities sort first."""
    return kind + lane.to_bytes(4, "big") + bytes((9 - priority,))


def split_line(key: bytes) -> tuple[int, int]:
    """Return the lane and the priority that such a key begins with."""
    return int.from_bytes(key[4:8], "big"), 9 - key[8]


def entry(lane: int, priority: int, sequence: int, count: int) -> bytes:
    """Return the key of a queue entry; the count stands in it so that counting reads no values."""
    return line(ENTRY, lane, priority) + sequence.to_bytes(8, "big") + count.to_bytes(4, "big")


def split_entry(key: bytes) -> tuple[int, int]:
    """Return the sequence and the count of a queue entry's key."""
    return int.from_bytes(key[9:17], "big"), int.from_bytes(key[17:21], "big")


def timer(due_ms: int, kind: int, node_id: bytes) -> bytes:
    """Return the key of a timer; due times before 1970 count as 1970."""
    return (PRUNE if kind >= TimerKind.PRUNE else TIMER) + max(due_ms, 0).to_bytes(8, "big") + bytes((kind,)) + node_id


def digest(*parts: str) -> bytes:
    """Return 16 bytes that stand for texts of any length."""
    text = "\0".join(parts).encode("utf-8", "surrogatepass")
    return blake2b(text, digest_size=16).digest()


def split_timer(key: bytes) -> tuple[int, int, bytes]:
    """Return the due time, the kind and the node of a timer's key."""
    return int.from_bytes(key[4:12], "big"), key[12], key[13:]
