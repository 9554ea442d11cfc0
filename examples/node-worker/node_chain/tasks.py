"""What Python does before and after Node, and the canvas of all three."""

import re
from collections import Counter
from typing import TypedDict

from grpcflow import Signature, chain, group
from node_chain.app import app


class Arranged(TypedDict):
    """What the task "intl.arrange" gives: rows of a word and its count, as readers of a locale expect them."""

    locale: str
    rows: list[list[str]]


@app.task
def count_words(text: str) -> list[tuple[str, int]]:
    """Counts how often each word stands in a text."""
    return list(Counter(re.findall(r"\w+", text.lower())).items())


@app.task
def lay_out(arranged: Arranged) -> str:
    """Writes the rows as lines."""
    width = max(len(word) for word, _ in arranged["rows"])
    return "\n".join(f"{word:<{width}}  {count:>6}" for word, count in arranged["rows"])


@app.task
def side_by_side(tables: list[str], titles: list[str]) -> str:
    """Sets tables of equally many lines beside each other, each under its title."""
    columns = []
    for title, table in zip(titles, tables, strict=True):
        lines = [title, *table.splitlines()]
        width = max(map(len, lines))
        columns.append([line.ljust(width) for line in lines])
    return "\n".join("   ".join(row).rstrip() for row in zip(*columns, strict=True))


def in_languages(text: str, titles: dict[str, str]) -> Signature:
    """Returns the canvas: count once, arrange in Node for each locale, lay out each, and set them side by side."""
    arrange = [chain(app.signature("intl.arrange", kwargs={"locale": locale}), lay_out.s()) for locale in titles]
    return chain(count_words.s(text), group(arrange), side_by_side.s(list(titles.values())))
