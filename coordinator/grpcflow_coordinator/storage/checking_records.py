"""Check records one by one: each can be read as what its key says it is. See `checking`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from grpcflow_coordinator.core.model import GRAPH_ID_BYTES as _ID
from grpcflow_coordinator.storage import formats, keys, schedule_formats
from grpcflow_coordinator.storage.contract import Store, StoreError
from grpcflow_coordinator.storage.findings import NAMES, Finding

_GRAPH_AT: Final = len(keys.SPACE) + 1
_DIGEST: Final = 16

#: How each kind is read; those that are missing hold a node id.
_READERS: Final[dict[bytes, Callable[[bytes], Any]]] = {
    keys.META: formats.read_number,
    keys.GRAPH: lambda data: formats.read_graph(bytes(_ID), data),
    keys.RUN: lambda data: (formats.read_run(data), formats.read_payloads(data)),
    keys.LIVE: formats.read_tally,
    keys.OUTCOME: formats.read_outcome,
    keys.PROGRESS: formats.read_progress,
    keys.LANE: formats.read_lane,
    keys.SESSION: lambda data: formats.read_session(b"", data),
    keys.JOB: lambda data: formats.read_job(0, data),
    keys.SAVED: formats.read_saved,
    keys.PAUSED: formats.read_name,
    keys.UNIQUE: formats.read_held,
    keys.PLAN: schedule_formats.read_plan,
    keys.RETENTION: formats.read_retention,
    keys.LIMIT: formats.read_limit,
    keys.ITEM: formats.read_item,
    keys.LOG: formats.read_log,
    **dict.fromkeys((keys.CURSOR, keys.WAITING, keys.MARK, keys.CANCELLED), formats.read_number),
    **dict.fromkeys((keys.TIMER, keys.PRUNE), formats.read_timer),
    **dict.fromkeys((keys.RETRIED, keys.STRAY, keys.STRIPPED, keys.RATE, keys.STAGED, keys.STAMP), formats.read_number),
    **dict.fromkeys((keys.FOLLOWER, keys.FAILED, keys.FORGOTTEN, keys.KEPT), formats.read_number),
    keys.SCHEDULE: formats.read,
}

#: Bytes of a key behind its kind, where they are always as many.
_LENGTHS: Final = {
    **dict.fromkeys((keys.GRAPH, keys.STAGED, keys.CURSOR, keys.LIVE, keys.CANCELLED, keys.RETRIED), _ID),
    **dict.fromkeys((keys.STRAY, keys.STRIPPED), _ID),
    **dict.fromkeys((keys.RUN, keys.OUTCOME, keys.WAITING, keys.PROGRESS, keys.FORGOTTEN, keys.FAILED), _ID + 4),
    **dict.fromkeys((keys.SAVED, keys.PAUSED, keys.UNIQUE, keys.PLAN, keys.SCHEDULE), _DIGEST),
    **dict.fromkeys((keys.RETENTION, keys.LIMIT, keys.RATE), _DIGEST),
    **dict.fromkeys((keys.EXTRA, keys.ITEM), _ID + 4 + 4),
    keys.LOG: _ID + 4 + 8 + 8,
    **dict.fromkeys((keys.TIMER, keys.PRUNE), 8 + 1 + _ID + 4),
    keys.LANE: 4,
    keys.MARK: 4 + 1,
    keys.ENTRY: 4 + 1 + 8 + 4,
    keys.STAMP: _DIGEST + _ID,
    keys.KEPT: _DIGEST + 8 + _ID,
    keys.FOLLOWER: 2 * (_ID + 4),
    keys.JOB: 8,
}


def read_all(store: Store) -> Iterator[Finding]:
    """Read every record as what its key says it is; tell those that cannot be read, and those that nobody knows."""
    start = b"\x00"
    while page := store.scan(start, b"\xff" * 8, 2_000):
        for key, data in page:
            kind = key[:_GRAPH_AT]
            if kind not in NAMES:
                yield Finding(
                    "unknown", f"a record of a kind that this version does not know: {key.hex()}", broken=False
                )
            elif len(key) - _GRAPH_AT != _LENGTHS.get(kind, len(key) - _GRAPH_AT):
                yield Finding(NAMES[kind], f"the record {key.hex()} cannot be read: its key has not the right length")
            elif wrong := _misread(kind, key, data):
                yield Finding(NAMES[kind], f"the record {key.hex()} cannot be read: {wrong}")
        start = page[-1][0] + b"\x00"


def _misread(kind: bytes, key: bytes, data: bytes) -> str:
    """Return what is wrong with a record by itself; "" where it can be read."""
    if kind not in _READERS:
        return "" if len(data) == _ID + 4 else "it is to hold the id of a node"
    try:
        said = _READERS[kind](data)
    except (StoreError, *formats.DAMAGED) as error:
        return str(error.__cause__ or error)
    if kind == keys.RUN and said[0].first != keys.index_of(key):
        return f"it holds the run of node {said[0].first}"
    return ""
