"""What graphs are looked for by: the arguments of their calls, and their stamps. It answers; it decides nothing."""

from __future__ import annotations

import json
from typing import Final

from grpcflow_coordinator.core.model import Graph
from grpcflow_coordinator.errors import Refusal
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.storage.records import Records
from grpcflow_protos.v1 import graph_pb2
from grpcflow_protos.v1 import graph_service_pb2 as pb

#: Calls, and bytes of their arguments, that are looked at of one graph.
CALLS: Final = 1_000
BYTES: Final = 64 * 1024


class Search:
    """What one question for graphs wants to find in them.

    Args:
        request: the question.
        records: where the graphs are.

    Raises:
        Refusal: NAME_TOO_LONG, BAD_ARGUMENTS.
    """

    def __init__(self, request: pb.ListGraphsRequest, records: Records) -> None:
        self._records = records
        convert.check_name(request.argument, "a text to look for")
        convert.check_name(request.stamp, "a stamp")
        name, equals, value = request.stamp.partition("=")
        if request.stamp and not (name and equals):
            raise Refusal("BAD_ARGUMENTS", f"the stamp {request.stamp!r} is not NAME=VALUE")
        self._stamp = (name, value) if request.stamp else None
        #: As it stands in arguments as they are, and as JSON writes it between quotes.
        self._texts = {text.encode() for text in (request.argument, json.dumps(request.argument)[1:-1]) if text}

    def ids(self, at: bytes, limit: int, *, oldest_first: bool) -> list[bytes]:
        """Return the next graphs that may be meant, behind or before `at`; with a stamp some may be gone."""
        records = self._records
        if self._stamp is not None:
            if oldest_first:
                return records.stamped_graphs(*self._stamp, at, limit)
            return records.newest_stamped(*self._stamp, at, limit)
        return records.graphs_after(at, limit) if oldest_first else records.newest_graphs(at, limit)

    def finds(self, graph: Graph) -> bool:
        """Return whether the text stands in the arguments of one of the first calls of a graph."""
        if not self._texts:
            return True
        shown = [not graph_pb2.Template.FromString(template.wire).sensitive for template in graph.templates]
        calls, left = CALLS, BYTES
        for run in self._records.runs(graph.id, 0, CALLS):
            if run.is_join or not shown[run.template]:
                continue
            for payload in self._records.payloads(graph.id, run)[:calls]:
                if any(text in payload[:left] for text in self._texts):
                    return True
                calls, left = calls - 1, left - len(payload)
                if left <= 0:
                    return False
            if calls <= 0:
                return False
        return False
