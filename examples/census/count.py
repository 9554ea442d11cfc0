"""Counting, and nothing else: no task and no cluster, so that the same code can check what a cluster counted."""

import ast
import os
import sys
import sysconfig
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

#: The counted columns, in the order in which they are shown.
COLUMNS = ("files", "lines", "definitions", "imports", "unparsed")

#: Folders in the standard library's folder that hold what somebody installed.
NOT_OURS = {"site-packages", "dist-packages"}

#: The "package" of modules that are a file of their own, such as argparse.py.
SINGLE_MODULES = "(single modules)"

Counts = dict[str, int]


def library() -> Path:
    """Returns the folder of this interpreter's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def source_files(most: int | None = None) -> dict[str, list[str]]:
    """Returns every source file of the standard library, its tests included, as paths below library(), by package.

    With `most`, only so many of them.
    """
    packages: dict[str, list[str]] = defaultdict(list)
    left = sys.maxsize if most is None else most
    for folder, subfolders, files in os.walk(library()):
        subfolders[:] = sorted(set(subfolders) - NOT_OURS)
        relative = Path(folder).relative_to(library())
        package = relative.parts[0] if relative.parts else SINGLE_MODULES
        sources = sorted(name for name in files if name.endswith(".py"))[:left]
        left -= len(sources)
        if sources:
            packages[package] += [(relative / name).as_posix() for name in sources]
    return dict(packages)


def count_file(name: str) -> Counts:
    """Counts one file, named by its path below library(). One that does not parse counts lines and itself only."""
    source = (library() / name).read_bytes()
    counts = dict.fromkeys(COLUMNS, 0) | {"files": 1, "lines": len(source.splitlines())}
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(source, filename=name)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the last: nested too deeply for the parser
        return counts | {"unparsed": 1}
    for statement in statements(tree.body):
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                counts["definitions"] += 1
            case ast.Import() | ast.ImportFrom():
                counts["imports"] += 1
    return counts


def statements(body: Iterable[ast.AST]) -> Iterable[ast.AST]:
    """Yields every statement of a body, nested ones too; far quicker than ast.walk, which visits expressions."""
    waiting = list(body)
    while waiting:
        statement = waiting.pop()
        yield statement
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(statement, block, None)
            if isinstance(inner, list):
                waiting.extend(inner)


def add_up(rows: Iterable[Mapping[str, int]]) -> Counts:
    """Returns the column sums."""
    total = dict.fromkeys(COLUMNS, 0)
    for row in rows:
        for column in COLUMNS:
            total[column] += row[column]
    return total
