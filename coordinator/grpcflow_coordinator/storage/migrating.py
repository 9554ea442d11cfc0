"""What earlier states of the coordinator wrote differently, mended in place; safe to run on what needs nothing.

Formats differ by the number in the folder. Records of one format may still lack what later ones count; readers have a
default for what is missing, and where a default is not the truth, it is counted here. What is written here the release
before reads as well, so that it may come back.
"""

from __future__ import annotations

from typing import Final

from grpcflow_coordinator.core.model import Tally
from grpcflow_coordinator.storage import formats, keys
from grpcflow_coordinator.storage.contract import Batch, Store
from grpcflow_coordinator.storage.findings import pairs

#: Graphs whose counts are written in one commit.
_BATCH: Final = 1_000

_ID: Final = 12


def recount(store: Store) -> int:
    """Count anew how the nodes of every graph stand.

    The first states of the coordinator counted what had not settled, and not what failed or was revoked.

    Args:
        store: a store that nobody else writes to.

    Returns:
        How many graphs had other counts.

    Raises:
        StoreError: it could not be written; running it again goes on.
    """
    changed, batch = 0, Batch()
    for key, data in pairs(store, keys.LIVE):
        graph_id = key[len(keys.LIVE) :]
        root = store.get(keys.GRAPH + graph_id)
        if root is None or len(graph_id) != _ID:
            continue  # `check` names it
        graph, _ = formats.read_graph(graph_id, root)
        tally = Tally(graph.node_count)
        for _, outcome in pairs(store, keys.OUTCOME + graph_id):
            tally.settled(formats.read_outcome(outcome).state)
        if tally != formats.read_tally(data):
            batch.put(key, formats.write_tally(tally))
            changed += 1
        if len(batch.puts) >= _BATCH:
            store.commit(batch)
            batch = Batch()
    store.commit(batch)
    return changed
