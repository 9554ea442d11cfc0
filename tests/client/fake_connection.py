"""A connection that keeps what is submitted and answers what a test tells it: no coordinator, no thread, no waiting."""

from collections.abc import Callable, Sequence
from typing import Any

from tests.support.awaited import AlsoAwaited

from grpcflow import Grpcflow, codec, errors, ids
from grpcflow.connection import Settled
from grpcflow_protos.v1 import graph_pb2, value_pb2


class FakeConnection(AlsoAwaited):
    """Records graphs; results are those that `settle` was given."""

    def __init__(self) -> None:
        self.graphs: list[list[graph_pb2.GraphChunk]] = []
        self.settled: dict[str, Settled] = {}
        self.revoked: list[tuple[list[str], bool, str]] = []
        self.asked: list[str] = []
        self.looks: dict[str, Settled] = {}
        self.calls: list[tuple[list[str], Callable[[Exception | None], None]]] = []
        self.forgotten: list[str] = []
        self.groups: dict[str, bytes] = {}
        self.stamps: list[tuple[Any, bool, str]] = []

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
        self,
        ids: Sequence[str],
        *,
        timeout: float | None,
        on_result: Callable[[str, Settled], None] | None = None,
        wait_for_submit: bool = False,
        to_failure: bool = False,
    ) -> dict[str, Settled]:
        self.asked.append("wait")
        return {name: self.settled[name] for name in self._due(ids, to_failure)}

    def wait_range(
        self,
        graph: bytes,
        first: int,
        count: int,
        *,
        timeout: float | None,
        to_failure: bool = False,
        on_large: Callable[[Settled], None] | None = None,  # none of the values here is
    ) -> list[Settled]:
        self.asked.append(f"range {first}+{count}")
        names = [ids.node_id(graph, index) for index in range(first, first + count)]
        return [self.settled[name] for name in self._due(names, to_failure)]

    def _due(self, names: Sequence[str], to_failure: bool) -> list[str]:
        due: list[str] = []
        for name in names:
            if name not in self.settled:
                raise errors.TimeoutError(f"{len(names) - len(due)} of {len(names)} have not settled")
            due.append(name)
            if to_failure and self.settled[name].state in ("FAILURE", "REVOKED", "REJECTED"):
                break
        return due

    def arrivals(
        self,
        names: Sequence[str],
        *,
        timeout: float | None,
        interval: float | None = None,
        progress: bool = False,
        **_: Any,
    ) -> Any:
        if interval is not None:
            yield None
        yield from ((name, self.looks.pop(name)) for name in names if progress and name in self.looks)
        for name in [*self.settled]:
            if name in names:
                yield name, self.settled[name]

    def when_settled(self, names: Sequence[str], call: Callable[[Exception | None], None], **_: Any) -> None:
        self.calls.append((list(names), call))

    def lookup(self, ids: Sequence[str], *, states_only: bool = False, details: bool = False) -> list[Settled | None]:
        self.asked.append("lookup")
        return [self.looks.pop(name, None) or self.settled.get(name) for name in ids]

    def forget(self, names: Sequence[str]) -> int:
        self.forgotten += names
        return len([self.settled.pop(name, None) for name in names])

    def save_group(self, id: str, data: bytes) -> None:
        self.groups[id] = data

    def restore_group(self, id: str) -> bytes | None:
        return self.groups.get(id)

    def delete_group(self, id: str) -> None:
        self.groups.pop(id, None)

    def revoke_by_stamp(self, stamps: Any, terminate: bool, signal: str) -> int:
        self.stamps.append((stamps, terminate, signal))
        return 1

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
