"""What is still to be told of what had settled: all that was asked for, and each node once."""

from __future__ import annotations

import random

import pytest

from grpcflow_coordinator.backfill import Backfill

GRAPH, OTHER = b"g" * 12, b"o" * 12


def drained(backfill: Backfill, most: int = 100) -> list[tuple[bytes, int, int]]:
    """Take all that waits."""
    found = []
    while backfill:
        found.append(backfill.take(most))
    assert len(backfill) == 0
    return found


def test_a_range_that_is_asked_for_again_and_again_is_told_once() -> None:
    backfill = Backfill()
    for _ in range(1_000):
        backfill.add(GRAPH, 0, 250)
        backfill.add(GRAPH, 7, 8)
    assert len(backfill) == 2
    assert drained(backfill) == [(GRAPH, 7, 8), (GRAPH, 0, 100), (GRAPH, 100, 200), (GRAPH, 200, 250)]


def test_graphs_take_turns_and_nothing_waits_of_no_nodes() -> None:
    backfill = Backfill()
    backfill.add(GRAPH, 0, 150)
    backfill.add(OTHER, 0, 150)
    backfill.add(OTHER, 200, 200)
    assert [graph for graph, _, _ in drained(backfill)] == [GRAPH, OTHER, GRAPH, OTHER]


def test_who_asks_while_it_is_told_hears_what_it_has_missed_and_keeps_nobody_from_the_end() -> None:
    backfill = Backfill()
    told = []
    for _ in range(10):
        backfill.add(GRAPH, 0, 1_000)
        told.append(backfill.take(100))
    assert told == [(GRAPH, first, first + 100) for first in range(0, 1_000, 100)]
    assert sorted(drained(backfill)) == [(GRAPH, first, first + 100) for first in range(0, 900, 100)]


@pytest.mark.parametrize("seed", range(20))
def test_all_that_was_asked_for_is_told_after_it_was_asked_for(seed: int) -> None:
    chance = random.Random(seed)
    backfill, missing = Backfill(), set()
    for _ in range(300):
        if chance.random() < 0.6:
            graph, first = chance.choice((GRAPH, OTHER)), chance.randrange(100)
            end = first + chance.choice((1, 2, 30))
            backfill.add(graph, first, end)
            missing |= {(graph, index) for index in range(first, end)}
        elif backfill:
            graph, first, end = backfill.take(chance.choice((1, 7, 100)))
            missing -= {(graph, index) for index in range(first, end)}
    for graph, first, end in drained(backfill):
        missing -= {(graph, index) for index in range(first, end)}
    assert not missing, seed
