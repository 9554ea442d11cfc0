"""The pages in docs/ say what is so: their examples run on a real cluster, and what they point to exists."""

import re
from pathlib import Path

import pytest
from tests.cluster.test_examples import BLOCK, CLAIM, claim
from tests.support.example_cluster import cluster, run
from tests.support.tree import ROOT

from grpcflow import Grpcflow

DOCS = ROOT / "docs"
LINK = re.compile(r"\]\(([^)#\s:]+)(#[^)]*)?\)")
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")

pytestmark = pytest.mark.timeout(120)

pages = pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)


def test_the_examples_of_values_and_errors_give_what_they_say(tmp_path: Path) -> None:
    blocks = BLOCK.findall((DOCS / "values-and-errors.md").read_text(encoding="utf-8"))
    tasks, *programs = [text for language, text in blocks if language == "python"]
    assert len(programs) > 5
    (tmp_path / "tasks.py").write_text(tasks)
    (tmp_path / "program.py").write_text("".join(CLAIM.sub(claim, text) for text in programs))
    with cluster(tmp_path, "tasks", tmp_path) as running:
        running.start_worker("w1")
        running.wait_until_online(Grpcflow("probe", coordinator=running.address, set_as_current=False), ["w1"])
        run(running, "program.py")


@pages
def test_every_page_that_is_linked_is_there(page: Path) -> None:
    for target, _ in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"


@pages
def test_every_test_that_is_named_is_there(page: Path) -> None:
    for path, name in NAMED_TEST.findall(page.read_text(encoding="utf-8")):
        file = ROOT / path
        assert file.is_file(), f"{page.name} names {path}, which is not there"
        text = file.read_text(encoding="utf-8")
        assert not name or f"def {name}(" in text, f"{page.name} names {name}, which is not in {path}"
