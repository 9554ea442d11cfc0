"""What runs is looked up once for many questions where there is much of it, and anew for each where there is little."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.coordinator.support.serving import BOUND, calls, ranges, serving

from grpcflow_coordinator.core.model import Now, node_id
from grpcflow_coordinator.rpc import lookup
from grpcflow_coordinator.rpc.running import AGAIN, FEW, Running
from grpcflow_protos.v1 import client_service_pb2

GRAPH = b"g" * 12
OTHER = b"o" * 12


class Attempts(dict[int, Any]):
    """Attempts that take time to look through, and note how often that is done."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.now, self._seconds, self.looks = 100.0, seconds, 0

    def values(self) -> Any:
        """Return them, later."""
        self.now += self._seconds
        self.looks += 1
        return super().values()


def running(attempts: Attempts) -> Running:
    """Return what runs of these."""
    machine = SimpleNamespace(cluster=SimpleNamespace(attempts=attempts))
    engine: Any = SimpleNamespace(machine=machine, now=lambda: Now(0, attempts.now))
    return Running(engine)


def test_many_questions_about_much_take_a_tenth_of_the_time() -> None:
    attempts = Attempts(seconds=0.1)
    attempts.update({token: SimpleNamespace(graph=OTHER, index=token) for token in range(2, FEW + 3)})
    one = running(attempts)
    for _ in range(1_000):
        one.by_node()
        one.by_graph()
        attempts.now += 0.001
    assert 1 <= attempts.looks <= 2
    attempts[1] = SimpleNamespace(graph=GRAPH, index=7)
    attempts.now += AGAIN * 0.1
    assert one.by_node()[node_id(GRAPH, 7)] is attempts[1]
    assert one.by_graph() == {GRAPH: 1, OTHER: FEW + 1}


@pytest.mark.parametrize("seconds", [0.0001, 0.1], ids=["at-once", "while-others-had-the-processor"])
def test_a_question_about_little_is_answered_as_it_is_now(seconds: float) -> None:
    attempts = Attempts(seconds)
    one = running(attempts)
    assert not one.by_node()
    attempts[1] = SimpleNamespace(graph=GRAPH, index=7)
    assert one.by_graph()[GRAPH] == 1
    del attempts[1]
    assert not one.by_node()


async def test_one_question_about_many_nodes_looks_once_for_each_page(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[Running] = []
    whole = Running.by_node

    def looking(self: Running) -> Any:
        looks.append(self)
        return whole(self)

    monkeypatch.setattr(lookup, "PAGE", 20)
    monkeypatch.setattr(Running, "by_node", looking)
    async with serving() as wire:
        chunk = calls(50)
        await wire.submit(chunk)
        asked = client_service_pb2.GetResultsRequest(nodes=ranges(chunk.graph, 50))
        assert len((await wire.client.GetResults(asked, timeout=BOUND)).results) == 50
        assert len(looks) == 3
