"""The pages of the site as they are gathered, before MkDocs draws them: links, anchors, navigation, pictures, lists."""

import itertools
import posixpath
import re
from collections import Counter
from collections.abc import Iterator

import pytest
import yaml
from tests.support.tree import ROOT

from documentation.concept_drawings import DRAWINGS
from documentation.gather import bars, gathered
from documentation.pages import DRAWN, LINK, PAGES, SETTINGS, Links, anchors, outside_code

#: Pages that are reached from others only.
OUT_OF_NAVIGATION = ("files/", "reference/wire/")


@pytest.fixture(scope="module")
def site() -> dict[str, str]:
    """The text of each page by its place in the site."""
    return {name: content.decode() for name, content in gathered().items() if name.endswith(".md")}


class Settings(yaml.SafeLoader):
    """Reads the committed settings, in which a function is named for MkDocs."""


Settings.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def places(navigation: object) -> Iterator[str]:
    """Yields the pages of a part of the navigation."""
    if isinstance(navigation, str):
        yield navigation
    for inner in (
        navigation.values() if isinstance(navigation, dict) else navigation if isinstance(navigation, list) else ()
    ):
        yield from places(inner)


def test_every_page_is_in_the_navigation_once(site: dict[str, str]) -> None:
    settings = yaml.load(SETTINGS.read_text(encoding="utf-8"), Settings)
    listed = Counter(places(settings["nav"]))
    assert [place for place, times in listed.items() if times > 1] == []
    assert set(listed) == {place for place in site if not place.startswith(OUT_OF_NAVIGATION)}


def links_of(text: str) -> list[str]:
    found: list[str] = []

    def look(part: str) -> str:
        found.extend(link["target"] for link in LINK.finditer(part))
        return part

    outside_code(text, look)
    return found


def test_every_link_leads_to_a_page_and_a_heading_that_are_there(site: dict[str, str]) -> None:
    there = {place: anchors(text) for place, text in site.items()}
    pictures = {name for name in gathered_pictures(site) if (ROOT / "docs" / name).is_file() or (ROOT / name).is_file()}
    broken = []
    for place, text in site.items():
        for link in links_of(text):
            target, _, anchor = link.partition("#")
            if ":" in target:
                continue
            to = posixpath.normpath(posixpath.join(posixpath.dirname(place), target)) if target else place
            if to not in there and to not in pictures:
                broken.append(f"{place}: {link}")
            elif anchor and anchor not in there[to]:
                broken.append(f"{place}: {link} (no such heading)")
    assert broken == []


def gathered_pictures(site: dict[str, str]) -> set[str]:
    ends = (".png", ".svg")
    return {
        posixpath.normpath(posixpath.join(posixpath.dirname(place), link))
        for place, text in site.items()
        for link in links_of(text)
        if link.endswith(ends)
    }


def test_a_link_that_leads_nowhere_is_told_where_it_stands() -> None:
    with pytest.raises(ValueError, match=r"docs/top\.md links to docs/lost\.md"):
        Links().led_on("docs/top.md", "see [it](lost.md)")
    assert Links().led_on("docs/top.md", "`[it](lost.md)`") == "`[it](lost.md)`"
    assert Links().led_on("docs/canvas/chord.md", "[`a`](../top.md) ``b` ``") == "[`a`](../top.md) ``b` ``"
    with pytest.raises(ValueError, match="lost"):
        Links().led_on("docs/top.md", "[see `it`](lost.md)")
    assert (
        Links().led_on("docs/top.md", "[why](../ARCHITECTURE.md#the-house)")
        == "[why](project/architecture.md#the-house)"
    )


def test_every_heading_of_a_page_has_an_anchor_of_its_own_where_it_is_linked(site: dict[str, str]) -> None:
    linked = {
        (posixpath.normpath(posixpath.join(posixpath.dirname(place), target)) if target else place, anchor)
        for place, text in site.items()
        for target, _, anchor in (link.partition("#") for link in links_of(text))
        if anchor and ":" not in target
    }
    for place, anchor in linked:
        bare = re.sub(r"^```.*?^```$", "", site[place], flags=re.MULTILINE | re.DOTALL)
        same = [head for head in re.findall(r"^#{1,6} .+$", bare, flags=re.MULTILINE) if anchors(head) == {anchor}]
        assert len(same) <= 1, f"{place} has several headings #{anchor}: {same}"


def test_lists_and_tables_stand_apart_from_the_text_before_them(site: dict[str, str]) -> None:
    """Markdown of the repository's kind takes them otherwise too; that of the site does not."""
    joined = []
    for place, text in site.items():
        bare = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL).splitlines()
        for before, line in itertools.pairwise(bare):
            starts = re.match(r"([-*] |1\. |\|)", line)
            if starts and before.strip() and not re.match(r"([-*] |\d+\. |\|| {2,}|<)", before):
                joined.append(f"{place}: {before[:40]} / {line[:40]}")
    assert joined == []


def test_drawings_are_fresh_and_told_to_who_cannot_see_them() -> None:
    for name, draw in DRAWINGS.items():
        written = (ROOT / DRAWN / f"{name}.svg").read_text(encoding="utf-8")
        assert written == draw().svg(), f"{name}.svg is not fresh: python -m documentation.concept_drawings"
    told = {path: LINK.findall(path.read_text(encoding="utf-8")) for path in (ROOT / "docs").rglob("*.md")}
    silent = [path.name for path, found in told.items() for mark, text, _ in found if mark and len(text) < 10]
    assert silent == []


def test_no_picture_and_no_style_comes_from_elsewhere(site: dict[str, str]) -> None:
    loaded = {
        place: re.findall(r"!\[[^\]]*\]\(\w+:[^)]*\)|<(?:img|script|link)\b[^>]*", text) for place, text in site.items()
    }
    pages_that_load = {
        place for place, found in loaded.items() if found and not place.startswith(("files/", "project/changelog"))
    }
    assert pages_that_load == set()


def test_every_page_outside_of_docs_is_there() -> None:
    assert [path for path in PAGES if not (ROOT / path).is_file()] == []


def test_bars_in_code_are_bare_in_tables_and_nowhere_else() -> None:
    assert bars("| `a \\| b` | x \\| y |\n`a \\| b`\n") == "| `a | b` | x \\| y |\n`a \\| b`\n"
