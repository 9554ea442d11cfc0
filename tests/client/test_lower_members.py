"""What the lowering says of places: groups and chords of members, attached graphs, templates in the pieces."""

from typing import Any

from grpcflow import Grpcflow, chain, chord, group, ids
from grpcflow.lower import Attachment, Calls, LoweredGraph, lower, to_chunks
from grpcflow_protos.limits import BATCH_BYTES, CHUNK_RUNS
from grpcflow_protos.v1 import graph_pb2

GRAPH = b"g" * 12

app = Grpcflow("places", set_as_current=False)


@app.task(name="noop")
def noop(*args: Any) -> None:
    """Do nothing."""


def lowered(canvas: Any) -> LoweredGraph:
    graph = lower(canvas, Calls(app))
    assert graph is not None
    return graph


def places(canvas: Any) -> list[tuple[int, int, int, bool]]:
    """Returns (first node, index of its join, place of the first node, in a chord) of every run that has a join."""
    runs = [run for chunk in to_chunks(lowered(canvas), GRAPH) for run in chunk.runs]
    assert all(run.group[:12] == GRAPH for run in runs if run.group)
    return [
        (run.first, int.from_bytes(run.group[12:], "big"), run.group_index, run.in_chord) for run in runs if run.group
    ]


def test_members_know_their_group_and_their_place() -> None:
    assert places(group(noop.s(1), noop.s(2))) == [(0, 2, 0, False)]
    assert places(group(noop.s(1), noop.signature(queue="q"), noop.s(3))) == [
        (0, 3, 0, False),
        (1, 3, 1, False),
        (2, 3, 2, False),
    ]
    assert places(noop.s(1)) == []


def test_places_count_on_over_runs_that_are_cut() -> None:
    expected = [(0, 1001, 0, False), (500, 1001, 500, False), (1000, 1001, 1000, False)]
    assert places(group(noop.s(i) for i in range(1_001))) == expected


def test_members_of_a_header_are_in_a_chord_however_it_is_written() -> None:
    expected = [(0, 2, 0, True)]
    for canvas in (
        chord([noop.s(1), noop.s(2)], noop.s()),
        group(noop.s(1), noop.s(2)) | noop.s(),
        chain(group(noop.s(1), noop.s(2)), noop.s()),
    ):
        assert places(canvas) == expected


def test_only_the_last_step_of_a_chain_is_the_member() -> None:
    canvas = chord([chain(noop.s(1), noop.s(2)), noop.s(3)], noop.s())
    assert places(canvas) == [(1, 3, 0, True), (2, 3, 1, True)]


def test_a_nested_join_and_a_nested_body_are_members() -> None:
    inner = chord([noop.s(1), noop.s(2)], noop.s(3))
    assert places(chord([inner, noop.s(4)], noop.s())) == [(0, 2, 0, True), (3, 5, 0, True), (4, 5, 1, True)]
    ends_in_group = chain(noop.s(1), group(noop.s(2), noop.s(3)))
    assert places(group(ends_in_group)) == [(1, 3, 0, False), (2, 3, 1, False), (3, 4, 0, False)]


def test_a_replacement_takes_the_place_of_the_task_that_it_replaces() -> None:
    join = ids.node_bytes(b"o" * 12, 9)
    attachment = Attachment("replace", b"n" * 16, 77, group=join, group_index=3, in_chord=True, nesting=2)
    chunks = to_chunks(lowered(chain(noop.s(1), group(noop.s(2), noop.s(3)), noop.s(4))), GRAPH, attachment)
    sent = chunks[0].attachment
    assert (sent.kind, sent.node, sent.token, sent.final) == (
        graph_pb2.ATTACHMENT_KIND_REPLACE,
        b"n" * 16,
        77,
        4,
    )
    runs = {run.first: run for run in chunks[0].runs}
    assert (runs[4].group, runs[4].group_index, runs[4].in_chord) == (join, 3, True)
    assert runs[1].group == GRAPH + (3).to_bytes(4, "big")
    assert not runs[0].group
    assert [template.replaced_nesting for template in chunks[0].templates] == [2]


def test_an_attachment_is_in_the_first_piece_only() -> None:
    large = "x" * (BATCH_BYTES // 3)
    attachment = Attachment("member", b"n" * 16, 1)
    chunks = to_chunks(lowered(group(noop.s(large) for _ in range(9))), GRAPH, attachment)
    assert [chunk.HasField("attachment") for chunk in chunks] == [True] + [False] * (len(chunks) - 1)
    assert chunks[0].attachment.kind == graph_pb2.ATTACHMENT_KIND_MEMBER
    assert chunks[0].attachment.final == 9
    assert not to_chunks(lowered(noop.s()), GRAPH)[0].HasField("attachment")


def test_templates_travel_with_the_runs_that_need_them_first() -> None:
    chunks = to_chunks(lowered(group(noop.s("x" * 100) for _ in range(12_000)).skew()), GRAPH)
    assert len(chunks) > 2
    seen = 0
    for chunk in chunks:
        before = seen
        seen += len(chunk.templates)
        assert all(run.template < seen for run in chunk.runs)
        assert before == 0 or all(run.template >= before for run in chunk.runs if run.payloads)
        assert chunk.ByteSize() <= BATCH_BYTES + 1_000
    assert seen == 12_000
    assert [template.countdown.seconds for chunk in chunks for template in chunk.templates][:3] == [1, 2, 3]


def test_an_id_of_the_users_on_the_first_call_is_the_root_of_all() -> None:
    def roots(canvas: Any) -> list[str]:
        return [one.root_id for chunk in to_chunks(lowered(canvas), GRAPH) for one in chunk.templates]

    assert roots(chain(noop.signature(task_id="first"), noop.signature(queue="q"))) == ["first", "first"]
    assert roots(chain(noop.s(), noop.signature(task_id="second", queue="q"))) == ["", ""]
    assert roots(chain(noop.signature(task_id="first"), noop.signature(queue="q", root_id="own"))) == ["first", "own"]


def test_equal_calls_share_a_template() -> None:
    canvas = group(noop.signature((i,), queue="q", headers={"a": [1]}, stamped_headers=["s"], s="x") for i in range(9))
    graph = lowered(canvas)
    assert len(graph.templates) == 1
    assert [run.count for run in graph.runs] == [9, 1]


def test_the_first_piece_names_the_node_whose_value_is_the_value_of_the_whole() -> None:
    many = to_chunks(lowered(chain(noop.s(i) for i in range(2 * CHUNK_RUNS + 1))), GRAPH)
    assert [chunk.outcome for chunk in many] == [2 * CHUNK_RUNS + 1, 0, 0]
    for canvas, node in ((noop.s(), 0), (group(noop.s(1), noop.s(2)), 2), (chord([noop.s(1)] * 3, noop.s()), 4)):
        graph = lowered(canvas)
        assert (graph.outcome.node, to_chunks(graph, GRAPH)[0].outcome) == (node, node + 1)
