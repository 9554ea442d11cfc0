"""docs/errors.md tells every stable code of an error, each as the exception that it is raised as, and no other."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from typing import Final

import pytest
from tests.support.tree import PACKAGES, ROOT, parsed, sources, text_of

from grpcflow import errors, failures
from grpcflow.statuses import error_for
from grpcflow_coordinator.core.model import NodeState
from grpcflow_coordinator.errors import STATUS_OF

ROW: Final = re.compile(r"^\| ([A-Z][A-Z_]+) \| ([\w, ]+) \| (.+) \| (.+) \|$", re.MULTILINE)
#: What the text of a module has where it gives a code.
MAKES: Final = re.compile(r"code=|reason=|[Ff]ailure\(")
CODE: Final = re.compile(r"[A-Z][A-Z_]+")

#: Reasons of failures that are made from the state of what failed.
OF_STATES: Final = {NodeState.REVOKED.name, NodeState.IGNORED.name, NodeState.REJECTED.name}

#: What `get()` raises for the reasons of failures.
RAISED_FOR: Final = {reason: kind.__name__ for reason, kind in failures._REASONS.items()}


@cache
def told() -> dict[str, set[str]]:
    """Returns the codes of the page, each with its exceptions."""
    rows = ROW.findall((ROOT / "docs" / "errors.md").read_text(encoding="utf-8"))
    assert len(rows) == len({code for code, *_ in rows}), "a code is told twice"
    return {code: set(kinds.split(", ")) for code, kinds, *_ in rows}


def kinds() -> dict[str, type[errors.GrpcflowError]]:
    return {name: getattr(errors, name) for name in errors.__all__}


@cache
def given() -> frozenset[tuple[str, str]]:
    """Returns (code, exception) of all codes that an exception is made with; exception "": the reason of a failure."""
    ours = [PACKAGES[name] for name in ("grpcflow", "grpcflow_worker", "grpcflow_coordinator")]
    paths = [path for path in sources() if any(package in path.parents for package in ours)]
    return frozenset(pair for path in paths if MAKES.search(text_of(path)) for pair in _given(parsed(path)))


def _given(tree: ast.Module) -> Iterator[tuple[str, str]]:
    constants = {
        ast.unparse(node.target): node.value.value
        for node in tree.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Constant)
    }
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        name = ast.unparse(call.func).rpartition(".")[2]
        is_failure = name in ("Failure", "reason_failure")
        for value in [keyword.value for keyword in call.keywords if keyword.arg in ("code", "reason")] + call.args:
            said = value.value if isinstance(value, ast.Constant) else constants.get(ast.unparse(value))
            if isinstance(said, str) and CODE.fullmatch(said) and (is_failure or name in kinds()):
                yield said, "" if is_failure else name


def test_each_code_that_the_coordinator_refuses_with_is_told_with_what_is_raised_for_it() -> None:
    for code, status in STATUS_OF.items():
        raised = type(error_for(status.value[0], code, "")).__name__
        assert raised in told().get(code, ()), f"docs/errors.md: {code} is raised as {raised}"


@pytest.mark.parametrize("name", sorted(kinds()))
def test_the_code_of_each_class_is_told(name: str) -> None:
    assert name in told().get(kinds()[name].default_code, ()), f"docs/errors.md: {kinds()[name].default_code} is {name}"


def test_each_code_that_our_own_errors_and_failures_are_made_with_is_told() -> None:
    assert ("NO_APP", "ImproperlyConfigured") in given()
    assert ("TIME_LIMIT", "") in given()
    for code, name in given():
        assert name in {"", *told().get(code, ())}, f"docs/errors.md: {code} is raised as {name}"
        assert code in told(), f"docs/errors.md does not tell {code}"
    for code, name in RAISED_FOR.items():
        assert name in told().get(code, ()), f"docs/errors.md: {code} is raised as {name}"


def test_each_code_that_is_told_exists() -> None:
    own = {kind.default_code for kind in kinds().values()}
    there = set(STATUS_OF) | own | {code for code, _ in given()} | OF_STATES
    assert not told().keys() - there


def test_each_exception_that_is_told_for_a_code_can_have_it() -> None:
    raised = {(code, type(error_for(status.value[0], code, "")).__name__) for code, status in STATUS_OF.items()}
    raised |= {(kind.default_code, name) for name, kind in kinds().items()} | given() | set(RAISED_FOR.items())
    for code, names in told().items():
        for name in names:
            assert (code, name) in raised, f"docs/errors.md: nothing raises {name} with the code {code}"
