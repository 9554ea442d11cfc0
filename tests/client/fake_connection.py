"""A connection that keeps what is submitted and answers what a test tells it: no coordinator, no thread, no waiting."""

from collections.abc import Callable, Sequence
from typing import Any

from grpcflow import Grpcflow, codec, errors, ids
from grpcflow.connection import Settled
from grpcflow_protos.v1 import graph_pb2, value_pb2


class FakeConnection:
    """Records graphs; results are those that `settle` was given."""

    def __init__(self) -> None:
        self.graphs: list[list[graph_pb2.GraphChunk]] = []
        self.settled: dict[str, Settled] = {}
        self.revoked: list[tuple[list[str], bool, str]] = []
        self.asked: list[str] = []

    # --- what the test does -------------------------------------------------------------------------------

    @property
    def last(self) -> list[graph_pb2.GraphChunk]:
        return self.graphs[-1]

    def node(self, index: int, graph: int = -1) -> str:
        return ids.node_id(self.graphs[graph][0].graph, index)

    def succeed(self, node: str | int, value: Any) -> None:
        name = self.node(node) if isinstance(node, int) else node
        self.settled[name] = Settled("SUCCESS", data=codec.encode(value), worker="w1")

    def fail(self, node: str | int, error: Exception, state: str = "FAILURE") -> None:
        from grpcflow import failures

        name = self.node(node) if isinstance(node, int) else node
        self.settled[name] = Settled(state, failure=failures.capture(error), worker="w1")

    def settle_list(self, node: int, values: Sequence[Any]) -> None:
        listed = value_pb2.ValueList(values=[value_pb2.Value(data=codec.encode(value)) for value in values])
        self.settled[self.node(node)] = Settled("SUCCESS", value=value_pb2.Value(list=listed))

    # --- what the client does -----------------------------------------------------------------------------

    def submit(self, chunks: Sequence[graph_pb2.GraphChunk], *, timeout: float | None = None) -> None:
        self.graphs.append(list(chunks))

    def wait(
        self, ids: Sequence[str], *, timeout: float | None, on_result: Callable[[str, Settled], None] | None = None
    ) -> dict[str, Settled]:
        self.asked.append("wait")
        missing = [name for name in ids if name not in self.settled]
        if missing:
            raise errors.TimeoutError(f"{len(missing)} of {len(ids)} have not settled")
        return {name: self.settled[name] for name in ids}

    def wait_range(self, graph: bytes, first: int, count: int, *, timeout: float | None) -> list[Settled]:
        self.asked.append(f"range {first}+{count}")
        names = [ids.node_id(graph, index) for index in range(first, first + count)]
        found = [self.settled.get(name) for name in names]
        if None in found:
            raise errors.TimeoutError(f"{found.count(None)} of {count} have not settled")
        return [settled for settled in found if settled is not None]

    def lookup(self, ids: Sequence[str], *, states_only: bool = False) -> list[Settled | None]:
        self.asked.append("lookup")
        return [self.settled.get(name) for name in ids]

    def revoke(self, ids: Sequence[str], terminate: bool, signal: str) -> None:
        self.revoked.append((list(ids), terminate, signal))


class FakeApp(Grpcflow):
    """An app whose connection is a FakeConnection, `app.fake`."""

    def __init__(self, main: str = "", **settings: Any) -> None:
        self.fake = FakeConnection()
        super().__init__(main, **settings)

    @property
    def connection(self) -> Any:
        """The fake."""
        return self.fake


def lowered_calls(chunks: Sequence[graph_pb2.GraphChunk]) -> list[list[Any]]:
    """Returns [name, args, kwargs] of every call in the pieces, in the order of their indexes."""
    templates = chunks[0].templates
    return [
        [templates[run.template].task, *codec.decode(payload)]
        for chunk in chunks
        for run in chunk.runs
        for payload in run.payloads
    ]
