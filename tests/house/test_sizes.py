"""Files and functions that fit a glance, and packages that are whole."""

import ast
from pathlib import Path

import pytest
from tests.support.tree import PACKAGES, ROOT, by_folder, folder_of, parsed, relative, sources, statements, text_of

MOST_LINES_OF_A_FILE = 500
MOST_LINES_OF_A_FUNCTION = 60


@pytest.mark.parametrize("folder", by_folder(sources()), ids=folder_of)
def test_file_and_its_functions_are_not_too_long_and_it_opens_by_saying_what_it_is(folder: list[Path]) -> None:
    for path in folder:
        assert text_of(path).count("\n") <= MOST_LINES_OF_A_FILE, f"{relative(path)} holds two rooms in one"
        for node in statements(path):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                where = f"{relative(path)}:{node.lineno} {node.name}"
                assert lines <= MOST_LINES_OF_A_FUNCTION, f"{where} has {lines} lines"
        empty = not text_of(path) and path.name == "__init__.py" and path.is_relative_to(ROOT / "tests")
        assert empty or ast.get_docstring(parsed(path)), f"{relative(path)} has no docstring at its head"


@pytest.mark.parametrize("package", PACKAGES)
def test_package_says_that_it_is_typed(package: str) -> None:
    assert (PACKAGES[package] / "py.typed").is_file()


def test_no_two_test_files_share_a_name() -> None:
    names = [path.name for path in sources() if path.name.startswith("test_")]
    assert sorted(set(names)) == sorted(names)
