"""Graphs in the dashboard: found by what is looked for, drawn folded, watched to their end; timeline and stories."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from grpcflow import Grpcflow, chain, chord, errors, group
from grpcflow.connection import Connection
from grpcflow.dashboard.actions import ACTIONS, Given
from grpcflow.dashboard.drawing import BOXES, drawing
from grpcflow.dashboard.graph_list import found, listed
from grpcflow.dashboard.graph_watch import GraphWatch
from grpcflow.dashboard.link import Link
from grpcflow.dashboard.live import watched
from grpcflow.dashboard.story import story
from grpcflow.dashboard.timeline import timeline
from grpcflow.graph.boxes import Picture, fold
from grpcflow.graph.model import Edge, Run, Summary, Tally
from grpcflow.testing import Cluster

WAIT = 20.0
app = Grpcflow("dashboard-graphs", set_as_current=False)
gate = threading.Event()


@app.task(name="shop.add")
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(name="shop.total")
def total(numbers: list[int]) -> int:
    return sum(numbers)


@app.task(name="shop.refuse")
def refuse(card: str) -> None:
    logging.getLogger("shop").warning("the bank says no to %s", card)
    raise ValueError(f"card {card} was refused")


@app.task(name="shop.reprimand")
def reprimand(card: str) -> None:
    raise ValueError(f"card {card} was reprimanded")


@app.task(name="shop.wait", queue="slow")
def wait() -> str:
    gate.wait(WAIT)
    return "done"


@app.task(name="shop.login", sensitive=True)
def login(password: str) -> int:
    logging.getLogger("shop").warning("it was %s", password)
    return len(password)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(app) as made:
        yield made
        gate.set()


@pytest.fixture(scope="module")
def link(cluster: Cluster) -> Iterator[Link]:
    made = Link(Connection([cluster.address]))
    yield made
    made.stop()


def ended(result: Any, cluster: Cluster) -> str:
    cluster.settle()
    return str(result.id)


# --- finding -----------------------------------------------------------------------------------------------


def test_graphs_are_found_by_task_state_time_and_in_pages(link: Link, cluster: Cluster) -> None:
    for n in range(60):
        add.delay(n)
    failing = ended(reprimand.delay("4711"), cluster)  # of no other test
    newest = listed(link, {})
    assert len(newest["graphs"]) == 50
    seen = [one["id"] for one in newest["graphs"]]
    older = listed(link, {"after": newest["next"]})
    assert not set(seen) & {one["id"] for one in older["graphs"]}
    assert 0 < newest["until"] <= newest["at"], "it says how far back it has looked"
    [one] = listed(link, {"task": "repri", "states": "FAILURE,REVOKED"})["graphs"]
    assert (one["id"], one["state"], one["tally"]["failed"]) == (failing, "FAILURE", 1)
    assert listed(link, {"task": "shop.re*d"})["graphs"][0]["id"] == failing
    assert listed(link, {"task": "shop.re"})["graphs"][0]["id"] == failing
    assert listed(link, {"task": "*.re"})["graphs"] == []
    assert listed(link, {"since": str(one["created"] + 3600)})["graphs"] == []
    assert listed(link, {"unfinished": "1", "task": "reprimand"})["graphs"] == []


def test_graphs_are_found_by_their_arguments_and_by_a_stamp(link: Link, cluster: Cluster) -> None:
    canvas = chain(total.si([990_011, 1]), total.si([2]))
    canvas.stamp(customer="Zoë Müller")
    id = ended(canvas.apply_async(), cluster)
    ended(total.delay([990_012]), cluster)
    for said in ({"argument": " 990011"}, {"stamp": "customer=Zoë Müller"}, {"argument": "990011", "task": "total"}):
        assert [one["id"] for one in listed(link, said)["graphs"]] == [id], said
    assert listed(link, {"argument": "990011", "stamp": "customer=Bob"})["graphs"] == []
    assert listed(link, {"argument": "open sesame"})["graphs"] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"stamp": "customer"},
        {"argument": "x" * 1_000},
        {"states": "GOOD"},
        {"since": "yesterday"},
        {"since": "nan"},
        {"until": "1e99"},
        {"after": "xyz"},
    ],
)
def test_what_cannot_be_looked_for_is_refused(link: Link, wrong: dict[str, str]) -> None:
    with pytest.raises(errors.InvalidRequest):
        listed(link, wrong)


def test_an_id_of_a_task_of_a_graph_or_of_ones_own_leads_to_its_graph(link: Link, cluster: Cluster) -> None:
    own = ended(add.apply_async((1,), task_id="order/17"), cluster)
    graph = found(link, own)
    assert len(graph) == 24
    assert found(link, graph) == graph
    assert [found(link, text) for text in ("", "nothing", "x" * 1_000)] == ["", "", ""]


def test_a_search_that_finds_little_says_how_far_it_came_and_ends_in_time(link: Link, cluster: Cluster) -> None:
    for n in range(3):
        add.delay(n)
    cluster.settle()
    times = iter(range(0, 10_000, 10))
    page = listed(link, {"task": "nothing.is.called.so"}, clock=lambda: next(times))
    assert page["graphs"] == []


# --- drawing -----------------------------------------------------------------------------------------------


def test_a_canvas_is_drawn_folded_with_its_states_and_lines(link: Link, cluster: Cluster) -> None:
    canvas = chain(add.si(1), chord([add.si(n) for n in range(200)], total.s()), refuse.si("1"))
    shown = GraphWatch(link, ended(canvas.apply_async(), cluster)).look()
    boxes = {box["short"]: box for box in shown["drawing"]["boxes"]}
    assert set(boxes) == {"shop.add", "shop.add \N{MULTIPLICATION SIGN} 200", "", "shop.total", "shop.refuse"}
    assert boxes["shop.add \N{MULTIPLICATION SIGN} 200"]["counts"] == {"SUCCESS": 200}
    assert (boxes["shop.refuse"]["state"], boxes["shop.refuse"]["end"]) == ("FAILURE", True)
    assert boxes["shop.refuse"]["error"].startswith("ValueError: card 1")
    assert boxes[""]["join"]
    assert len(shown["drawing"]["lines"]) == 4
    assert shown["graph"]["counts"] == {"SUCCESS": 203, "FAILURE": 1}
    inside = all(
        box["x"] >= 0 and box["x"] + box["width"] <= shown["drawing"]["width"] for box in shown["drawing"]["boxes"]
    )
    assert inside
    json.dumps(shown)


def test_a_hundred_thousand_nodes_are_a_small_drawing_and_few_of_them_are_read() -> None:
    taken: list[int] = []

    def runs() -> Iterator[Run]:
        for first in range(0, 100_000, 2):
            taken.append(first)
            tally = Tally(1, 0, 0, 1)
            yield Run(first, 1, f"task{first % 1_000}", "q", 5, False, (), tally)
            before = Edge(range(first, first + 1), range(first + 1, first + 2), "value", "pass")
            yield Run(first + 1, 1, f"next{first % 1_000}", "q", 5, False, (before,), tally)

    moment = datetime.now(UTC)
    summary = Summary("g", "i", "SUCCESS", moment, None, False, Tally(100_000), "t", 9, False, "")
    last = Run(99_999, 1, "end", "q", 5, False, (), Tally(1, 0, 0, 1))
    picture = fold(summary, runs(), 99_999, lambda: last, BOXES)
    shown = drawing(picture)
    assert len(shown["boxes"]) <= BOXES
    assert shown["left_out"] > 90_000
    assert len(taken) < 10_000
    assert len(json.dumps(shown)) < 250_000


def test_texts_of_boxes_are_cut_and_whole_in_their_titles() -> None:
    moment = datetime.now(UTC)
    name = "package.module.a_task_with_a_name_that_does_not_fit_into_a_box"
    run = Run(0, 1_000, name, "q", 5, False, (), Tally(1_000, 900, 10, 50, 40, 0, 0, 0))
    summary = Summary("g", "i", "STARTED", moment, None, False, run.tally, name, 1, False, "")
    [box] = drawing(Picture(summary, [*fold(summary, [run], 0, lambda: run).boxes]))["boxes"]
    assert box["title"] == name
    assert box["short"].endswith("… \N{MULTIPLICATION SIGN} 1,000")
    assert max(len(box["short"]), len(box["small"])) <= 29


# --- watching ----------------------------------------------------------------------------------------------


async def test_a_graph_is_watched_to_its_end(link: Link, cluster: Cluster) -> None:
    gate.clear()
    result = chain(wait.si(), add.si(1, 2)).apply_async()
    watch = GraphWatch(link, result.id)
    states: list[str] = []
    stream = watched(watch.look, lambda: 0.01, lambda: True)
    async with asyncio.timeout(WAIT):
        async for part in stream:
            if not part.startswith(b"data: "):
                continue
            shown = json.loads(part[6:])
            states.append(shown["graph"]["state"])
            gate.set()
            if shown["graph"]["ended"]:
                break
        await stream.aclose()
    assert states[-1] == "SUCCESS"
    assert states[0] in ("PENDING", "STARTED")
    assert watch.pause >= 4.0, "what has ended is looked at seldom"


def test_a_graph_that_does_not_change_is_not_read_again(link: Link, cluster: Cluster) -> None:
    watch = GraphWatch(link, ended(add.delay(1), cluster))
    first = watch.look()
    pages = watch._view.picture
    watch._view.picture = None  # type: ignore[method-assign, assignment]
    assert watch.look() == first
    watch._view.picture = pages  # type: ignore[method-assign]


def test_a_graph_that_is_gone_and_a_coordinator_that_is_away_are_told(link: Link, cluster: Cluster) -> None:
    assert "no graph" in GraphWatch(link, "0" * 24).look()["gone"]
    watch = GraphWatch(link, ended(add.delay(1), cluster))
    seen = watch.look()

    class Away:
        def __getattr__(self, name: str) -> Any:
            raise errors.CoordinatorUnavailable("it is away")

    watch._view._app = Away()
    shown = watch.look()
    assert (shown["fault"], shown["drawing"]) == ("it is away", seen["drawing"])


# --- timeline ----------------------------------------------------------------------------------------------


def test_a_timeline_tells_when_nodes_waited_and_ran(link: Link, cluster: Cluster) -> None:
    id = ended(chain(add.si(1), group(add.si(n) for n in range(3)), total.s()).apply_async(), cluster)
    page = timeline(link, id, 0)
    rows = page["rows"]
    assert (len(rows), page["next"], page["nodes"]) == (6, 0, 6)
    assert rows[0]["queued"] == page["created"]
    assert [row["queued"] for row in rows[1:4]] == [rows[0]["settled"]] * 3
    joins = [row for row in rows if not row["task"]]
    assert [row["queued"] for row in joins] == [None]
    for row in rows:
        if row["task"]:
            assert row["queued"] <= row["started"] <= row["settled"]


def test_a_page_of_a_timeline_knows_when_a_parent_on_another_page_ended(link: Link, cluster: Cluster) -> None:
    id = ended(chain(add.si(1), group(add.si(n) for n in range(30))).apply_async(), cluster)
    [parent, *_] = timeline(link, id, 0)["rows"]
    later = timeline(link, id, 1)["rows"]
    assert later[0]["index"] == 1
    assert {row["queued"] for row in later if row["task"]} == {parent["settled"]}


def test_a_timeline_of_thousands_comes_in_pages_without_gaps(link: Link, cluster: Cluster) -> None:
    id = ended(group(add.si(n) for n in range(2_300)).apply_async(), cluster)
    first, indexes, pages = 0, [], 0
    while True:
        page = timeline(link, id, first)
        indexes += [row["index"] for row in page["rows"]]
        pages += 1
        assert 200 <= len(page["rows"]) <= 1_000 or not page["next"]
        first = page["next"]
        if not first:
            break
    assert indexes == list(range(2_301))
    assert pages > 2


# --- stories -----------------------------------------------------------------------------------------------


def test_a_story_has_arguments_result_worker_why_and_code(link: Link, cluster: Cluster) -> None:
    told = story(link, ended(add.apply_async((2,), {"y": 40}), cluster))
    assert (told["task"], told["args"], told["kwargs"], told["result"]) == ("shop.add", ["2"], {"y": "40"}, "42")
    assert told["python"] == "app.send_task('shop.add', args=[2], kwargs={'y': 40}, queue='default')"
    assert told["why"]["code"] == "SUCCEEDED"
    assert [one["kind"] for one in told["events"]] == ["task-sent", "task-received", "task-succeeded"]
    assert told["node"]["worker"]
    words = {"app": app}
    assert eval(told["python"], words).get(timeout=WAIT) == 42
    json.dumps(told)


def test_a_story_of_a_failure_has_its_traceback_and_where_it_began(link: Link, cluster: Cluster) -> None:
    result = chain(refuse.si("4711"), add.si(1)).apply_async()
    id = ended(result, cluster)
    told = story(link, id)
    assert told["failure"]["origin"] == result.parent.id
    began = story(link, result.parent.id)
    assert (began["failure"]["type"], began["result"]) == ("ValueError", None)
    assert "card 4711 was refused" in began["failure"]["message"]
    assert "raise ValueError" in began["failure"]["traceback"]
    [line] = began["log"]
    assert (line["level"], line["logger"], line["text"]) == ("WARNING", "shop", "the bank says no to 4711")
    assert told["log"] == []


def test_a_story_shows_nothing_of_sensitive_arguments(link: Link, cluster: Cluster) -> None:
    told = story(link, ended(login.delay("open sesame"), cluster))
    assert "open sesame" not in json.dumps(told)
    assert told["arguments"]
    assert (told["python"], told["result"]) == ("", None)


def test_a_story_tells_which_values_a_call_gets_from_others(link: Link, cluster: Cluster) -> None:
    result = chain(add.si(1, 2), add.s(40)).apply_async()
    told = story(link, ended(result, cluster))
    assert told["inputs"] == [result.parent.id]
    assert told["python"].startswith(
        f"app.send_task('shop.add', args=[app.AsyncResult('{result.parent.id}').get(), 40]"
    )
    words = {"app": app}
    assert eval(told["python"], words).get(timeout=WAIT) == 43


def test_a_story_of_a_join_and_of_large_values_stays_small(link: Link, cluster: Cluster) -> None:
    result = group(add.si(n) for n in range(50)).apply_async()
    id = ended(result, cluster)
    assert "members" in story(link, id)["result"]
    large = story(link, ended(app.send_task("shop.total", ([1] * 100_000,)), cluster))
    assert len(json.dumps(large)) < 150_000


def test_a_story_of_what_is_not_there_is_not_found(link: Link) -> None:
    for id in ("nothing", "01890000-0000-7000-8000-000000000001"):
        with pytest.raises(errors.NotFound):
            story(link, id)


# --- actions -----------------------------------------------------------------------------------------------


def test_graphs_are_cancelled_and_retried_and_tasks_revoked(link: Link, cluster: Cluster) -> None:
    failing = ended(refuse.delay("1"), cluster)
    assert "Runs again: 1 task" in ACTIONS["retry-graph"].do(link, Given({"id": failing}))
    cluster.settle()
    later = add.apply_async((1,), countdown=3_600)
    assert "Cancelled: 1 task" in ACTIONS["cancel-graph"].do(link, Given({"id": later.id, "terminate": True}))
    third = add.apply_async((1,), countdown=3_600)
    assert ACTIONS["revoke"].do(link, Given({"id": third.id})) == f"Revoked {third.id}."
    assert "ended already" in ACTIONS["revoke"].do(link, Given({"id": third.id}))
    assert "does not know" in ACTIONS["revoke"].do(link, Given({"id": "nothing"}))
    with pytest.raises(errors.NotFound):
        ACTIONS["cancel-graph"].do(link, Given({"id": "nothing"}))
