"""The view of a graph: what it tells, that it asks in pages and no more than it needs, and what it does to a graph."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.client.shown_graphs import BEGAN, ShownGraph, ShownGraphs, add, app, report, succeeded, total

from grpcflow import chain, chord, errors, group, ids
from grpcflow.graph import GraphView, Tally
from grpcflow.graph.view import explain, graphs
from grpcflow_protos.v1 import graph_service_pb2 as pb
from grpcflow_protos.v1 import value_pb2

BAD = {3, 700}


def mostly(index: int) -> Mapping[str, Any]:
    if index in BAD:
        return {"state": "FAILURE", "worker": "w2", "error": "ValueError: no", "settled_at_ms": BEGAN + 400}
    return succeeded(index)


def shown(canvas: Any, told: Any = succeeded, page: int = 1_000) -> tuple[GraphView, ShownGraphs]:
    graph = ShownGraph(canvas, told, page=page)
    served = ShownGraphs(graph)
    return GraphView(served, graph.id), served


def thousand() -> tuple[GraphView, ShownGraphs]:
    return shown(chord([add.s(i) for i in range(1000)], total.s()), mostly)


def test_making_a_view_asks_nobody_and_the_summary_is_asked_for_once() -> None:
    view, served = thousand()
    assert served.asked == []
    assert (view.state, view.summary.tally, view.summary.ended) == (
        "SUCCESS",
        Tally(1002, succeeded=1000, failed=2),
        True,
    )
    assert len(served.asked) == 1
    served.graphs[0].told = succeeded
    assert view.summary.tally.failed == 2
    assert view.refresh().summary.tally.failed == 0


def test_the_summary_says_what_is_known() -> None:
    view, served = shown(chain(add.s(1), total.s()))
    summary = view.summary
    assert summary.id == view.id == ids.node_id(served.graphs[0].graph, 1)
    assert summary.graph == served.graphs[0].graph.hex()
    assert summary.created == datetime.fromtimestamp(BEGAN / 1000, UTC)
    assert (summary.settled, summary.task, summary.templates) == (
        datetime.fromtimestamp((BEGAN + 350) / 1000, UTC),
        "shop.add",
        2,
    )
    assert str(view) == f"{view.id} SUCCESS: 2 SUCCESS"


def test_runs_of_many_stay_folded_with_those_that_did_not_succeed() -> None:
    view, _ = thousand()
    first, second, join, body = view.runs()
    assert str(first) == "shop.add x 500: 499 SUCCESS, 1 FAILURE"
    assert [node.index for node in (*first.nodes, *second.nodes)] == [3, 700]
    assert (join.join, [edge.kind for edge in join.edges]) == (True, ["member"])
    assert (body.edges[0].kind, body.edges[0].on_failure, body.edges[0].parents) == (
        "value",
        "chord",
        range(1000, 1001),
    )


def test_nodes_in_a_state_are_found_without_reading_the_runs_that_have_none() -> None:
    BAD.add(701)
    try:
        view, served = thousand()
        assert [node.index for node in view.nodes("FAILURE")] == [3, 700, 701]
    finally:
        BAD.discard(701)
    assert [one for one in served.asked if one[0] == "run"] == [("run", 0, True), ("run", 500, True)]
    served.asked.clear()
    assert list(view.nodes(["REVOKED", "STARTED"])) == []
    assert [one for one in served.asked if one[0] == "run"] == []


def test_all_nodes_come_in_order_and_every_false_leaves_out_what_succeeded_in_runs() -> None:
    view, served = thousand()
    assert [node.index for node in view.nodes()] == list(range(1002))
    assert served.asked == [("page", 0, True)]
    assert [node.index for node in view.nodes(every=False)] == [3, 700, 1000, 1001]
    assert [node.index for node in view.nodes("SUCCESS", every=False)] == [1000, 1001]


def test_a_task_s_own_state_is_found_among_what_has_not_settled() -> None:
    view, _ = shown(
        group(add.s(i) for i in range(20)), lambda i: {"state": "PROGRESS" if i == 7 else "PENDING", "waiting": i == 20}
    )
    assert [node.index for node in view.nodes("PROGRESS")] == [7]
    assert view.summary.state == "STARTED"


def test_pages_are_asked_for_one_at_a_time_and_only_as_far_as_somebody_reads() -> None:
    view, served = shown(chain(add.si(i) for i in range(50)), page=10)
    runs = view.runs()
    assert next(runs).first == 0
    assert [one for one in served.asked if one[0] == "page"] == [("page", 0, False)]
    assert len(list(runs)) == 49
    assert len([one for one in served.asked if one[0] == "page"]) == 5


def test_edges_are_folded() -> None:
    view, _ = shown(chain(add.s(1), group(add.s(i) for i in range(3)), report.s()).on_error(total.s()))
    kinds = [(edge.kind, edge.parents, edge.is_error) for edge in view.edges()]
    assert kinds[:3] == [("value", range(1), False)] * 3
    assert ("member", range(1, 4), False) in kinds
    assert kinds[-1][2]


def test_json_is_the_same_as_the_dictionary_and_comes_in_pieces() -> None:
    single, _ = shown(add.s(1))
    chorded, _ = shown(chord([add.s(i) for i in range(20)], total.s()))
    for view in (single, chorded):
        for every in (False, True):
            assert json.loads("".join(view.to_json(every=every))) == view.to_dict(every=every)
    assert len(list(chorded.to_json())) == 5
    assert single.to_dict()["runs"][0]["nodes"][0]["started"] == "2025-06-15T15:06:40.100000+00:00"


def test_cancelling_says_what_it_did_and_that_a_graph_had_ended() -> None:
    view, served = shown(add.s(1))
    served.answers["cancel"] = {"cancelled": 1_234, "running": 2}
    assert str(view.cancel(terminate=True, signal="SIGKILL")) == "Cancelled: 1,236 tasks, 2 of them on workers."
    assert served.asked[-1] == ("cancel", view.id, True, "SIGKILL")
    served.answers["cancel"] = {"had_ended": True}
    done = view.cancel()
    assert (done.had_ended, str(done)) == (True, "The graph had ended already; nothing was done.")


def test_retrying_says_how_many_and_which_tasks_nobody_knows() -> None:
    view, served = shown(add.s(1))
    served.answers["retry"] = {"retried": 3, "unknown_tasks": ["shop.gone"]}
    done = view.retry()
    assert (done.retried, done.unknown_tasks) == (3, ("shop.gone",))
    assert str(done).startswith("Runs again: 3 tasks. No connected worker knows shop.gone: those wait until one does.")
    served.answers["retry"] = {}
    assert str(view.retry()) == "Everything had succeeded; nothing runs again."


def test_after_a_change_the_summary_is_asked_for_anew() -> None:
    view, served = shown(add.s(1), mostly)
    for change in (view.cancel, view.retry):
        assert view.state == "SUCCESS"
        served.asked.clear()
        change()
        assert view.state == "SUCCESS"
        assert ("summary", view.id) in served.asked


def test_an_explanation_is_a_sentence_with_its_parts() -> None:
    view, served = shown(add.s(1))
    served.answers["explain"] = {
        "code": "WAITING_FOR_PARENTS",
        "sentence": "Waits for 2 tasks.",
        "state": 1,
        "waits_for": ["a", "b"],
        "waiting_count": 2,
        "due_at_ms": BEGAN,
    }
    found = view.explain()
    assert str(found) == str(explain(served, view.id)) == "Waits for 2 tasks."
    assert (found.code, found.state, found.waits_for) == ("WAITING_FOR_PARENTS", "PENDING", ("a", "b"))
    assert found.to_dict()["due"] == "2025-06-15T15:06:40+00:00"


def many(count: int) -> ShownGraphs:
    return ShownGraphs(*(ShownGraph(add.s(number), number=number) for number in range(count)))


def test_graphs_come_newest_first_page_by_page_and_no_more_than_wanted() -> None:
    served = many(250)
    listed = graphs(served)
    assert next(listed).id == served.graphs[-1].id
    assert len(served.asked) == 1
    assert len(list(listed)) == 249
    assert [one.limit for _, one in served.asked] == [100, 100, 100]
    served.asked.clear()
    assert len(list(graphs(served, limit=130))) == 130
    assert [one.limit for _, one in served.asked] == [100, 30]
    assert list(graphs(served, limit=0)) == []


def test_filters_of_a_list_travel() -> None:
    served = many(1)
    since = datetime(2030, 1, 1, tzinfo=UTC)
    list(graphs(served, states=["failure", "REVOKED"], task="shop.*", since=since, attached=True))
    assert served.asked[0][1] == pb.ListGraphsRequest(
        states=[value_pb2.STATE_FAILURE, value_pb2.STATE_REVOKED],
        task="shop.*",
        since_ms=1893456000000,
        limit=100,
        attached=True,
    )


def test_wrong_filters_are_refused_at_once() -> None:
    with pytest.raises(ValueError, match="no state 'DONE'; use some of PENDING, RECEIVED"):
        graphs(many(1), states="DONE")
    with pytest.raises(ValueError, match="since=2030-01-01 00:00:00 has no time zone"):
        graphs(many(1), since=datetime(2030, 1, 1))


def test_a_graph_that_nobody_knows_and_one_that_expires_between_two_pages_are_not_found() -> None:
    view, served = shown(chain(add.si(i) for i in range(50)), page=10)
    runs = view.runs()
    next(runs)
    served.graphs.clear()
    with pytest.raises(errors.NotFound, match="has expired"):
        list(runs)
    with pytest.raises(errors.NotFound, match="has expired"):
        view.refresh()


def test_results_lead_to_their_graph_and_celery_s_graph_of_results_is_still_there() -> None:
    result = app.AsyncResult(ids.node_id(b"\x00" * 12, 3))
    assert repr(result.graph()) == f"<GraphView {result.id}>"
    whole = app.GroupResult(ids.node_id(b"\x00" * 12, 4))
    assert repr(whole.graph()) == f"<GraphView {whole.id}>"
    assert repr(app.graph("own")) == "<GraphView own>"
    eager = add.apply((1,))
    assert list(eager.graph) == [eager]
    assert eager in eager.graph
    with pytest.raises(errors.GrpcflowError, match="submit the call with delay"):
        eager.graph()
    with pytest.raises(errors.GrpcflowError, match="ran in this process"):
        eager.explain()
    with pytest.raises(AttributeError, match="no attribute 'nodes'"):
        _ = eager.graph.nodes
