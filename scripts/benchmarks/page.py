"""Writes what a run found into a page of the documentation, between marks that stand in it. Measures nothing.

The marks are lines such as `<!-- table: begin -->` and `<!-- table: end -->`. What stands there is kept where a run did
not measure it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import plots
from benchmarks.report import Table, markdown

#: Folder of the drawings, beside the page.
PICTURES = "pictures"


def write(page: Path, found: Sequence[Table], further: Sequence[Table], records: Iterable[Mapping[str, Any]]) -> None:
    """Write tables and plots into a page.

    Args:
        page: a file of Markdown with the marks `table`, `plots` and `points`.
        found: the tables of rows and of other systems, which go to `table`.
        further: those of growth and of parts alone, which go to `points`.
        records: of the run; those of growth are drawn, and go to `plots`.

    Raises:
        SystemExit: the page is not there, or has no such marks.
    """
    try:
        text = page.read_text()
    except OSError as error:
        raise SystemExit(
            f"{page} cannot be read: {error.strerror}; name a page with the marks of the benchmark"
        ) from error
    told = {"table": "\n".join(map(markdown, found)), "points": "\n".join(map(markdown, further))}
    growth = [record for record in records if record["kind"] == "growth"]
    if growth:
        drawn = plots.draw(growth, page.parent / PICTURES)
        told["plots"] = "\n\n".join(f"![{plots.title(file.stem)}]({PICTURES}/{file.name})" for file in drawn) + "\n"
    for name, content in told.items():
        if content:
            text = between(text, name, content, page)
    page.write_text(text)


def between(text: str, name: str, content: str, page: Path) -> str:
    """Return a text with other content between two marks.

    Raises:
        SystemExit: the marks are not there, once and in order.
    """
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{page} has no lines {begin.strip()} and {end.strip()}: put them where that is to stand")
    return f"{before}{begin}{content.rstrip()}\n{end}{after}"
