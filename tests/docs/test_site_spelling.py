"""The pages are spelled as a dictionary says, or as words.txt beside this file does; and without common mistakes.

A word of ours that no dictionary has is added to words.txt, in lower case, one a line. Names are not looked at: what is
written in code, in capitals, or with capitals inside.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from spellchecker import SpellChecker
from tests.support.tree import ROOT

from documentation.pages import LINK, outside_code, pages

OWN = Path(__file__).with_name("words.txt")
#: What is taken for mistakes: names of ours, and a word that a screen cuts off.
OUR_NAMES = "aadd,acount,aready,custome"
WORD = re.compile(r"(?<![\w/.@-])[A-Za-z][A-Za-z']*[A-Za-z](?![\w@])")
SOURCES = [place for place in pages() if place != "CHANGELOG.md"]


@pytest.fixture(scope="module")
def known() -> SpellChecker:
    """A dictionary of English with our own words."""
    checker = SpellChecker(language="en", distance=1)
    checker.word_frequency.load_words(OWN.read_text(encoding="utf-8").split())
    return checker


def words(text: str) -> set[str]:
    """The words of a page that are no code, no address and no name."""
    found: set[str] = set()

    def look(part: str) -> str:
        plain = re.sub(r"https?://\S+|<[^>]*>", " ", LINK.sub(lambda link: link["text"], part))
        found.update(word.removesuffix("'s") for word in WORD.findall(plain))
        return part

    outside_code(text, look)
    return {word for word in found if word[1:].islower()}


def misspelled(text: str, known: SpellChecker) -> list[str]:
    return sorted(word for word in words(text) if word.lower() not in known)


def test_the_pages_are_spelled_right(known: SpellChecker) -> None:
    wrong = {place: misspelled((ROOT / place).read_text(encoding="utf-8"), known) for place in SOURCES}
    assert {place: found for place, found in wrong.items() if found} == {}, f"mend them, or add them to {OWN.name}"


def test_a_mistake_would_be_found(known: SpellChecker) -> None:
    assert misspelled("The cordinator hands out `taskz` to [wrokers](x.md).", known) == ["cordinator", "wrokers"]


def test_every_word_of_our_own_is_used_and_in_its_place() -> None:
    own = OWN.read_text(encoding="utf-8").split()
    used = {word.lower() for place in SOURCES for word in words((ROOT / place).read_text(encoding="utf-8"))}
    assert own == sorted(set(own))
    assert [word for word in own if word not in used] == []


def test_no_common_mistake_is_in_the_pages_and_the_protocol() -> None:
    texts = [
        *SOURCES,
        *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "protos" / "grpcflow").rglob("*.proto"))),
    ]
    codespell = [sys.executable, "-m", "codespell_lib", "--ignore-words-list", OUR_NAMES, *texts]
    done = subprocess.run(codespell, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
