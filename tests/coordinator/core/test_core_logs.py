"""What attempts logged: kept in order, once, bounded, and for as long as their graph."""

import pytest
from tests.coordinator.support.bench import Bench, Puppet
from tests.coordinator.support.graphs import Sketch, one

from grpcflow_coordinator.core.cluster import Limits
from grpcflow_coordinator.core.events import EraseAsked, Logged
from grpcflow_coordinator.core.keeping import LOGGED_ATTEMPTS
from grpcflow_coordinator.core.model import NodeState
from grpcflow_coordinator.storage import keys


@pytest.fixture
def bench() -> Bench:
    return Bench(Limits(log_limit=100, max_deliveries=1_000))


def log(bench: Bench, worker: Puppet, token: int, first: int, data: bytes, lines: int = 1) -> None:
    assert bench.speak(worker, logs=[Logged(token, first, lines, data)]) is not None


def kept(bench: Bench, graph: bytes, index: int = 0) -> list[tuple[int, int, bytes]]:
    """Return the pieces that are kept of a node: first line, end, and what it is."""
    return [(one.first, one.end, one.data) for one in bench.records.logs(graph, index, 0, 0, 1_000)]


def test_pieces_are_kept_in_order_and_what_comes_again_is_passed_over(bench: Bench) -> None:
    graph, worker = bench.submit(one()), bench.worker()
    token = worker.token(graph, 0)
    log(bench, worker, token, 0, b"a", lines=3)
    log(bench, worker, token, 0, b"a", lines=3)
    log(bench, worker, token, 3, b"b")
    log(bench, worker, token, 7, b"c")  # the worker dropped some
    assert kept(bench, graph) == [(0, 3, b"a"), (3, 4, b"b"), (7, 8, b"c")]


def test_of_an_attempt_the_last_bytes_are_kept(bench: Bench) -> None:
    graph, worker = bench.submit(one()), bench.worker()
    for number in range(40):
        log(bench, worker, worker.token(graph, 0), number, bytes([number]) * 30)
    assert [first for first, _, _ in kept(bench, graph)] == [37, 38, 39]
    log(bench, worker, worker.token(graph, 0), 40, b"x" * 500)
    assert [first for first, _, _ in kept(bench, graph)] == [40]


def test_of_a_node_the_last_attempts_are_kept(bench: Bench) -> None:
    graph, tokens = bench.submit(one()), []
    for number in range(LOGGED_ATTEMPTS + 3):
        worker = bench.worker(f"w{number}@host")
        tokens.append(worker.token(graph, 0))
        log(bench, worker, tokens[-1], 0, b"a")
        log(bench, worker, tokens[-1], 1, b"b")
        bench.gone(worker)
    assert bench.records.logged_attempts(graph, 0) == tokens[3:]
    assert len(kept(bench, graph)) == 2 * LOGGED_ATTEMPTS


def test_what_is_not_the_sender_s_is_dropped_and_costs_it_nothing(bench: Bench) -> None:
    graph, worker = bench.submit(one()), bench.worker(capacity=1)
    token, other = worker.token(graph, 0), bench.worker("other@host")
    log(bench, other, token, 0, b"a")
    log(bench, other, 12345, 0, b"a")
    bench.finish(worker, graph, 0)
    log(bench, worker, token, 0, b"a")
    assert not kept(bench, graph)


def test_logs_come_before_the_end_in_the_same_message(bench: Bench) -> None:
    graph, worker = bench.submit(one()), bench.worker()
    token = worker.token(graph, 0)
    bench.speak(worker, tokens=[token], values=[b"1"], logs=[Logged(token, 0, 1, b"a")])
    assert bench.state(graph, 0) is NodeState.SUCCESS
    assert kept(bench, graph) == [(0, 1, b"a")]


def test_nothing_is_kept_where_nothing_is_wanted() -> None:
    bench = Bench(Limits(log_limit=0))
    graph, worker = bench.submit(one()), bench.worker()
    log(bench, worker, worker.token(graph, 0), 0, b"a")
    assert not kept(bench, graph)


def test_logs_outlive_a_restart_and_go_with_their_graph(bench: Bench) -> None:
    graph, worker = bench.submit(one()), bench.worker()
    log(bench, worker, worker.token(graph, 0), 0, b"a")
    bench.restart()
    bench.arrive(worker, held=worker.held)
    log(bench, worker, worker.token(graph, 0), 1, b"b")
    bench.finish(worker, graph, 0)
    assert len(kept(bench, graph)) == 2
    bench.pass_time(90_000)
    assert not bench.store.keys(keys.LOG, keys.after(keys.LOG), 10)


def test_erasing_a_graph_leaves_nothing_of_its_logs(bench: Bench) -> None:
    group = Sketch()
    group.group(2)
    graph, worker = bench.submit(group), bench.worker()
    for index in range(2):
        log(bench, worker, worker.token(graph, index), 0, b"a")
        bench.finish(worker, graph, index)
    assert [piece.node[12:] for piece in bench.records.graph_logs(graph, None, 10)] == [b"\0\0\0\0", b"\0\0\0\1"]
    bench.step(EraseAsked(None, (graph,), ()))
    assert not bench.store.keys(keys.LOG, keys.after(keys.LOG), 10)


@pytest.mark.parametrize(("first", "expected"), [(0, [0, 3, 9]), (2, [0, 3, 9]), (3, [3, 9]), (8, [9]), (10, [])])
def test_a_reader_goes_on_at_any_line(bench: Bench, first: int, expected: list[int]) -> None:
    graph, worker = bench.submit(one()), bench.worker()
    token = worker.token(graph, 0)
    for at, lines in ((0, 3), (3, 1), (9, 1)):
        log(bench, worker, token, at, b"a", lines=lines)
    assert [piece.first for piece in bench.records.logs(graph, 0, token, first, 10)] == expected
    assert not bench.records.logs(graph, 0, token + 1, 0, 10)
