"""What users import: a snapshot, so that the public surface changes on purpose only.

After a change that is meant: GRPCFLOW_UPDATE=1 python -m pytest tests/house/test_public_api.py, and review the diff.
"""

import importlib
import inspect
import os
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent
SNAPSHOTS = {
    "grpcflow": HERE / "public_api.txt",
    "grpcflow.opentelemetry": HERE / "public_api_opentelemetry.txt",
    "grpcflow.testing": HERE / "public_api_testing.txt",
}

modules = pytest.mark.parametrize("module", SNAPSHOTS)


@modules
def test_the_public_api_is_the_one_that_was_reviewed(module: str) -> None:
    public, snapshot = importlib.import_module(module), SNAPSHOTS[module]
    now = "".join(f"{line}\n" for name in sorted(public.__all__) for line in described(public, name))
    if os.environ.get("GRPCFLOW_UPDATE"):
        snapshot.write_text(now)
    assert snapshot.read_text() == now


@modules
def test_every_public_name_is_documented(module: str) -> None:
    public = importlib.import_module(module)
    for name in public.__all__:
        value = getattr(public, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), f"{module}.{name} has no docstring"


def described(public: ModuleType, name: str) -> list[str]:
    """Returns a public name with its public methods and their parameters, one a line."""
    value = getattr(public, name)
    if not inspect.isclass(value):
        return [f"{name}{parameters(value)}" if callable(value) else f"{name}: {type(value).__name__}"]
    lines = [f"class {name}{parameters(value)}"]
    for member in sorted(dir(value)):
        found = inspect.getattr_static(value, member)
        ours = any(member in vars(base) and base.__module__.startswith("grpcflow") for base in value.__mro__)
        if not ours or member.startswith("_"):
            continue
        kind = "" if inspect.isroutine(found) or isinstance(found, classmethod | staticmethod) else ": attribute"
        lines.append(f"    {member}{kind or parameters(getattr(value, member))}")
    return lines


def parameters(value: object) -> str:
    """Returns the names and kinds of the parameters, without types and defaults, which change more often."""
    try:
        signature = inspect.signature(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return "(...)"
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in signature.parameters.values()]
    plain = [each if each.default is each.empty else each.replace(default=...) for each in bare]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty)).replace(
        "Ellipsis", "..."
    )
