"""Taking out of events what they say of some nodes; the events themselves stay, so that readers' offsets hold."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from grpcflow_coordinator.event_frames import HEAD_BYTES, frames, read_body, read_head
from grpcflow_coordinator.happenings import Happening
from grpcflow_coordinator.storage.ground import sync
from grpcflow_protos.v1 import event_service_pb2 as pb

#: The end of the name of a file that is being written in the place of another one.
ERASING: Final = ".erasing"

#: The type of what stands in the place of an event that was erased.
ERASED: Final = "erased"


@dataclass(frozen=True, slots=True)
class Erasure:
    """What is to be taken out.

    Attributes:
        graphs: graphs of which nothing is to stay.
        nodes: (graph, index) of single nodes.
    """

    graphs: Collection[bytes]
    nodes: Collection[tuple[bytes, int]] = ()

    def concerns(self, happening: Happening) -> bool:
        """Return whether an event says something of what is to be taken out."""
        if happening.graph in self.graphs:
            return True
        return any(graph == happening.graph and index in happening.nodes for graph, index in self.nodes)

    def clean(self, happening: Happening) -> Happening:
        """Return an event without it."""
        if not self.concerns(happening):
            return happening
        gone = {index for graph, index in self.nodes if graph == happening.graph}
        left = () if happening.graph in self.graphs else tuple(node for node in happening.nodes if node not in gone)
        if left:
            return happening._replace(nodes=left, detail="", type="", fields=b"", own_id="")
        return Happening(happening.time_ms, pb.EVENT_KIND_CUSTOM, type=ERASED)


def rewrite(path: Path, erasure: Erasure) -> int | None:
    """Put a file of events without what is to be taken out in its place; return its new size, None: it stays.

    What cannot be read stays out of the new file: nobody could be sure of it.

    Args:
        path: the file; nothing may be appended to it meanwhile.
        erasure: what is taken out.

    Raises:
        OSError: it cannot be read or written.
    """
    data = path.read_bytes()
    at, changed, kept = 0, False, bytearray()
    while (head := read_head(data[at : at + HEAD_BYTES])) is not None:
        end = at + HEAD_BYTES + head.length
        found = read_body(head, data[at + HEAD_BYTES : end])
        if found is None:
            changed = True
        elif any(erasure.concerns(one) for _, one in found):
            changed = True
            for _, frame in frames(head.first, [erasure.clean(one) for _, one in found]):
                kept += frame
        else:
            kept += data[at:end]
        at = end
    if not changed:
        return None
    beside = path.with_suffix(ERASING)
    try:
        with beside.open("wb") as file:
            file.write(kept)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)  # where there was no room for all of it
    sync(path.parent)  # else the old file is back when the power fails
    return len(kept)
