"""The site as a reader has it: built strictly by its one command, and looked at with a browser."""

import functools
import http.server
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from tests.support.tree import ROOT

BUILD_SECONDS = 500
PAGES = (
    "index.html",
    "quickstart.html",
    "concepts.html",
    "coming-from-celery.html",
    "reference/python/canvas.html",
    "reference/grpcflow-worker.html",
    "reference/wire/graph.html",
    "project/architecture.html",
)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site in a folder."""
    out = tmp_path_factory.mktemp("site")
    command = [str(ROOT / "scripts" / "docs"), "build", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder and says nothing about it."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    """Where the site is served."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of the system."""
    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield made
        made.close()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of a scheme and a width."""
    scheme, width = request.param
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    yield context.new_page()
    context.close()


each_look = pytest.mark.parametrize(
    "page", [("light", 1300), ("dark", 1300), ("light", 390)], ids=["light", "dark", "phone"], indirect=True
)


@each_look
def test_pages_ask_nobody_else_and_fit_the_screen(page: Page, address: str) -> None:
    asked: list[str] = []
    wrong: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda told: wrong.append(told.text) if told.type == "error" else None)
    width = (page.viewport_size or {"width": 0})["width"]
    for place in PAGES:
        page.goto(address + place)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place
    assert [url for url in asked if not url.startswith((address, "data:"))] == []
    assert wrong == []


@each_look
def test_drawings_can_be_read_on_their_ground(page: Page, address: str) -> None:
    page.goto(f"{address}concepts.html")
    page.wait_for_selector(".drawing svg text")
    ground, ink, count = page.evaluate(
        """() => {
            const parts = (colour) => colour.match(/[0-9.]+/g).slice(0, 3).map(Number);
            const bright = (colour) => parts(colour).reduce((sum, part) => sum + part, 0) / 3;
            const text = document.querySelector('.drawing svg text');
            return [bright(getComputedStyle(document.body).backgroundColor), bright(getComputedStyle(text).fill),
                    document.querySelectorAll('.drawing svg[role=img][aria-label]').length];
        }"""
    )
    assert abs(ground - ink) > 120
    assert count == 9


@pytest.mark.parametrize("page", [("light", 1300)], ids=["light"], indirect=True)
def test_a_search_finds_a_name_of_the_reference(page: Page, address: str) -> None:
    page.goto(f"{address}index.html")
    page.fill("input[name=query]", "add_to_chord")
    page.wait_for_selector(".md-search-result__item a")
    assert "add" in page.inner_text(".md-search-result__list")


def test_every_public_name_is_told_in_the_reference(site: Path) -> None:
    import grpcflow

    told = "".join(path.read_text(encoding="utf-8") for path in (site / "reference" / "python").glob("*.html"))
    elsewhere = {"__version__", "states"}
    missing = [name for name in grpcflow.__all__ if name not in elsewhere and f'.{name}"' not in told]
    assert missing == []
