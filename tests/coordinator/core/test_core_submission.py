"""Submission: all of a graph or nothing; the same graph again; ids."""

import random
from dataclasses import replace

import pytest
from tests.coordinator.support.bench import Bench
from tests.coordinator.support.graphs import PLAIN, Sketch, chord, graph_id, one, value

from grpcflow_coordinator.core import submission
from grpcflow_coordinator.core.cluster import GRAPH_CACHE, Limits
from grpcflow_coordinator.core.effects import Accepted, Refused
from grpcflow_coordinator.core.events import ChunkArrived, ChunkRefused, ClientLeft, Event, Tick
from grpcflow_coordinator.core.model import Run


def pieces(count: int = 6, runs_each: int = 2, client: object = "client") -> tuple[bytes, list[ChunkArrived]]:
    sketch = Sketch()
    for _ in range(count):
        sketch.task()
    return sketch.id, sketch.chunks(client, runs_each)


def test_graphs_that_are_half_here_have_a_bound(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "STAGED", 3)
    for _ in range(3):
        bench.step(pieces()[1][0])
    _, late = pieces()
    bench.step(late[0])
    assert code(bench) == "OVERLOADED"
    for chunk in late[1:]:
        bench.step(chunk)
    assert not bench.take(Refused)  # the rest of it is dropped
    for client in ("other", "client"):
        graph, chunks = pieces(client=client)
        for chunk in chunks:
            bench.step(chunk)
        assert [send.graph for send in bench.take(Accepted)] == [graph]
        bench.step(ClientLeft("client"))  # with all that it had begun


@pytest.mark.parametrize(("bound", "told"), [("TEMPLATE_BYTES", "PAYLOAD_TOO_LARGE"), ("STAGED_BYTES", "OVERLOADED")])
def test_templates_of_a_graph_and_of_all_that_are_half_here_have_a_bound(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, bound: str, told: str
) -> None:
    monkeypatch.setattr(submission, bound, 1_000)
    _, chunks = pieces()
    large = replace(chunks[0].templates[0], wire=b"w" * 600)
    bench.step(replace(chunks[0], templates=(large, chunks[0].templates[0])))
    assert not bench.take(Refused)
    bench.step(replace(chunks[1], last=False, templates=(large,)))
    assert code(bench) == told
    assert not bench.machine.cluster.staging


def test_stamps_of_a_graph_have_a_bound(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "STAMPS", 3)
    _, chunks = pieces()
    stamped = replace(chunks[0].templates[0], stamps=(("name", ("a", "b")),))
    bench.step(replace(chunks[0], templates=(stamped, stamped)))
    assert code(bench) == "BAD_ARGUMENTS"


def test_refused_graphs_whose_rest_is_to_come_have_a_bound(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "REFUSED_KEPT", 2)
    for _ in range(5):
        bench.step(ChunkRefused("client", pieces()[0], "MALFORMED", "no", False))
    assert len(bench.take(Refused)) == 5
    assert len(bench.machine.cluster.refused) == 2


def code(bench: Bench) -> str:
    [refusal] = bench.take(Refused)
    return refusal.code


def test_the_same_graph_is_accepted_again_at_any_time_and_runs_once(bench: Bench) -> None:
    sketch = chord(2)
    bench.submit(sketch)
    bench.submit(sketch)
    worker = bench.worker()
    bench.submit(sketch)
    bench.values_of(worker)
    bench.restart()
    bench.arrive(worker)
    bench.submit(sketch)
    bench.values_of(worker)
    bench.submit(sketch)
    assert len(worker.given) == 3
    assert bench.ended == [sketch.id]


def test_a_graph_in_pieces_is_nothing_before_its_last_one(bench: Bench) -> None:
    graph, chunks = pieces()
    worker = bench.worker()
    for chunk in chunks[:-1]:
        bench.step(chunk)
        assert bench.records.graph(graph) is None
    assert not worker.given
    bench.step(chunks[-1])
    assert [send.graph for send in bench.take(Accepted)] == [graph]
    assert len(worker.given) == 6


def test_what_was_staged_goes_with_its_client(bench: Bench) -> None:
    graph, chunks = pieces()
    bench.step(chunks[0])
    bench.step(ClientLeft("client"))
    assert not [key for key in bench.store._map if graph in key]


def test_what_was_staged_is_swept_after_a_restart(bench: Bench) -> None:
    graph, chunks = pieces()
    bench.step(chunks[0])
    bench.step(chunks[1])
    bench.restart()
    assert not [key for key in bench.store._map if graph in key]
    bench.send_chunks(chunks)
    assert len(bench.take(Accepted)) == 1


def left(bench: Bench, graph: bytes) -> int:
    """Return how many records there are of a graph."""
    return len([key for key in bench.store._map if graph in key])


def turn(bench: Bench, event: Event) -> None:
    """Step this event and no other."""
    bench._conclude(bench.machine.step(event, bench.records, bench.now))


def test_what_a_client_left_behind_goes_piece_by_piece() -> None:
    bench = Bench(Limits(batch=5))
    graph, chunks = pieces(24)
    for chunk in chunks[:-1]:
        bench.step(chunk)
    before = left(bench, graph)
    turn(bench, ClientLeft("client"))
    for gone in (5, 10, 15):
        turn(bench, Tick())
        assert left(bench, graph) == before - gone
    bench.tick()
    assert left(bench, graph) == 0


def test_a_graph_that_begins_again_while_it_is_swept_has_nothing_of_before() -> None:
    bench = Bench(Limits(batch=5))
    worker = bench.worker()
    graph, chunks = pieces(24, runs_each=1)
    for chunk in chunks[:-1]:
        bench.step(chunk)
    turn(bench, ClientLeft("client"))
    whole = pieces(24, runs_each=24)[1][0]
    turn(bench, Tick())
    assert left(bench, graph) > 0
    bench.step(replace(whole, graph=graph, runs=[(Run(0, 24, 0), [b"[]"] * 24)]))
    assert len(bench.take(Accepted)) == 1
    assert worker.indexes() == list(range(24))
    bench.values_of(worker)
    assert bench.ended == [graph]


def test_a_graph_may_begin_again_from_its_first_piece(bench: Bench) -> None:
    graph, chunks = pieces()
    bench.step(chunks[0])
    bench.step(chunks[1])
    bench.send_chunks(replace(chunk, client="another") for chunk in chunks)
    assert [send.client for send in bench.take(Accepted)] == ["another"]
    bench.step(ClientLeft("client"))
    assert bench.records.graph(graph) is not None


def test_pieces_out_of_order(bench: Bench) -> None:
    _, chunks = pieces()
    bench.step(chunks[0])
    bench.step(chunks[2])
    assert code(bench) == "CHUNK_OUT_OF_ORDER"


def test_a_piece_without_a_beginning_is_answered(bench: Bench) -> None:
    _, chunks = pieces()
    bench.step(chunks[1])
    assert code(bench) == "CHUNK_OUT_OF_ORDER"


def test_after_a_refusal_the_rest_is_dropped_without_a_word(bench: Bench) -> None:
    graph, chunks = pieces()
    bench.step(chunks[0])
    bench.step(ChunkRefused("client", graph, "PAYLOAD_TOO_LARGE", "too large", last=False))
    assert code(bench) == "PAYLOAD_TOO_LARGE"
    assert not [key for key in bench.store._map if graph in key]
    bench.step(chunks[2])
    assert not bench.sent
    bench.send_chunks(chunks)
    assert len(bench.take(Accepted)) == 1


def test_of_two_senders_of_a_graph_each_is_told_that_it_is_refused(bench: Bench) -> None:
    """A client whose link was lost sends the same graph again while what it sent before still arrives."""
    graph, _ = pieces()
    for last in (False, True):
        for client in ("the old link", "the new link"):
            bench.step(ChunkRefused(client, graph, "STORE_FULL", "full", last=last))
    assert [refused.client for refused in bench.take(Refused)] == ["the old link", "the new link"]
    assert not bench.machine.cluster.refused


@pytest.mark.parametrize("seed", range(40))
def test_senders_that_get_in_each_other_s_way_are_each_answered_once_and_the_graph_is_whole(
    bench: Bench, seed: int
) -> None:
    """Two streams of which both live send one graph in pieces, again and again, in any order."""
    chance = random.Random(seed)
    graph, chunks = pieces(count=8)
    taken = False
    left = {client: [*chunks] * chance.randrange(1, 4) for client in ("one", "other")}
    answers: dict[object, list[str]] = {"one": [], "other": []}
    begun = {"one": 0, "other": 0}
    while any(left.values()):
        client = chance.choice([one for one, rest in left.items() if rest])
        piece = replace(left[client].pop(0), client=client)
        if piece.sequence == 0:
            assert len(answers[client]) == begun[client], seed  # what it sent before was answered
            begun[client] += 1
        bench.step(piece)
        for accepted in bench.take(Accepted):
            answers[accepted.client].append("")
            taken = True
        for refused in bench.take(Refused):
            answers[refused.client].append(refused.code)
            assert refused.code == "CHUNK_OUT_OF_ORDER"
        assert (bench.records.graph(graph) is not None) == taken, seed
    assert {client: len(told) for client, told in answers.items()} == begun, seed
    for sender in answers:
        bench.step(ClientLeft(sender))
    bench.send_chunks(replace(chunk, client="third") for chunk in chunks)
    assert len(bench.take(Accepted)) == 1
    assert not bench.machine.cluster.staging
    assert not bench.machine.cluster.refused
    worker = bench.worker()
    assert sorted(worker.given) == [(graph, index) for index in range(8)]


def test_a_piece_that_says_another_size(bench: Bench) -> None:
    _, chunks = pieces()
    bench.step(chunks[0])
    bench.step(replace(chunks[1], node_count=7))
    assert code(bench) == "CHUNK_OUT_OF_ORDER"


def test_a_gap_between_runs(bench: Bench) -> None:
    [chunk] = one().chunks(None)
    bench.step(replace(chunk, node_count=2, runs=[(Run(1, 1, 0), [b"[]"])]))
    assert code(bench) == "CHUNK_OUT_OF_ORDER"


def test_fewer_nodes_than_it_said(bench: Bench) -> None:
    [chunk] = one().chunks(None)
    bench.step(replace(chunk, node_count=2))
    assert code(bench) == "DANGLING_EDGE"


def test_a_template_that_is_not_there(bench: Bench) -> None:
    [chunk] = one().chunks(None)
    bench.step(replace(chunk, runs=[(Run(0, 1, 3), [b"[]"])]))
    assert code(bench) == "UNKNOWN_TEMPLATE"


def test_edges_that_disagree(bench: Bench) -> None:
    for children, parent in (((), 0), ((1,), None), ((2,), 0)):
        sketch = Sketch()
        sketch.task()
        sketch.task(*([] if parent is None else [value(parent)]))
        sketch.task()
        [chunk] = sketch.chunks(None)
        [(first, payloads), *others] = chunk.runs
        bench.step(replace(chunk, runs=[(replace(first, children=children), payloads), *others]))
        assert code(bench) == "EDGES_DISAGREE"


def test_two_nodes_with_one_id(bench: Bench) -> None:
    sketch = Sketch()
    sketch.task(own_id="mine")
    sketch.task(own_id="mine")
    assert bench.refused(sketch) == "DUPLICATE_ID"


def test_an_id_is_taken_until_its_node_has_settled(bench: Bench) -> None:
    first = one(own_id="mine")
    bench.submit(first)
    assert bench.refused(one(own_id="mine")) == "ID_TAKEN"
    bench.submit(first)
    bench.finish(bench.worker(), first.id, 0)
    [chunk] = one(own_id="mine").chunks(None)
    bench.step(replace(chunk, reject_id_reuse=True))
    assert code(bench) == "ID_TAKEN"
    second = bench.submit(one(own_id="mine"))
    assert bench.records.alias("mine") == second + bytes(4)


def test_the_ready_nodes_of_a_large_graph_are_queued_from_a_durable_cursor(bench: Bench) -> None:
    bench.check = False
    sketch = Sketch()
    for _ in range(350):
        sketch.task()
    chunks = sketch.chunks(None, 100)
    for chunk in chunks[:-1]:
        bench.step(chunk)
    bench._conclude(bench.machine.step(chunks[-1], bench.records, bench.now))
    bench.take(Accepted)
    bench.machine.cluster.limits = replace(bench.limits, batch=100)
    assert bench.records.release_cursor(sketch.id) == 0
    bench._conclude(bench.machine.step(Tick(), bench.records, bench.now))
    assert bench.records.release_cursor(sketch.id) == 100
    bench.check = True
    bench.restart()
    assert bench.records.release_cursor(sketch.id) is None
    worker = bench.worker(capacity=1000)
    assert worker.indexes() == list(range(350))


def test_one_client_s_large_graph_does_not_hold_up_another_s(bench: Bench) -> None:
    bench.check = False
    graph, chunks = pieces(3000, 500)
    for chunk in chunks[:-1]:
        bench.step(chunk)
    bench._conclude(bench.machine.step(chunks[-1], bench.records, bench.now))
    bench.take(Accepted)
    small = one(replace(PLAIN, task="u"))
    [chunk] = small.chunks(None)
    bench._conclude(bench.machine.step(chunk, bench.records, bench.now))
    assert len(bench.take(Accepted)) == 1
    assert bench.records.release_cursor(graph) == 0


def test_memory_keeps_no_graph_for_each_submission(bench: Bench) -> None:
    bench.check = False
    for _ in range(GRAPH_CACHE + 50):
        [chunk] = one(graph=graph_id()).chunks(None)
        bench._conclude(bench.machine.step(chunk, bench.records, bench.now))
    bench.sent.clear()
    assert len(bench.machine.cluster.graphs) <= GRAPH_CACHE
