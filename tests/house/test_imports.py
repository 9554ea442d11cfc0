"""Who may import whom: the contracts of pyproject.toml, and two rules that they cannot say."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.tree import PACKAGES, ROOT, parsed, relative, sources, statements, text_of

CORE = PACKAGES["grpcflow_coordinator"] / "core"
IMPURE = {
    "asyncio", "concurrent", "io", "logging", "multiprocessing", "os", "pathlib", "queue", "random", "secrets",
    "signal", "socket", "sqlite3", "subprocess", "tempfile", "threading", "time", "uuid",
}  # fmt: skip
#: What the core may read beside the standard library: numbers and texts of the wire, which import nothing, and the
#: calendar and the sun for its schedules.
ALLOWED_IN_CORE = {
    "grpcflow_coordinator.core", "grpcflow_protos.limits", "grpcflow_protos.cronfields", "astral", "cronsim",
}  # fmt: skip


def test_the_import_contracts_of_pyproject_hold() -> None:
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: path.name)
def test_the_core_imports_nothing_but_itself_and_pure_parts_of_the_standard_library(path: Path) -> None:
    for module in imported_modules(path):
        top = module.partition(".")[0]
        ours = any(module == allowed or module.startswith(f"{allowed}.") for allowed in ALLOWED_IN_CORE)
        pure = top in sys.stdlib_module_names and top not in IMPURE
        assert ours or pure, f"{relative(path)} imports {module}"


@pytest.mark.parametrize("path", sorted(CORE.rglob("*.py")), ids=lambda path: path.name)
def test_the_core_asks_no_clock(path: Path) -> None:
    calls = [node.func for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
    asked = [call.attr for call in calls if isinstance(call, ast.Attribute) and call.attr in ("now", "utcnow", "today")]
    assert not asked, f"{relative(path)} asks a clock: {asked}; time is an argument of step()"


def test_importing_the_client_imports_neither_grpc_nor_protobuf() -> None:
    """A forked child of a worker imports the app and so the client; grpc would cost it 60 ms and its right to fork."""
    code = (
        "import sys, grpcflow; from grpcflow import Grpcflow, chain, chord, group\n"
        "app = Grpcflow('light')\n"
        "@app.task(name='light.add')\n"
        "def add(x, y): return x + y\n"
        "chord([add.s(1, 1)], add.s(1))\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('grpc', 'google', 'grpcflow_protos.v1')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=150)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stdout + done.stderr


def test_only_tests_import_what_puts_all_packages_together() -> None:
    """`grpcflow.testing` may import everything, so nothing that runs in production may import it."""
    own = (PACKAGES["grpcflow"] / "testing", ROOT / "client" / "pytest_grpcflow", ROOT / "tests")
    names = ("grpcflow.testing", "pytest_grpcflow")
    naming = [path for path in sources() if any(name in text_of(path) for name in names)]
    others = [path for path in naming if not any(folder in path.parents for folder in own)]
    guilty = {
        relative(path): module for path in others for module in imported_modules(path) if module.startswith(names)
    }
    assert guilty == {}


def test_the_pytest_plugin_imports_nothing_of_ours_before_a_fixture_is_used() -> None:
    tree = ast.parse((ROOT / "client" / "pytest_grpcflow" / "__init__.py").read_text())
    at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in at_once}
    assert names == {"collections.abc", "contextlib", "pytest", "typing"}


def imported_modules(path: Path) -> list[str]:
    """Returns the full names of all modules that a file imports."""
    found = []
    for node in statements(path):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)} uses a relative import; write the whole name"
            found.append(node.module or "")
    return found
