"""The modules of tasks: those that settings name, and those that are looked for in packages."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grpcflow import Grpcflow, signals
from grpcflow.errors import ImproperlyConfigured


@pytest.fixture
def app() -> Grpcflow:
    return Grpcflow("loadt", set_as_current=False)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, files in {"loadt_shop": ("tasks", "jobs"), "loadt_mail": ("tasks",), "loadt_bare": ()}.items():
        (tmp_path / name).mkdir()
        for file in ("__init__", *files):
            (tmp_path / name / f"{file}.py").write_text("")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("loadt_")]:
        del sys.modules[name]


def test_packages_are_looked_through_when_modules_are_imported_and_no_earlier(app: Grpcflow, packages: Path) -> None:
    app.autodiscover_tasks(["loadt_shop", "loadt_bare"])
    app.autodiscover_tasks(lambda: ["loadt_mail"], related_name="tasks")
    app.finalize()
    assert "loadt_shop.tasks" not in sys.modules
    app.load_includes()
    assert {"loadt_shop.tasks", "loadt_mail.tasks"} <= sys.modules.keys()
    assert "loadt_shop.jobs" not in sys.modules


def test_force_imports_now(app: Grpcflow, packages: Path) -> None:
    assert app.autodiscover_tasks(["loadt_shop", "loadt_bare"], "jobs", force=True) == ["loadt_shop.jobs"]
    assert app.autodiscover_tasks(["loadt_bare"], None, force=True) == ["loadt_bare"]


def test_an_error_inside_a_module_surfaces(app: Grpcflow, packages: Path) -> None:
    (packages / "loadt_shop" / "tasks.py").write_text("import loadt_not_there\n")
    with pytest.raises(ModuleNotFoundError, match="loadt_not_there"):
        app.autodiscover_tasks(["loadt_shop"], force=True)


def test_a_package_that_is_not_there_is_an_error(app: Grpcflow) -> None:
    app.autodiscover_tasks(["loadt_nowhere"])
    with pytest.raises(ModuleNotFoundError, match="loadt_nowhere"):
        app.load_includes()


def test_what_names_no_packages_is_refused(app: Grpcflow) -> None:
    with pytest.raises(ImproperlyConfigured, match="Django"):
        app.autodiscover_tasks()
    with pytest.raises(TypeError, match=r"\['loadt_shop'\]"):
        app.autodiscover_tasks("loadt_shop")


def test_imports_and_include_are_imported_and_the_signal_is_sent(app: Grpcflow, packages: Path) -> None:
    app.conf.update(imports=["loadt_shop.tasks"], include=["loadt_mail.tasks"])
    told: list[Any] = []

    def hear(sender: Any, **_: Any) -> None:
        told.append(sender)

    signals.import_modules.connect(hear)
    app.load_includes()
    assert {"loadt_shop.tasks", "loadt_mail.tasks"} <= sys.modules.keys()
    assert told == [app]
