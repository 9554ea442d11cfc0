"""Canvases that Celery hangs on or contradicts itself about, each lowered to the edges that settle it."""

from typing import Any

import pytest

from grpcflow import Grpcflow, chain, chord, group
from grpcflow.lower import Calls, LoweredGraph, Mode, OnFailure, lower

app = Grpcflow("edges", set_as_current=False)


@app.task(name="noop")
def noop(*args: Any) -> None:
    """Do nothing."""


def lowered(canvas: Any, **given: Any) -> LoweredGraph:
    graph = lower(canvas, Calls(app), **given)
    assert graph is not None
    return graph


def edges(graph: LoweredGraph, node: int) -> list[tuple[int, Mode, OnFailure]]:
    (run,) = [run for run in graph.runs if run.first == node]
    return [(edge.parent, edge.mode, edge.on_failure) for edge in run.inputs]


def with_errback(canvas: Any, errback: Any) -> LoweredGraph:
    canvas.link_error(errback)
    return lowered(canvas)


def test_an_errback_that_is_a_chord_with_an_empty_header_is_told_nothing() -> None:
    graph = with_errback(noop.s(), chord([], noop.s("body")))
    assert edges(graph, 1) == [(0, Mode.ERROR_AFTER, OnFailure.PASS)]
    assert graph.runs[1].payloads == [b'[[[],"body"],{}]']


def test_an_errback_that_is_a_chord_is_told_in_its_header() -> None:
    graph = with_errback(noop.s(), chord([noop.s("h"), noop.si("i")], noop.s("body")))
    assert [edges(graph, node)[0][1] for node in (1, 2)] == [Mode.ERROR, Mode.ERROR_AFTER]
    assert edges(graph, 4) == [(3, Mode.VALUE, OnFailure.CHORD)]


def test_8182_a_chain_that_ends_in_a_group_is_a_member_by_its_join() -> None:
    graph = lowered(chord([chain(noop.s(1), group(noop.s(2), noop.s(3))), noop.s(4)], noop.s()))
    assert [run.members for run in graph.runs if run.members] == [[(1, 2)], [(3, 2)]]


def test_5354_groups_with_tasks_between_them_are_chords() -> None:
    graph = lowered(group(noop.s(1), noop.s(2)) | noop.s(3) | noop.s(4) | group(noop.s(5), noop.s(6)))
    assert edges(graph, 3) == [(2, Mode.VALUE, OnFailure.CHORD)]
    assert edges(graph, 4) == [(3, Mode.VALUE, OnFailure.PASS)]
    assert edges(graph, 5) == edges(graph, 6) == [(4, Mode.VALUE, OnFailure.PASS)]


def test_3585_two_groups_in_a_row_each_member_gets_the_whole_list() -> None:
    graph = lowered(chain(group(noop.s(1), noop.s(2)), group(noop.s(3), noop.s(4))))
    assert edges(graph, 3) == edges(graph, 4) == [(2, Mode.VALUE, OnFailure.BODY)]


@pytest.mark.parametrize(
    ("canvas", "nodes"),
    [
        (lambda: chain(noop.s(1), group(), noop.s(2)), 2),
        (lambda: chain(noop.s(1), chain(), noop.s(2)), 2),
        (lambda: chain(noop.s(1), group(chain(), group()), noop.s(2)), 2),
        (lambda: group(noop.s(1), chain(), group(), noop.s(2)), 3),
        (lambda: chord([chain(), group()], noop.s()), 1),
        (lambda: chord([], chain()), 1),
        (lambda: chord([noop.s(1)], chain()), 2),
        (lambda: chain(chord([], noop.s(1)), noop.s(2)), 2),
        (lambda: noop.chunks([], 3), 1),
        (lambda: chain(noop.s(1), noop.chunks([], 3), noop.s(2)), 3),
        (lambda: group(group(), group(group())), 1),
    ],
)
def test_9772_3756_873_empty_parts_leave_nothing_that_waits(canvas: Any, nodes: int) -> None:
    assert lowered(canvas()).node_count == nodes


def test_the_id_of_a_chord_whose_body_is_an_empty_chain_is_that_of_its_list() -> None:
    graph = lowered(chord([noop.s(1), noop.s(2)], chain(), task_id="x"))
    assert (graph.outcome.node, graph.outcome.id, graph.runs[-1].id) == (2, "x", "x")


def test_6220_9674_a_failing_chain_in_a_header_fails_the_body() -> None:
    graph = lowered(chord([chain(noop.s(1), noop.s(2)), noop.s(3)], noop.s()))
    assert edges(graph, 1) == [(0, Mode.VALUE, OnFailure.PASS)]
    assert edges(graph, 4) == [(3, Mode.VALUE, OnFailure.CHORD)]


def test_8786_each_member_of_a_later_group_waits_for_the_one_before() -> None:
    graph = lowered(chain(group(noop.s(1), noop.s(2)), group(noop.s(3), noop.s(4)), group(noop.s(5), noop.s(6))))
    assert all(edges(graph, node) == [(5, Mode.VALUE, OnFailure.BODY)] for node in (6, 7))
    assert all(edges(graph, node) == [(2, Mode.VALUE, OnFailure.BODY)] for node in (3, 4))


def test_3317_9107_an_errback_of_a_chord_is_one_node() -> None:
    graph = with_errback(chord([noop.s(i) for i in range(9)], noop.s()), noop.s("error"))
    assert edges(graph, 11) == [(10, Mode.ERROR, OnFailure.PASS)]
    assert graph.node_count == 12


def test_4281_6766_an_errback_of_a_group_hangs_on_its_join() -> None:
    graph = with_errback(group(noop.s(1), noop.s(2)), noop.s("error"))
    assert edges(graph, 3) == [(2, Mode.ERROR, OnFailure.PASS)]
    assert graph.node_count == 4


def test_a_link_of_a_group_hangs_on_its_join() -> None:
    canvas = group(noop.s(1), noop.s(2))
    canvas.link(noop.s("link"))
    assert edges(lowered(canvas), 3) == [(2, Mode.VALUE, OnFailure.PASS)]


def test_link_of_a_chain_is_on_its_last_step_and_link_error_on_every_step() -> None:
    canvas = chain(noop.s(1), noop.s(2), noop.s(3))
    canvas.link(noop.s("link"))
    canvas.link_error(noop.s("error"))
    graph = lowered(canvas)
    assert edges(graph, 3) == [(2, Mode.VALUE, OnFailure.PASS)]
    assert [edge[0] for edge in edges(graph, 4)] == [0, 1, 2]


def test_5000_9202_a_canvas_grows_in_line_with_its_calls() -> None:
    from grpcflow.lower import to_chunks

    def size(count: int) -> int:
        canvas = chain(chord([noop.s(i) for i in range(10)], noop.s()) for _ in range(count))
        return sum(chunk.ByteSize() for chunk in to_chunks(lowered(canvas), b"g" * 12))

    assert size(200) < 2.1 * size(100)
