"""What was revoked or expired on disk is passed over a few pages at a time: a step is short, and order holds."""

from dataclasses import replace

import pytest
from tests.coordinator.support.bench import Bench
from tests.coordinator.support.graphs import PLAIN, one

from grpcflow_coordinator.core import dispatch, sweeping
from grpcflow_coordinator.core.lines import WINDOW, Lines
from grpcflow_coordinator.core.machine import Machine
from grpcflow_coordinator.core.model import NodeState

#: Pages that one round may read in these tests, and pages of settled nodes that there are.
ALLOWED = 2
PAGES = 3 * ALLOWED

#: What a call in the line of those that expired looks like.
HIGH = replace(PLAIN, priority=5)


@pytest.fixture(autouse=True)
def little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few pages, and no sweep that clears the queue before somebody takes from it."""
    monkeypatch.setattr(dispatch, "SETTLED_PAGES", ALLOWED)
    monkeypatch.setattr(sweeping, "_SHARE", 0)


def expired(bench: Bench, count: int) -> list[bytes]:
    """Returns so many graphs that expired while nobody was there to run them."""
    bench.check = False
    graphs = [bench.submit(one(replace(HIGH, expires_in_ms=1000))) for _ in range(count)]
    bench.pass_time(2)
    assert all(bench.state(graph, 0) is NodeState.REVOKED for graph in graphs)
    return graphs


def check(bench: Bench) -> None:
    """Checks the whole state, which takes too long to do after each step here."""
    bench.check = True
    bench.tick()


@pytest.fixture
def pages_of_rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pages each round of hand-outs read."""
    counts: list[int] = [0]
    refill, tick = Lines._refill, Machine._tick

    def counted_refill(self: Lines, *arguments: object) -> None:
        counts[-1] += 1
        refill(self, *arguments)  # type: ignore[arg-type]

    def counted_tick(self: Machine, *arguments: object) -> None:
        counts.append(0)
        tick(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Lines, "_refill", counted_refill)
    monkeypatch.setattr(Machine, "_tick", counted_tick)
    return counts


def test_a_round_reads_few_pages_of_settled_nodes_and_the_next_goes_on(
    bench: Bench, pages_of_rounds: list[int]
) -> None:
    expired(bench, PAGES * WINDOW)
    waiting = bench.submit(one(HIGH))
    worker = bench.worker()
    assert worker.given == [(waiting, 0)]
    assert sum(pages_of_rounds) >= PAGES
    assert max(pages_of_rounds) <= ALLOWED + 1
    assert not bench.machine.cluster.lines.gone
    check(bench)


def test_a_lower_priority_waits_until_the_head_of_the_higher_one_is_found(bench: Bench) -> None:
    expired(bench, PAGES * WINDOW)
    high = bench.submit(one(HIGH))
    low = bench.submit(one(replace(PLAIN, task="u")))
    worker = bench.worker(tasks=frozenset({"t", "u"}))
    assert worker.given == [(high, 0), (low, 0)]
    check(bench)


def test_another_queue_need_not_wait_for_that(bench: Bench) -> None:
    expired(bench, PAGES * WINDOW)
    other = bench.submit(one(replace(PLAIN, queue="other")))
    worker = bench.worker(queues=("default", "other"))
    assert worker.given == [(other, 0)]
    check(bench)
