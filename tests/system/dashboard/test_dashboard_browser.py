"""Every page of the dashboard and every action of it, in Chromium against a live cluster."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.system.dashboard.conftest import PATIENCE, PHONE, Served

from grpcflow import chain, chord, group

Visiting = Callable[..., Page]

PAGES = {
    "/": "Overview",
    "/graphs": "Graphs",
    "/failed": "Failed",
    "/queues": "Queues",
    "/workers": "Workers",
    "/schedules": "Schedules",
    "/tasks": "Tasks",
    "/events": "Events",
    "/settings": "Settings",
}

pytestmark = pytest.mark.timeout(180)
expect.set_options(timeout=PATIENCE)


def sig(served: Served, name: str, *args: Any) -> Any:
    return served.cluster.app.signature(name, args, immutable=True)


def told(page: Page, text: str) -> None:
    """Waits until the page says that something was done."""
    expect(page.locator(".toast", has_text=text).first).to_be_visible()


def row(page: Page, text: str) -> Any:
    return page.locator("tr", has=page.get_by_role("rowheader", name=re.compile(text)))


# --- every page --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("looks", [{}, {"color_scheme": "dark", "viewport": PHONE}], ids=["light", "dark-phone"])
@pytest.mark.parametrize("path", list(PAGES))
def test_a_page_shows_itself_fits_and_asks_nobody_else(
    visit: Visiting, running: Served, path: str, looks: dict[str, Any]
) -> None:
    page = visit(running, path, **looks)
    expect(page.get_by_role("heading", level=1)).to_have_text(PAGES[path])
    expect(page.locator("#live")).to_have_text("live")
    expect(page).to_have_title(f"{PAGES[path]} · grpcflow")
    expect(page.locator("#nav a[aria-current=page]")).to_have_text(PAGES[path])
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), "it can be moved sideways"
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, a, input, select, [role=button], [role=img]')].filter(one => "
        "!(one.getAttribute('aria-label') || one.textContent.trim() || one.labels?.length || one.hidden)).length"
    )
    assert unnamed == 0, "something has no name for a screen reader"


def test_all_pages_are_reached_by_the_keyboard_alone(visit: Visiting, running: Served) -> None:
    page = visit(running)
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the page")
    page.keyboard.press("Enter")
    page.locator("#nav a", has_text="Workers").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/workers$"))
    expect(page.locator("main")).to_be_focused()
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def test_the_keyboard_can_be_used_before_the_server_has_said_who_we_are(visit: Visiting, running: Served) -> None:
    page = visit(running)
    held: list[Any] = []
    page.route("**/api/me", lambda route: held.append(route))
    with page.expect_request("**/api/me"):
        page.reload(wait_until="commit")
    page.locator("a", has_text="Skip to the page").focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#main$"))
    held[0].continue_()
    expect(page.get_by_role("heading", level=1)).to_have_text("Overview")


def test_the_overview_has_curves_with_values_under_the_pointer(visit: Visiting, running: Served) -> None:
    running.cluster.app.send_task("t.add", (1, 2)).get(timeout=60)
    page = visit(running)
    expect(page.locator("#figures")).to_contain_text("Workers2")
    expect(page.locator("#chart-throughput canvas")).to_be_visible()
    page.get_by_role("button", name="5m", exact=True).click()
    expect(page.get_by_role("button", name="5m", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#chart-busy")).to_have_attribute("aria-label", re.compile(r"running \d"))
    page.locator("#chart-busy .u-over").hover()
    expect(page.locator("#chart-busy .u-legend")).to_contain_text(re.compile(r"\d\d:\d\d:\d\d"))


# --- graphs ------------------------------------------------------------------------------------------------


def test_a_graph_is_watched_to_its_end(visit: Visiting, running: Served, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    canvas = chain(
        sig(running, "t.gate", str(gate)),
        chord(group(sig(running, "t.add", n, 1) for n in range(300)), sig(running, "t.add", 1, 1)),
    )
    result = canvas.apply_async()
    page = visit(running, "/graphs")
    page.get_by_placeholder("Task name, or an id").fill(result.id)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("t.gate")
    first, many = (
        page.locator(".box", has_text="t.gate"),
        page.locator(".box", has_text="t.add \N{MULTIPLICATION SIGN} 300"),
    )
    expect(first).to_have_class(re.compile("is-RUNNING"))
    expect(many).to_have_class(re.compile("is-WAITING"))
    gate.touch()
    expect(many).to_have_class(re.compile("is-SUCCESS"))
    expect(page.locator("#graph-head .state")).to_have_text("SUCCESS")
    assert page.locator(".box").count() == 4
    # A box by the keyboard, then each of its nodes in the timeline, then the story of one.
    many.focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Each of them").click()
    expect(page.locator(".falls tr").first).to_contain_text(re.compile("waited .*ran"))
    page.locator(".falls button").first.click()
    expect(page.locator("#story")).to_contain_text("Succeeded")
    expect(page.locator("#story pre").first).to_have_text("1")
    page.get_by_role("button", name="Drawing").click()
    expect(page.locator("svg.graph")).to_be_visible()


@pytest.mark.parametrize("shown", ["Drawing", "Timeline"])
def test_a_graph_fits_a_phone_in_dark_colours(visit: Visiting, running: Served, shown: str) -> None:
    result = chain(sig(running, "t.add", 1, 1), group(sig(running, "t.add", n, 1) for n in range(20))).apply_async()
    page = visit(running, f"/graphs/{result.id}", color_scheme="dark", viewport=PHONE)
    expect(page.locator("#graph-head .state")).to_have_text("SUCCESS")
    page.get_by_role("button", name=shown).click()
    page.locator("g.box, .falls button").first.click()
    expect(page.locator("#story")).to_contain_text("Succeeded")
    assert page.evaluate("document.scrollingElement.scrollWidth <= innerWidth"), "it can be moved sideways"


def test_a_graph_that_failed_tells_why_and_is_retried(visit: Visiting, running: Served) -> None:
    result = chain(sig(running, "t.fail", "no paper"), sig(running, "t.add", 1, 1)).apply_async()
    page = visit(running, f"/graphs/{result.id}")
    page.locator(".box.is-FAILURE", has_text="t.fail").click()
    story = page.locator("#story")
    expect(story).to_contain_text("no paper")
    expect(story.locator("pre.trace")).to_contain_text("Traceback")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    story.get_by_role("button", name="Copy as Python").click()
    told(page, "Copied")
    assert page.evaluate("navigator.clipboard.readText()").startswith("app.send_task('t.fail', args=['no paper']")
    page.locator("#graph-head").get_by_role("button", name="Copy as Python").click()
    page.wait_for_function("navigator.clipboard.readText().then((text) => text.includes('canvas = chain('))")
    page.get_by_role("button", name="Retry failed").click()
    told(page, "Runs again: 2 tasks")


def test_a_graph_is_cancelled_and_a_task_revoked(visit: Visiting, running: Served, tmp_path: Path) -> None:
    result = sig(running, "t.gate", str(tmp_path / "never")).apply_async()
    page = visit(running, f"/graphs/{result.id}")
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Back").click()
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel it").click()
    told(page, "Cancelled: 1 task")
    expect(page.locator("#graph-head .state")).to_have_text("REVOKED")
    later = sig(running, "t.add", 1, 1).apply_async(countdown=3_600)
    page.goto(f"{running.address}/graphs/{later.id}")
    page.locator(".box").first.click()
    page.locator("#story").get_by_role("button", name="Revoke").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    told(page, f"Revoked {later.id}")


def test_graphs_are_found_by_task_state_arguments_and_stamp(visit: Visiting, running: Served) -> None:
    running.cluster.app.send_task("t.text", (3,)).get(timeout=60)
    stamped = sig(running, "t.text", 4)
    stamped.stamp(customer="17")
    stamped.apply_async().get(timeout=60)
    page = visit(running, "/graphs")
    page.get_by_placeholder("Task name, or an id").fill("t.text")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile("task=t.text"))
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_placeholder("In arguments").fill("[3]")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("argument="))
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_placeholder("In arguments").fill("")
    page.get_by_placeholder("Stamp user=17").fill("customer=17")
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_label("State").select_option("FAILURE")
    expect(page.locator("#list")).to_contain_text("No graph fits")


# --- queues and workers ------------------------------------------------------------------------------------


def test_queues_are_paused_resumed_and_purged(visit: Visiting, running: Served) -> None:
    page = visit(running, "/queues")
    slow = row(page, "^slow")
    slow.get_by_role("button", name="Pause").click()
    told(page, "Queue slow is paused")
    expect(slow).to_contain_text("paused")
    for n in range(3):
        sig(running, "t.add", n, 1).apply_async(queue="slow")
    expect(slow.locator("[data-label=Waiting]")).to_have_text("3")
    slow.get_by_role("button", name="Purge").click()
    page.get_by_role("dialog").get_by_role("button", name="Purge").click()
    told(page, "3 calls that waited were revoked")
    expect(slow.locator("[data-label=Waiting]")).to_have_text("0")
    slow.get_by_role("button", name="Resume").click()
    told(page, "Queue slow is resumed")


def test_a_queue_is_limited_where_it_stands(visit: Visiting, running: Served) -> None:
    page = visit(running, "/queues")
    slow = row(page, "^slow")
    for typed, shown in (("2 at once", "2 at once"), ("5/s", "5/s")):
        slow.get_by_role("button", name="Limit").click()
        page.get_by_role("dialog").get_by_role("textbox").fill(typed)
        page.keyboard.press("Enter")
        expect(slow.locator(".badge", has_text=shown)).to_be_visible()
    slow.get_by_role("button", name="Limit").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("none")
    page.keyboard.press("Enter")
    told(page, "slow: no limit")
    expect(slow.locator(".badge")).to_have_count(0)


def test_workers_grow_shrink_serve_queues_and_are_drained(visit: Visiting, running: Served, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    held = sig(running, "t.gate", str(gate)).apply_async(queue="slow")
    page = visit(running, "/workers")
    expect(page.locator("#list")).to_contain_text("t.gate(")
    gate.touch()
    held.get(timeout=60)
    running.cluster.start_worker("w3")
    worker = row(page, "^w3")
    worker.get_by_role("button", name="Grow").click()
    page.get_by_role("dialog").get_by_role("spinbutton").fill("2")
    page.keyboard.press("Enter")
    told(page, "w3 runs 2 more at once")
    expect(worker).to_contain_text("of 4")
    worker.get_by_role("button", name="Shrink").click()
    page.keyboard.press("Enter")
    told(page, "w3 runs 1 fewer at once")
    worker.get_by_role("button", name="+ queue").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("mail")
    page.keyboard.press("Enter")
    told(page, "w3 serves queue mail now")
    worker.get_by_role("button", name="Stop serving mail").click()
    page.get_by_role("dialog").get_by_role("button", name="Stop serving").click()
    told(page, "w3 does not serve queue mail")
    worker.get_by_role("button", name="Drain").click()
    page.keyboard.press("Escape")
    expect(worker).to_be_visible()
    worker.get_by_role("button", name="Drain").click()
    page.get_by_role("dialog").get_by_role("button", name="Drain").click()
    told(page, "w3 finishes what it runs")
    expect(worker).to_have_count(0)


# --- the others --------------------------------------------------------------------------------------------


def test_what_failed_is_retried_and_purged_in_bulk(visit: Visiting, running: Served) -> None:
    ids = [sig(running, "t.fail", "in bulk").apply_async().id for _ in range(3)]
    page = visit(running, "/failed")
    group_of = page.locator("section", has_text="t.fail")
    expect(group_of).to_contain_text("in bulk")
    group_of.get_by_role("button", name="Show").click()
    one = group_of.locator("tr", has_text=ids[0])
    expect(one).to_be_visible()
    one.get_by_role("button", name="Retry").click()
    told(page, "Runs again: 1 task")
    group_of.get_by_role("button", name="Retry all").click()
    page.get_by_role("dialog").get_by_role("button", name="Retry all").click()
    told(page, "Run again:")
    expect(group_of.locator("tr", has_text=ids[0])).to_be_visible()
    group_of.get_by_role("button", name="Purge").click()
    page.get_by_role("dialog").get_by_role("button", name="Purge").click()
    told(page, "Taken off the list")


def test_schedules_run_and_are_paused(visit: Visiting, running: Served) -> None:
    running.cluster.app.schedules.add("sweep", timedelta(hours=5), "t.add", (1, 2))
    page = visit(running, "/schedules")
    sweep = row(page, "^sweep")
    sweep.get_by_role("button", name="Run now").click()
    page.get_by_role("dialog").get_by_role("button", name="Run now").click()
    told(page, "Schedule sweep runs now")
    sweep.get_by_role("button", name="Pause").click()
    told(page, "Schedule sweep is paused")
    expect(sweep).to_contain_text("paused")
    sweep.get_by_role("link", name=re.compile("^fired")).click()
    expect(page.locator("#graph-head .state")).to_have_text("SUCCESS")


def test_events_come_as_they_happen_and_stand_still_when_asked(visit: Visiting, running: Served) -> None:
    page = visit(running, "/events")
    page.get_by_role("combobox").select_option("task-failed")
    running.cluster.app.send_task("t.fail", ("seen live",))
    expect(page.locator("#list")).to_contain_text("seen live")
    page.get_by_role("button", name="Stand still").click()
    running.cluster.app.send_task("t.fail", ("not seen",)).get(timeout=60, propagate=False)
    page.get_by_role("button", name="Go on").click()
    expect(page.locator("#list")).to_contain_text("not seen")


def test_tasks_tell_how_they_did(visit: Visiting, running: Served) -> None:
    running.cluster.app.send_task("t.length", ("four",)).get(timeout=60)
    page = visit(running, "/tasks")
    expect(row(page, r"^t\.length$").locator("[data-label=Finished]")).to_contain_text(re.compile("[1-9]"))
    page.get_by_role("searchbox").fill("t.length")
    row(page, r"^t\.length$").get_by_role("link").click()
    expect(page).to_have_url(re.compile("/graphs.task=t.length"))


def test_limits_are_set_and_cleared(visit: Visiting, running: Served) -> None:
    page = visit(running, "/settings")
    page.get_by_role("button", name="Limit a queue or a task").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("queue narrow")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("spinbutton").fill("3")
    page.keyboard.press("Enter")
    narrow = row(page, "narrow")
    expect(narrow).to_contain_text("3 at once")
    narrow.get_by_role("button", name="Rate").click()
    page.keyboard.press("Enter")
    expect(narrow).to_contain_text("10/s")
    narrow.get_by_role("button", name="Clear").click()
    expect(narrow).to_have_count(0)


def test_what_is_kept_is_set_and_cleared(visit: Visiting, running: Served) -> None:
    page = visit(running, "/settings")
    page.get_by_role("button", name="Say what is kept of a queue or a task").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("queue brief")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("textbox").fill("2h, newest 5")
    page.keyboard.press("Enter")
    brief = row(page, "brief")
    expect(brief.locator("[data-label=Results]")).to_have_text("2 h, the newest 5")
    brief.get_by_role("button", name="Arguments").click()
    page.get_by_role("dialog").get_by_role("textbox").fill("newest few")
    page.keyboard.press("Enter")
    told(page, "after `newest` comes how many")
    brief.get_by_role("button", name="Clear").click()
    expect(brief).to_have_count(0)
