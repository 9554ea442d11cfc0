"""The tests of the shop: web application, coordinator and worker, all in the test's process."""

import asyncio
import json

import httpx
import pytest

from webshop.shop import place_after, web
from webshop.tasks import reserve


def visit(act):
    """Runs a coroutine that is given a browser."""

    async def visited():
        async with (
            web.router.lifespan_context(web),
            httpx.AsyncClient(transport=httpx.ASGITransport(web), base_url="http://shop") as browser,
        ):
            return await act(browser)

    return asyncio.run(visited())


async def ordered(browser, *books, key="o-1"):
    return await browser.post("/orders", json={"books": books}, headers={"idempotency-key": key})


async def heard(browser, key="o-1", last=""):
    """Returns the events of an order as (id, kind, words)."""
    answer = await browser.get(f"/orders/{key}/events", headers={"last-event-id": last} if last else {})
    events = [
        dict(line.split(": ", 1) for line in text.split("\n") if ": " in line) for text in answer.text.split("\n\n")
    ]
    return [(told.get("id"), told["event"], json.loads(told["data"])["words"]) for told in events if told]


ALL = [
    ("0.0", "progress", "Emma is reserved"),
    ("1.0", "progress", "9.00 are charged"),
    ("2.0", "progress", "Emma is packed, 1 of 1"),
    (None, "done", "parcel-o-1"),
]


def test_an_order_is_told_to_its_end(grpcflow_cluster):
    async def act(browser):
        assert (await ordered(browser, "Emma")).status_code == 202
        assert await heard(browser) == ALL
        assert set((await browser.get("/orders/o-1")).json().values()) == {"SUCCESS"}

    visit(act)


@pytest.mark.parametrize(("last", "first"), [("0.0", 1), ("1.0", 2), ("2.0", 3), ("nonsense", 0), ("9.9", 0)])
def test_who_comes_back_hears_what_is_missing(grpcflow_cluster, last, first):
    async def act(browser):
        await ordered(browser, "Emma")
        assert await heard(browser, last=last) == ALL[first:]

    visit(act)


def test_a_double_click_is_one_order(grpcflow_cluster):
    async def act(browser):
        answers = await asyncio.gather(ordered(browser, "Emma"), ordered(browser, "Emma"))
        assert answers[0].json() == answers[1].json()
        assert await heard(browser) == ALL
        assert (await ordered(browser, "Emma")).json() == answers[0].json()
        assert await heard(browser) == ALL

    visit(act)
    assert len(grpcflow_cluster.calls(reserve)) == 1


def test_what_is_sold_out_is_told(grpcflow_cluster):
    async def act(browser):
        await ordered(browser, "Emma", "Sanditon")
        assert (await heard(browser))[-1] == (None, "failed", "Sanditon is sold out")

    visit(act)


def test_what_cannot_be_is_refused(grpcflow_cluster):
    async def act(browser):
        assert (await ordered(browser, "Moby Dick")).status_code == 422
        assert (await ordered(browser)).status_code == 422
        assert (await ordered(browser, "Emma", key="a b")).status_code == 422
        assert (await browser.get("/orders/nobody/events")).status_code == 404

    visit(act)


def test_the_page_and_its_parts_are_served():
    async def act(browser):
        for address, words in (("/", "<h1>Webshop"), ("/shop.js", "EventSource"), ("/shop.css", "color-scheme")):
            answer = await browser.get(address)
            assert words in answer.text
            assert answer.headers["content-security-policy"] == "default-src 'self'"
        assert (await browser.get("/books")).json()["Emma"] == 900

    visit(act)


def test_an_id_of_an_event_names_a_place():
    assert place_after("2.7") == (2, 8)
