"""What the census counts in one file; what a cluster makes of it is tested in tests/cluster."""

from pathlib import Path

import pytest

from census import count

SOURCE = """
import os, sys
from pathlib import Path
class Outer:
    def inner(self):
        try:
            import json
        except ImportError:
            def deep(): ...
    async def other(self): ...
match 1:
    case 1:
        import re
"""


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(count, "library", lambda: tmp_path)
    return tmp_path


def test_definitions_and_imports_are_found_in_every_block(library: Path) -> None:
    (library / "one.py").write_text(SOURCE)
    assert count.count_file("one.py") == {"files": 1, "lines": 13, "definitions": 4, "imports": 4, "unparsed": 0}


@pytest.mark.parametrize("source", [b"def (", b"\xff\xfe", b"x = '\0'", b"(" * 10_000])
def test_a_file_that_does_not_parse_is_counted_as_such(library: Path, source: bytes) -> None:
    (library / "bad.py").write_bytes(source)
    assert count.count_file("bad.py") == {"files": 1, "lines": 1, "definitions": 0, "imports": 0, "unparsed": 1}


def test_files_are_grouped_by_package_and_installed_ones_left_out(library: Path) -> None:
    for name in ("argparse.py", "json/decoder.py", "json/tool/a.py", "site-packages/x.py", "json/data.txt"):
        path = library / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert count.source_files() == {
        count.SINGLE_MODULES: ["argparse.py"],
        "json": ["json/decoder.py", "json/tool/a.py"],
    }
