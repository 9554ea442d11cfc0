"""What waits to be sent to each client, and how it becomes messages. Knows the wire; decides nothing.

Results are kept as values up to a bound, and as references to the records beyond it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from grpcflow_coordinator import streams, values
from grpcflow_coordinator.backfill import Backfill
from grpcflow_coordinator.core.model import NodeState, Outcome, node_id
from grpcflow_coordinator.errors import STATUS_OF
from grpcflow_coordinator.rpc import convert
from grpcflow_coordinator.rpc.gate import Visitor
from grpcflow_coordinator.storage.records import Records
from grpcflow_protos import limits
from grpcflow_protos.v1 import client_service_pb2, graph_pb2, value_pb2
from grpcflow_protos.wire_parts import nested

#: Bytes of results that are kept for one client as values.
KEPT_BYTES: Final = 8 * 1024 * 1024

#: Bytes of results after which a message takes no more: the last one may be a whole payload or a failure of half a MiB
#: more, and all of it must stay below the transport's limit.
RESULT_BYTES: Final = limits.MESSAGE_OVERHEAD // 4

#: Bytes of a message that pass in the time in which one record is looked up: everybody waits for both.
LOOK_BYTES: Final = 128

#: Values that are there already, in one message.
PAGE: Final = 10_000

#: Nodes of a range that are looked through at once.
SPAN: Final = 500

#: Answers, and questions about what has settled, from which on a client is not read before it has read; and the same in
#: bytes of refusals, each of which may repeat what was asked.
UNTOLD: Final = 10_000
UNTOLD_BYTES: Final = 8 * 1024 * 1024

_SUCCESSES: Final = client_service_pb2.SessionResponse.DESCRIPTOR.fields_by_name["successes"].number
_VALUES: Final = client_service_pb2.Successes.DESCRIPTOR.fields_by_name["values"].number

#: Settled nodes that wait one by one for a client that reads slowly; of more the ranges alone are kept.
UNREAD: Final = 50_000


class ClientStream(streams.Stream):
    """What waits for one client."""

    def __init__(self, records: Records) -> None:
        super().__init__()
        self._records = records
        #: Its place among those who submit.
        self.visitor = Visitor()
        self.welcome: client_service_pb2.ClientWelcome | None = None
        self.accepted: list[bytes] = []
        self._refused: deque[client_service_pb2.Refused] = deque()
        self._refused_bytes = 0
        #: (graph, index, data).
        self._values: deque[tuple[bytes, int, bytes]] = deque()
        #: (graph, index, own id, result); None: read it when it is taken.
        self._results: deque[tuple[bytes, int, str, value_pb2.Result | None]] = deque()
        self._kept = 0
        #: Sizes of the graphs that it submitted and that are not answered yet, by id.
        self.coming: dict[bytes, int] = {}
        #: Watched nodes in another state than before: how many states came since one was told, and the newest.
        self._moves: dict[tuple[bytes, int], tuple[int, str]] = {}
        #: Of which nodes what has settled is still to be told.
        self.backfill = Backfill()
        #: By graph, what settled while too much was unread: from which node on up to which one.
        self._spilled: dict[bytes, tuple[int, int]] = {}
        self._lingers = False
        self._taken = asyncio.Event()

    def accept(self, graph: bytes, *, waits: bool) -> None:
        """A graph is durable.

        Args:
            graph: the graph.
            waits: True: its client waits for its one result, with which this may travel, within a moment.
        """
        self.accepted.append(graph)
        if not waits:
            asyncio.get_running_loop().call_soon(self.wake)  # what it set going leaves before the answer does
        elif not self._lingers:
            self._lingers = True
            asyncio.get_running_loop().call_later(streams.LINGER, self._linger_no_longer)

    def _linger_no_longer(self) -> None:
        self._lingers = False
        if self.accepted:
            self.wake()

    @property
    def is_full(self) -> bool:
        """True where so much waits to be told that nothing more is to be asked before."""
        much = max(len(self.accepted), len(self._refused), len(self.backfill)) > UNTOLD
        return much or self._refused_bytes > UNTOLD_BYTES

    async def drained(self) -> None:
        """Wait until there is room again."""
        while self.is_full:
            self._taken.clear()
            await self._taken.wait()

    def refuse(self, refused: client_service_pb2.Refused) -> None:
        """Tell the client what was not done of what it asked; waking the stream is left to the caller."""
        self._refused.append(refused)
        self._refused_bytes += refused.ByteSize()

    def add_value(self, graph: bytes, index: int, data: bytes) -> None:
        """A watched node settled with a plain JSON value."""
        if self._kept >= KEPT_BYTES or self._spilled or len(self._values) >= UNREAD:
            self._spill(graph, index)
            return
        self._kept += len(data)
        self._values.append((graph, index, data))

    def _spill(self, graph: bytes, index: int) -> None:
        """Keep where a settled node is to be read from, since its reader is slow.

        All of a graph are one range, however many there are; some of it may be told twice, which readers know.
        """
        first, end = self._spilled.get(graph, (index, index))
        self._spilled[graph] = min(first, index), max(end, index + 1)

    def add_move(self, graph: bytes, index: int, state: str) -> None:
        """A watched node is in another state; a reader that is slower than the task is told the newest one only."""
        self._moves[graph, index] = self._moves.get((graph, index), (0, ""))[0] + 1, state

    def recall_move(self, graph: bytes, index: int, state: str) -> None:
        """A node is in this state as it begins to be watched; that is no news to one who is told of it already."""
        self._moves.setdefault((graph, index), (1, state))

    def add_outcome(self, graph: bytes, index: int, own_id: str, outcome: Outcome) -> None:
        """A watched node settled otherwise."""
        much = self._kept >= KEPT_BYTES or bool(self._spilled) or len(self._results) >= UNREAD
        if much and not own_id:  # of a range, such ids are not told
            self._spill(graph, index)
            return
        result = None if much else convert.result(graph, index, own_id, outcome, self._records)
        if result is not None:
            self._kept += result.ByteSize()
        self._results.append((graph, index, own_id, result))

    @property
    def has_news(self) -> bool:
        """True where something is to be told of what is watched, or was refused."""
        return bool(self._refused or self.backfill or self._moves)

    def take(self, parts: list[bytes] | None = None) -> client_service_pb2.SessionResponse | None:
        """Return the next message, or None where nothing waits.

        Args:
            parts: Where large values of it are added, encoded; None: they are in the message like others.
        """
        news = self._values or self._results or self._moves or self.backfill or self._spilled
        if not (self.welcome or self.accepted or self._refused or news):
            return None
        message = client_service_pb2.SessionResponse(accepted=self.accepted)
        if self.welcome is not None:
            message.welcome.CopyFrom(self.welcome)
        self.welcome, self.accepted = None, []
        budget = RESULT_BYTES
        for fill in (self._fill_refused, self._fill_moves):
            budget = fill(message, budget)
        budget = self._fill_results(message, self._fill_values(message, budget, parts))
        if not (self._values or self._results):
            self._kept = 0
            for graph, (first, end) in self._spilled.items():
                self.backfill.add(graph, first, end)
            self._spilled.clear()
        while self.backfill and budget > 0:
            budget = self._fill_settled(message, budget, parts)
        self._taken.set()
        if self._values or self._results or self._moves or self.backfill or self._refused:
            self.wake()
        return message

    def _fill_refused(self, message: client_service_pb2.SessionResponse, budget: int) -> int:
        while self._refused and budget > 0:
            refused = self._refused.popleft()
            size = refused.ByteSize()
            self._refused_bytes -= size
            budget -= size
            message.refused.append(refused)
        return budget

    def _fill_moves(self, message: client_service_pb2.SessionResponse, budget: int) -> int:
        """Tell how nodes stand that have not settled; the end of one that has stands behind it anyway."""
        while self._moves and budget > 0:
            (graph, index), (count, state) = self._moves.popitem()
            progress = self._records.progress(*values.stand_in(self._records, graph, index))
            told = message.progress.add(node=node_id(graph, index), state=state, skipped=count - 1)
            if progress is not None:
                told.retries = progress.retries
                if progress.custom_state == state:
                    told.meta.data, told.meta.content_type = progress.meta, progress.meta_type
            budget -= LOOK_BYTES + told.ByteSize()
        return budget

    def _fill_values(self, message: client_service_pb2.SessionResponse, budget: int, parts: list[bytes] | None) -> int:
        current: client_service_pb2.Successes | None = None
        for _ in range(min(len(self._values), PAGE)):
            if budget <= 0:
                break
            graph, index, data = self._values.popleft()
            self._kept -= len(data)
            budget -= len(data) + 4
            if parts is not None and len(data) >= streams.LARGE:
                parts += _apart(graph, index, data)
                continue
            if current is None or current.graph != graph:
                current = message.successes.add(graph=graph)
            current.indexes.append(index)
            current.values.append(data)
        return budget

    def _fill_results(self, message: client_service_pb2.SessionResponse, budget: int) -> int:
        while self._results and budget > 0:
            graph, index, own_id, result = self._results.popleft()
            if result is None:
                outcome = self._records.outcome(graph, index)
                if outcome is None:
                    continue
                result = convert.result(graph, index, own_id, outcome, self._records)
            else:
                self._kept -= result.ByteSize()
            budget -= LOOK_BYTES + result.ByteSize()
            message.results.append(result)
        return budget

    def _fill_settled(self, message: client_service_pb2.SessionResponse, budget: int, parts: list[bytes] | None) -> int:
        """Add results of nodes that had settled before they were watched; return what is left to fill."""
        graph, first, end = self.backfill.take(SPAN)
        found = self._records.settled_in(graph, first, end - first)
        if len(found) < end - first and self._records.graph(graph) is None:
            message.refused.append(expired := _expired(graph, first, end))
            return budget - LOOK_BYTES - expired.ByteSize()
        plain = client_service_pb2.Successes(graph=graph)
        alone = end - first == 1  # perhaps asked for by an id of its own, which the result must then say
        budget -= LOOK_BYTES
        # Which ones come first, and each value when its turn comes: together they may be larger than memory.
        for settled in sorted(found):
            if budget <= 0:
                self.backfill.add(graph, settled, end)
                break
            outcome = self._records.outcome(graph, settled)
            if outcome is None:
                continue
            run = self._records.run_of(graph, settled) if alone or not outcome.data or outcome.failure else None
            own_id = run.own_id if run else ""
            if outcome.state is NodeState.SUCCESS and outcome.data and not (outcome.content_type or (alone and own_id)):
                budget -= LOOK_BYTES + len(outcome.data)
                if parts is not None and len(outcome.data) >= streams.LARGE:
                    parts += _apart(graph, settled, outcome.data)
                    continue
                plain.indexes.append(settled)
                plain.values.append(outcome.data)
            else:
                result = convert.result(graph, settled, own_id, outcome, self._records)
                message.results.append(result)
                budget -= LOOK_BYTES + result.ByteSize()
        if plain.indexes:
            message.successes.append(plain)
        return budget


def _apart(graph: bytes, index: int, data: bytes) -> list[bytes]:
    """Return a large plain value as what follows its message."""
    head = client_service_pb2.Successes(graph=graph, indexes=[index])
    return nested(_SUCCESSES, head.SerializeToString(), _VALUES, [data])


def _expired(graph: bytes, first: int, end: int) -> client_service_pb2.Refused:
    """Return what is told of nodes whose graph was deleted after they were watched and before they were told."""
    code, told = "UNKNOWN_NODE", "the result expired before it was told: keep results longer, or read them sooner"
    nodes = client_service_pb2.NodeSet(graph=graph, ranges=[graph_pb2.Range(first=first, count=end - first)])
    status: int = STATUS_OF[code].value[0]
    return client_service_pb2.Refused(
        nodes=nodes, refusal=client_service_pb2.Refusal(status=status, code=code, message=told)
    )
