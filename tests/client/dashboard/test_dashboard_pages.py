"""What the dashboard's pages show, what their buttons do, and how news reach a browser."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from tests.client.dashboard.conftest import Connection, Open, World

from grpcflow.connection import Connection as RealConnection
from grpcflow.credentials import Credentials
from grpcflow.dashboard.actions import ACTIONS
from grpcflow.dashboard.link import Link
from grpcflow.dashboard.live import news
from grpcflow.dashboard.pages import LIVE, page
from grpcflow.dashboard.server import STATIC
from grpcflow.event_model import Event, EventPage

WAIT = 20.0


@pytest.fixture
def link(world: World) -> Iterator[Link]:
    made = Link(cast(RealConnection, world.connect(Credentials())), interval=0.05)
    yield made
    made.stop()


async def heard(link: Link, until: Any) -> None:
    """Waits until what the link knows fits."""
    with link.heard() as rung:
        async with asyncio.timeout(WAIT):
            while not until():
                rung.clear()
                if not until():
                    await rung.wait()


# --- what pages show ---------------------------------------------------------------------------------------


async def test_pages_show_workers_queues_and_what_runs(link: Link) -> None:
    await heard(link, lambda: link.view().asked and link.view().running.lines)
    overview = page("overview", link, {"range": "5m"})
    assert overview["summary"]["workers"] == {"live": 2}
    assert overview["queues"][0]["queue"] == "hipri", "what is paused needs somebody, and comes first"
    queues = {line["queue"]: line for line in page("queues", link, {})["queues"]["lines"]}
    assert (queues["default"]["waiting"], queues["default"]["oldest"], queues["hipri"]["paused"]) == (7, 2.0, True)
    workers = page("workers", link, {})
    assert [line["name"] for line in workers["workers"]["lines"]] == ["w1", "w2"]
    assert workers["running"]["lines"][0]["call"] == 'proj.tasks.nap(2, why="tired")'
    json.dumps([page(name, link, {}) for name in LIVE])


async def test_a_filter_chooses_lines_and_a_wrong_range_is_the_usual_one(link: Link) -> None:
    await heard(link, lambda: link.view().asked)
    assert [line["name"] for line in page("workers", link, {"filter": "W2"})["workers"]["lines"]] == ["w2"]
    usual = page("overview", link, {"range": "nonsense"})
    assert usual["tail"]["step"] == page("overview", link, {})["tail"]["step"]


async def test_what_is_known_is_shown_while_the_coordinator_is_away_and_fresh_again_after(
    link: Link, world: World
) -> None:
    await heard(link, lambda: link.view().asked and not link.fault)
    world.away = True
    await heard(link, lambda: link.fault)
    shown = page("queues", link, {})
    assert ("no coordinator answers" in shown["fault"], len(shown["queues"]["lines"])) == (True, 2)
    world.away = False
    await heard(link, lambda: not link.fault)


async def test_events_of_the_feed_become_curves(link: Link, world: World) -> None:
    sent = Event(1, datetime.now(UTC), "task-sent", "task-sent", task="t", queue="q", count=5, graph=b"g" * 12)
    world.pages = [EventPage((sent,), 2, 0)]
    now = sent.time.timestamp()
    await heard(link, lambda: sum(link.history.series(now + 2, 300)["submitted"]) >= 5)


# --- news --------------------------------------------------------------------------------------------------


async def events(link: Link, make: Any, welcome: Any = lambda: True) -> AsyncIterator[str]:
    async with contextlib.aclosing(news(link, make, welcome, beat=WAIT, shortest=0.0)) as stream:
        async for part in stream:
            yield part.decode()


async def test_news_begin_with_the_page_and_come_when_it_changes_and_only_then(link: Link) -> None:
    shown = iter([{"n": 1}, {"n": 1}, {"n": 2}])
    async with asyncio.timeout(WAIT):
        stream = events(link, lambda: next(shown))
        assert (await anext(stream)).startswith("retry:")
        assert await anext(stream) == 'data: {"n":1}\n\n'
        assert await anext(stream) == 'data: {"n":2}\n\n', "what is the same is not told again"
        await cast(Any, stream).aclose()


async def test_news_end_where_the_session_does_and_where_the_dashboard_does(link: Link) -> None:
    async with asyncio.timeout(WAIT):
        welcome = iter([True, False])
        told = [part async for part in events(link, dict, lambda: next(welcome))]
        assert told[-1].startswith("event: over")
        stream = events(link, dict)
        await anext(stream)
        await anext(stream)
        await asyncio.to_thread(link.stop)
        assert [part async for part in stream][-1].startswith("event: over")


async def test_a_silent_stream_says_that_it_is_there(world: World) -> None:
    link = Link(cast(RealConnection, world.connect(Credentials())), interval=3600)
    try:
        async with asyncio.timeout(WAIT):
            stream = news(link, dict, lambda: True, beat=0.01, shortest=0.0)
            seen = [await anext(stream) for _ in range(6)]
            await stream.aclose()
        assert b": still here\n\n" in seen
    finally:
        await asyncio.to_thread(link.stop)


async def test_nobody_is_told_who_does_not_listen_any_more(link: Link) -> None:
    await heard(link, lambda: link.view().asked)
    assert link._ears == set()


# --- actions -----------------------------------------------------------------------------------------------

WORKER = {"worker": "w1"}
COMMANDS = [
    ("grow-worker", {**WORKER, "n": 2}, "pool_grow", {"n": 2}),
    ("shrink-worker", WORKER, "pool_shrink", {"n": 1}),
    ("add-queue", {**WORKER, "queue": "mail"}, "add_consumer", {"queue": "mail"}),
    ("cancel-queue", {**WORKER, "queue": "mail"}, "cancel_consumer", {"queue": "mail"}),
    ("drain-worker", WORKER, "shutdown", {}),
]
QUEUES = [("pause-queue", "pause"), ("resume-queue", "resume"), ("purge-queue", "purge")]


#: Tried in test_dashboard_graphs.py and test_dashboard_looks.py.
ELSEWHERE = {
    *("cancel-graph", "retry-graph", "revoke"),
    *("retry-failed", "purge-failed", "run-schedule", "pause-schedule", "set-limit", "clear-limit"),
    *("set-retention", "clear-retention"),
}


def test_every_action_is_tried() -> None:
    assert {name for name, *_ in COMMANDS} | {name for name, _ in QUEUES} | ELSEWHERE == set(ACTIONS)


@pytest.mark.parametrize(("action", "done"), QUEUES)
async def test_queues_are_paused_resumed_and_purged(opened: Open, world: World, action: str, done: str) -> None:
    browser = opened()
    await browser.enter()
    answer = await browser.act(action, {"queue": "mail"})
    assert (answer.status, world.done) == (200, [(done, "mail")])
    assert "mail" in answer.json()["done"]


@pytest.mark.parametrize(("action", "given", "command", "arguments"), COMMANDS)
async def test_workers_are_commanded(
    opened: Open, world: World, action: str, given: Any, command: str, arguments: Any
) -> None:
    browser = opened()
    await browser.enter()
    answer = await browser.act(action, given)
    assert (answer.status, answer.json()["done"].startswith("w1 ")) == (200, True)
    asked = [ask for connection in world.opened for ask in connection.asked if ask[0] == "control"]
    assert [ask[1:4] for ask in asked] == [(command, arguments, ("w1",))]


@pytest.mark.parametrize("action", sorted(ACTIONS))
async def test_who_may_only_look_is_refused_by_the_dashboard_and_by_the_coordinator(
    opened: Open, world: World, action: str
) -> None:
    world.tokens = {"looks": frozenset({"inspect"}), "acts": frozenset({"inspect", "control"})}
    browser = opened()
    await browser.log_in("looks")
    assert (await browser.enter())["may"] == ["inspect"]
    given = {"queue": "q", "worker": "w1", "n": 1}
    refused = await browser.act(action, given)
    assert (refused.status, refused.json()["code"], world.done) == (403, "ROLE_FORBIDDEN", [])
    # Where the token may less than it did when its holder logged in, the coordinator says no.
    if ACTIONS[action].needs == "submit" or action in ELSEWHERE:
        return  # of these by the real one, in test_dashboard_looks.py
    browser.cookies.clear()
    await browser.log_in("acts")
    await browser.enter()
    world.tokens["acts"] = frozenset({"inspect"})
    refused = await browser.act(action, given)
    assert (refused.status, refused.json()["code"], world.done) == (403, "ROLE_FORBIDDEN", [])


async def test_arguments_of_an_action_that_are_none_are_refused(opened: Open, world: World) -> None:
    browser = opened()
    await browser.enter()
    wrong: list[tuple[str, Any]] = [
        ("pause-queue", {}), ("pause-queue", {"queue": ""}), ("pause-queue", {"queue": ["q"]}), ("pause-queue", []),
        ("pause-queue", {"queue": "q" * 2_000}), ("pause-queue", "q"), ("grow-worker", {"worker": "w1", "n": 0}),
        ("grow-worker", {"worker": "w1", "n": True}), ("grow-worker", {"worker": "w1", "n": 10**9}),
        ("grow-worker", {"worker": "w1", "n": "1"}), ("add-queue", {"worker": "w1"}),
    ]  # fmt: skip
    for action, given in wrong:
        answer = await browser.act(action, given)
        assert (answer.status, answer.json()["code"]) == (400, "BAD_ARGUMENTS"), given
    body = b"{" * 5_000
    answer = await browser.ask("POST", "/api/actions/pause-queue", body, {"x-csrf-token": browser.csrf})
    assert answer.status == 400
    assert (await browser.act("erase-everything")).status == 404
    assert world.done == []


async def test_a_worker_that_is_silent_gone_or_complains_is_told_so(opened: Open, world: World) -> None:
    browser = opened()
    await browser.enter()
    connection: Connection = world.opened[-1]
    connection.workers["w1"].status = "no_reply"
    answer = await browser.act("drain-worker", WORKER)
    assert (answer.status, "did not answer" in answer.json()["error"]) == (400, True)
    connection.workers["w1"].status = "disconnected"
    assert "not connected" in (await browser.act("drain-worker", WORKER)).json()["error"]
    connection.workers["w2"].error = "the pool solo cannot grow"
    assert "cannot grow" in (await browser.act("grow-worker", {"worker": "w2"})).json()["error"]
    assert (await browser.act("drain-worker", {"worker": "nobody"})).status in (400, 404, 502)


# --- files -------------------------------------------------------------------------------------------------


async def test_pages_load_files_of_their_own_and_every_file_that_they_name_is_there(opened: Open) -> None:
    browser = opened()
    for name in ("index.html", "login.html"):
        text = (STATIC / name).read_text(encoding="utf-8")
        assert "style=" not in text
        assert "<script>" not in text
        for link in [part.split('"')[0] for part in text.replace("href=", "src=").split('src="')[1:]]:
            assert link.startswith(("/", "#")), link
            if link.startswith("/static/"):
                assert (await browser.get(link)).status == 200, link


def test_modules_import_only_what_is_there_and_nothing_makes_html_of_text() -> None:
    for path in (STATIC / "js").glob("*.js"):
        text = path.read_text(encoding="utf-8")
        for line in text.splitlines():
            if line.startswith(("import", "export")) and ' from "' in line:
                assert (path.parent / line.split(' from "')[1].split('"')[0]).is_file(), line
        for wrong in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "http://", "https://", "document.write"):
            assert wrong not in text.replace("http://www.w3.org/2000/svg", ""), f"{path.name}: {wrong}"


def test_files_fit_a_glance_and_what_others_wrote_is_listed_with_its_licence() -> None:
    listed = (STATIC / "LICENSES").read_text(encoding="utf-8")
    for path in STATIC.rglob("*"):
        name = path.relative_to(STATIC).as_posix()
        if path.is_file() and name.startswith("vendor/"):
            assert name in listed, f"{name} is not in LICENSES"
        elif path.suffix in {".js", ".css", ".html"}:
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 300, name


async def test_health_needs_no_login(opened: Open, world: World) -> None:
    world.tokens = {"t": frozenset({"inspect"})}
    assert (await opened().get("/health")).json() == {"ok": True}


def test_static_files_are_beside_the_module() -> None:
    assert Path(STATIC).is_dir()
