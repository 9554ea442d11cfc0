"""Words and habits that this project does without."""

import re
from pathlib import Path

import pytest
from tests.support.tree import ROOT, by_folder, files, folder_of, relative, sources, text_of

#: This file has to say the words that it looks for.
SELF = Path(__file__)
TEXT = (".py", ".md", ".proto", ".toml", ".yaml", ".txt", ".sh", "")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
SWALLOWED = re.compile(r"except( BaseException| Exception)?:\s*\n?\s*pass\b")
SKIPPED = re.compile(r"pytest\.skip|mark\.skip\b|mark\.xfail")
PRIVATE = re.compile(r"/(root|home/\w+|work/(main|shared)|tmp/house)\b")
SHAPELESS = {"utils", "util", "helpers", "helper", "manager", "common", "misc", "stuff"}
SLEEPS = re.compile(r"\btime\.sleep\(|\basyncio\.sleep\((?!0\))")

texts = [path for path in files(*TEXT) if path != SELF and path.parent != ROOT / ".ci"]
tests = [path for path in sources() if ROOT / "tests" in path.parents and path != SELF]


@pytest.mark.parametrize("folder", by_folder(texts), ids=folder_of)
def test_nothing_is_unfinished_and_no_path_is_of_one_machine(folder: list[Path]) -> None:
    for path in folder:
        text = text_of(path)
        for pattern in (UNFINISHED, PRIVATE):
            found = pattern.findall(text)
            assert found == [], f"{relative(path)} says {found}"


@pytest.mark.parametrize("folder", by_folder(sources()), ids=folder_of)
def test_no_error_is_swallowed_and_no_module_is_shapeless(folder: list[Path]) -> None:
    for path in folder:
        assert path == SELF or not SWALLOWED.search(text_of(path)), f"{relative(path)} swallows an error"
        assert path.stem not in SHAPELESS, f"{relative(path)}: name it for what it holds"


@pytest.mark.parametrize("folder", by_folder(tests), ids=folder_of)
def test_no_test_sleeps_or_is_skipped(folder: list[Path]) -> None:
    for path in folder:
        text = text_of(path)
        assert not SKIPPED.search(text), f"{relative(path)} skips a test"
        asleep = [line for line in text.splitlines() if SLEEPS.search(line) and "in a task" not in line]
        assert not asleep, (
            f"{relative(path)} sleeps: {asleep}; wait for an event (in a task's body say so: # in a task)"
        )
