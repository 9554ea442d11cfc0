"""The pages in docs/ say what is so: their examples run on a real cluster, and what they point to exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.example_cluster import cluster, run
from tests.support.pages import Page
from tests.support.tree import ROOT

from grpcflow import Grpcflow
from local_cluster import LocalCluster

DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)#\s:]+)(#[^)]*)?\)")
ANCHOR = re.compile(r"\]\(([^)#\s:]*)#([^)\s]+)\)")
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")
PAGES = sorted(DOCS.rglob("*.md"))

pytestmark = pytest.mark.timeout(300)


def name_of(path: Path) -> str:
    return str(path.relative_to(DOCS))


#: Pages with an app of their own, which tests/docs runs.
OF_THEIR_OWN = {"coming-from-celery.md", "quickstart.md"}
SHARED = [path for path in PAGES if name_of(path) not in OF_THEIR_OWN]

pages = pytest.mark.parametrize("page", PAGES, ids=name_of)
programs = pytest.mark.parametrize("page", [path for path in SHARED if Page.read(path).program], ids=name_of)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """One cluster whose workers know the tasks of all pages."""
    folder = tmp_path_factory.mktemp("pages")
    modules = [module for path in SHARED for module in Page.read(path).modules.items()]
    assert len({name for name, _ in modules}) == len(modules), "two pages have a module of the same name"
    for name, text in modules:
        (folder / name).write_text(text)
    names = [name.removesuffix(".py") for name, _ in modules]
    (folder / "every_page.py").write_text(f"from tasks import app\n\napp.conf.include = {names}\n")
    with cluster(folder, "every_page:app", folder, concurrency=2) as made:
        made.start_worker("w1", "default,urgent,news")
        made.start_worker("w2", "coroutines,news", "-P", "asyncio", "-c", "1000")
        made.wait_until_online(Grpcflow("probe", coordinator=made.address, set_as_current=False), ["w1", "w2"])
        yield made


@programs
def test_the_examples_of_a_page_give_what_they_say(page: Path, running: LocalCluster) -> None:
    program = f"{name_of(page).replace('/', '_').replace('-', '_').removesuffix('.md')}_page.py"
    (running.folder / program).write_text(Page.read(page).program)
    run(running, program)


def test_every_page_of_the_canvas_and_of_tasks_has_examples() -> None:
    silent = {name_of(path) for path in PAGES if not re.search(r" #[>!] ", path.read_text(encoding="utf-8"))}
    of_daemons = {
        "backups-and-disks.md",
        "dashboard.md",
        "howto/deploying.md",
        "metrics.md",
        "operating.md",
        "overload.md",
        "reliability.md",
        "security.md",
        "upgrading.md",
    }
    assert silent - of_daemons == {"README.md", "celery-differences.md", "comparison.md", "concepts.md", "top.md"}


@pages
def test_every_page_that_is_linked_is_there(page: Path) -> None:
    for target, _ in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


def headings(page: Path) -> set[str]:
    """Returns the headings of a page as links name them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    bare = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", line) for line in re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)]
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in bare}


@pages
def test_every_heading_that_is_linked_is_there(page: Path) -> None:
    for target, anchor in ANCHOR.findall(page.read_text(encoding="utf-8")):
        there = headings((page.parent / target) if target else page)
        assert anchor in there, f"{page.name} links to #{anchor}, which {target or page.name} does not have"


@pages
def test_every_test_that_is_named_is_there(page: Path) -> None:
    for path, name in NAMED_TEST.findall(page.read_text(encoding="utf-8")):
        file = ROOT / path
        assert file.is_file(), f"{page.name} names {path}, which is not there"
        text = file.read_text(encoding="utf-8")
        assert not name or f"def {name}(" in text, f"{page.name} names {name}, which is not in {path}"


def test_every_page_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    linked = {(DOCS / target).resolve() for target, _ in LINK.findall(index)}
    canvas = (DOCS / "canvas" / "README.md").read_text(encoding="utf-8")
    linked |= {(DOCS / "canvas" / target).resolve() for target, _ in LINK.findall(canvas)}
    assert [name_of(page) for page in PAGES if page.resolve() not in linked] == ["README.md"]
