"""Logging in, looking without acting, and coming back after restarts, in Chromium."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.coordinator.security.token_files import give
from tests.system.dashboard.conftest import PATIENCE, Served, served

from grpcflow_coordinator.security.token_file import Role

Visiting = Callable[..., Page]

pytestmark = pytest.mark.timeout(180)
expect.set_options(timeout=PATIENCE)


def log_in(page: Page, token: str) -> None:
    page.get_by_label("Token").fill(token)
    page.keyboard.press("Enter")


def test_who_may_only_look_sees_no_buttons_and_is_refused(visit: Visiting, tmp_path: Path) -> None:
    file = tmp_path / "tokens.json"
    looks, acts = give(file, [Role.INSPECT], name="looks"), give(file, [Role.CONTROL], name="acts")
    with served(tmp_path, "--tokens", str(file), workers=False) as running:
        page = visit(running, "/queues")
        expect(page).to_have_url(re.compile("/login"))
        log_in(page, "wrong")
        expect(page.get_by_role("alert")).to_contain_text("does not take this token")
        log_in(page, looks)
        expect(page).to_have_url(re.compile("/queues$"))
        expect(page.locator("#who")).to_contain_text("read-only")
        for path in ("/queues", "/workers", "/failed", "/schedules", "/settings"):
            page.goto(running.address + path)
            expect(page.locator("#live")).to_have_text("live")
            assert page.locator("main .acts button, main [data-do=new]").count() == 0, path
        refused = page.evaluate(
            "async () => { const me = await (await fetch('/api/me')).json(); const answer = await fetch("
            "'/api/actions/pause-queue', { method: 'POST', headers: { 'X-CSRF-Token': me.csrf }, "
            'body: \'{"queue": "default"}\' }); return [answer.status, (await answer.json()).code]; }'
        )
        assert refused == [403, "ROLE_FORBIDDEN"]
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Token")).to_be_visible()
        log_in(page, acts)
        expect(page.locator("#live")).to_have_text("live")
        expect(page.locator("#who")).not_to_contain_text("read-only")


def test_a_page_goes_on_after_a_restart_of_the_coordinator(visit: Visiting, tmp_path: Path) -> None:
    with served(tmp_path) as running:
        cluster = running.cluster
        page = visit(running, "/workers")
        expect(page.locator("#list")).to_contain_text("w1")
        assert cluster.coordinator is not None
        cluster.coordinator.kill()
        expect(page.locator("#fault")).to_be_visible()
        expect(page.locator("#live")).to_have_text("not fresh")
        expect(page.locator("#list")).to_contain_text("w1")
        cluster.start_coordinator()
        expect(page.locator("#fault")).to_be_hidden()
        expect(page.locator("#live")).to_have_text("live")
        expect(page.locator("tr", has_text="w1").locator(".badge")).to_have_text("live")


def test_a_page_goes_on_after_a_restart_of_the_dashboard(visit: Visiting, running: Served) -> None:
    page = visit(running, "/queues")
    expect(page.locator("#live")).to_have_text("live")
    assert running.process is not None
    assert running.process.terminate() == 0
    expect(page.locator("#live")).to_have_text("reconnecting")
    running.start()
    expect(page.locator("#live")).to_have_text("live")
    expect(page).to_have_url(re.compile("/queues$"))
