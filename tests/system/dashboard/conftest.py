"""The dashboard in a real browser: a cluster of processes, a dashboard of it, and Debian's Chromium.

A page that logs an error, breaks its policy or asks another origin for anything fails the test that opened it.
"""

import contextlib
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from tests.cluster.harness import Cluster, Process, cluster_in, wait_for
from tests.cluster.warm import WARM
from tests.support.ports import HeldPort

#: Milliseconds that a page has for anything; it is the machine that is busy where it takes long.
PATIENCE = 60_000
#: What Chromium says of what the server refused on purpose, and of streams that end with it.
EXPECTED = ("Failed to load resource", "net::ERR_")

DESKTOP = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 800}


@dataclass
class Served:
    """A cluster and its dashboard."""

    cluster: Cluster
    port: HeldPort
    process: Process | None = None
    options: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        return f"http://{self.port.address}"

    def start(self) -> None:
        """Starts the dashboard on its port, and waits until it serves."""
        listen = ["--listen", self.port.address, "--coordinator", self.cluster.address, *self.options]
        here = str(Path(__file__).parent)
        self.process = self.cluster.launch("dashboard", "grpcflow_command", "dashboard", *listen, PYTHONPATH=here)
        wait_for("the dashboard to serve", self._serves)

    def _serves(self) -> bool:
        assert self.process is not None
        assert self.process.popen.poll() is None, self.cluster.logs()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port.number), 1):
            return True
        return False


@contextlib.contextmanager
def served(folder: Path, *coordinator: str, workers: bool = True) -> Iterator[Served]:
    """Gives a cluster with two workers and a dashboard."""
    port = HeldPort()
    try:
        with cluster_in(folder) as cluster:
            cluster.start_coordinator(*coordinator)
            if workers:
                cluster.start_worker("w1", queues="default,slow")
                cluster.start_worker("w2")
            made = Served(cluster, port)
            made.start()
            yield made
    finally:
        port.close()


@pytest.fixture(scope="package", autouse=True)
def _warm() -> Iterator[None]:
    yield
    WARM.close()


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium; as long as it is there, no test can run an event loop of its own."""
    found = shutil.which("chromium")
    assert found is not None, "scripts/test-system installs it"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A cluster that no test breaks."""
    with served(tmp_path_factory.mktemp("dashboard")) as made:
        yield made


@dataclass
class Visit:
    """Pages that one test opened, and what was wrong with them."""

    browser: Browser
    contexts: list[BrowserContext] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def __call__(self, served: Served, path: str = "/", **looks: Any) -> Page:
        """Opens a page; `looks` are those of a context of playwright."""
        context = self.browser.new_context(**{"viewport": DESKTOP, **looks})
        context.set_default_timeout(PATIENCE)
        self.contexts.append(context)
        page = context.new_page()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.wrong.append(f"{path}: {error}"))

        def asked(request: Any) -> None:
            if not request.url.startswith((f"{served.address}/", "data:")):
                self.wrong.append(f"{path} asks for {request.url}")

        page.on("request", asked)
        page.goto(served.address + path)
        return page

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning") and not any(one in message.text for one in EXPECTED):
            self.wrong.append(message.text)


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Opens pages, and looks at the end whether anything was wrong with them."""
    made = Visit(chromium)
    yield made
    for context in made.contexts:
        context.close()
    assert made.wrong == []
