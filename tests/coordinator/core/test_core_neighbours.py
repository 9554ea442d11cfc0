"""Nodes that came back travel together again, so that a stalled worker does not turn a group into runs of one."""

from tests.coordinator.support.bench import Bench
from tests.coordinator.support.graphs import chord

from grpcflow_coordinator.core.events import Ended
from grpcflow_coordinator.core.lines import Line


def _hand_all_back(bench: Bench, members: int, lost: int | None = None) -> Line:
    """Give a group to a worker, then have it all back, one of it lost; return the group's line."""
    graph = bench.submit(chord(members))
    worker = bench.worker(capacity=members)
    bench.speak(worker, capacity=0)
    if lost is not None:
        bench.end(worker, graph, lost, "lost")
    reports = tuple(Ended(token, "returned") for token in reversed(list(worker.held)))
    bench.speak(worker, reports=reports)
    return next(iter(bench.machine.cluster.lines.by_key.values()))


def _slices(bench: Bench, line: Line) -> list[tuple[int, int]]:
    """Take everything from the line as a dispatch would, in slices of at most 100."""
    taken = []
    while (slice_ := bench.machine.cluster.lines.take(bench.records, line, 100)) is not None:
        taken.append((slice_[1], slice_[2]))
    return taken


def test_what_came_back_is_handed_out_as_one_run(bench: Bench) -> None:
    line = _hand_all_back(bench, 20)
    bench.check = False
    assert _slices(bench, line) == [(0, 20)]


def test_a_node_that_was_lost_travels_alone_with_its_losses(bench: Bench) -> None:
    line = _hand_all_back(bench, 20, lost=7)
    bench.check = False
    assert _slices(bench, line) == [(0, 7), (7, 1), (8, 12)]


def test_a_large_capacity_is_filled_up_in_pieces(bench: Bench) -> None:
    graph = bench.submit(chord(100))
    worker = bench.worker(capacity=64)
    assert len(worker.held) == 64
    for index in range(8):
        bench.finish(worker, graph, index)
    assert len(worker.held) == 56
    bench.finish(worker, graph, 8)
    assert len(worker.held) == 64
