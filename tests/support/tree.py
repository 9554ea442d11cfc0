"""What files the project is made of, for tests that look at the project itself."""

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "grpcflow_protos": ROOT / "protos" / "grpcflow_protos",
    "grpcflow": ROOT / "client" / "grpcflow",
    "grpcflow_worker": ROOT / "worker" / "grpcflow_worker",
    "grpcflow_coordinator": ROOT / "coordinator" / "grpcflow_coordinator",
}
GENERATED = PACKAGES["grpcflow_protos"] / "v1"
FOLDERS = ("client", "coordinator", "docs", "examples", "protos", "scripts", "tests", "worker", ".ci")
#: Folders that tools fill.
NOT_OURS = {"__pycache__", "node_modules"}


def files(*suffixes: str) -> Iterator[Path]:
    """Yields every file that people wrote, of these suffixes or of all; without git, which may not be there."""
    return (path for path in _written() if not suffixes or path.suffix in suffixes)


@functools.cache
def _written() -> tuple[Path, ...]:
    """Returns every file that people wrote; in a work tree of git's own, `.git` is a file that nobody wrote."""
    found = [*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]
    return tuple(
        path
        for path in found
        if not NOT_OURS & set(path.parts) and GENERATED not in path.parents and path.name != ".git" and path.is_file()
    )


@functools.cache
def sources() -> tuple[Path, ...]:
    """Returns every Python file that people wrote, sorted; scripts without a suffix are shell."""
    return tuple(sorted(files(".py")))


@functools.cache
def text_of(path: Path) -> str:
    """Returns what stands in a file; many tests look at the same ones."""
    return path.read_text(encoding="utf-8")


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Returns the syntax tree of a Python file; nobody may change it."""
    return ast.parse(text_of(path))


def statements(path: Path) -> Iterator[ast.stmt]:
    """Yields every statement of a Python file, however deep; expressions, which are most of a tree, are not entered."""
    waiting: list[ast.AST] = [parsed(path)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.stmt):
            yield node
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            inner = getattr(node, field, ())
            waiting += inner if isinstance(inner, list) else ()


def by_folder(paths: Iterable[Path]) -> list[list[Path]]:
    """Returns the files by their folders: a test for each file would cost more than what it looks at."""
    found: dict[Path, list[Path]] = {}
    for path in paths:
        found.setdefault(path.parent, []).append(path)
    return list(found.values())


def folder_of(paths: list[Path]) -> str:
    """Returns the folder of some files, as people name it."""
    return relative(paths[0].parent)


def relative(path: Path) -> str:
    """Returns the path as people name it."""
    return path.relative_to(ROOT).as_posix()
