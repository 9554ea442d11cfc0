"""How the app is found: every place it may be named, every form of the name, every way it can be missing."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from grpcflow.errors import ImproperlyConfigured
from grpcflow.loading import app_name, find_app

#: Names of user packages in these tests; forgotten after each.
_PACKAGE = "loadproj"

APP = "from grpcflow.app import Grpcflow\napp = Grpcflow('{}', set_as_current=False)\n"

BOX = """
from grpcflow.app import Grpcflow
class Box:
    flow = Grpcflow('box', set_as_current=False)
"""

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def fresh_imports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test imports is forgotten after it."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == _PACKAGE]:
        del sys.modules[name]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes files of a user's project into the current folder."""

    def to(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return to


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("loadproj.py", "loadproj"),
        ("loadproj/app.py", "loadproj"),
        ("loadproj/grpcflow.py", "loadproj"),
        ("loadproj/celery.py", "loadproj"),
        ("loadproj.py", "loadproj:app"),
        ("loadproj/app.py", "loadproj.app"),
        ("loadproj/app.py", "loadproj.app:app"),
        ("loadproj/deep/tasks.py", "loadproj.deep.tasks"),
    ],
)
def test_every_form_of_the_name_finds_the_app(write: Write, file: str, name: str) -> None:
    write({file: APP.format(file)})
    assert find_app(name).main == file


def test_another_attribute_is_found_where_it_is_named(write: Write) -> None:
    write({"loadproj.py": BOX})
    assert find_app("loadproj:Box.flow").main == "box"


def test_a_submodule_called_app_is_not_taken_for_the_app(write: Write) -> None:
    write({"loadproj/__init__.py": "import loadproj.app\n", "loadproj/app.py": APP.format("inner")})
    assert find_app("loadproj").main == "inner"


def test_the_current_folder_comes_first(write: Write) -> None:
    folder = write({"loadproj.py": APP.format("here")})
    find_app("loadproj")
    assert sys.path[0] == str(folder)


def test_the_option_wins_over_the_environment_and_that_over_pyproject(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.grpcflow]\napp = "third"\n', encoding="utf-8")
    found = app_name()
    assert found is not None
    assert (found.name, found.source) == ("third", str(tmp_path / "pyproject.toml"))
    monkeypatch.setenv("GRPCFLOW_APP", "second")
    assert app_name() is not None
    assert [getattr(app_name(name), "name", None) for name in (None, "first")] == ["second", "first"]


def test_pyproject_of_a_parent_names_the_app_beside_it(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write({"loadproj.py": APP.format("parent")})
    (tmp_path / "pyproject.toml").write_text('[tool.grpcflow]\napp = "loadproj:app"\n', encoding="utf-8")
    below = tmp_path / "docs" / "deeper"
    below.mkdir(parents=True)
    (below / "pyproject.toml").write_text("[tool.other]\n", encoding="utf-8")
    monkeypatch.chdir(below)
    assert find_app().main == "parent"
    assert sys.path[:2] == [str(below), str(tmp_path)]


def test_no_name_at_all_is_an_error_that_names_all_three_places() -> None:
    assert app_name() is None
    with pytest.raises(ImproperlyConfigured) as caught:
        find_app()
    for place in ("-A", "GRPCFLOW_APP", "[tool.grpcflow]", "pyproject.toml"):
        assert place in str(caught.value)


def test_a_missing_module_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"loadproj:app \(no such module\)") as caught:
        find_app("loadproj")
    assert str(tmp_path) in str(caught.value)


def test_a_module_without_an_app_says_all_that_was_looked_for(write: Write) -> None:
    write({"loadproj/__init__.py": "", "loadproj/app.py": "app = 5\n"})
    with pytest.raises(ImproperlyConfigured) as caught:
        find_app("loadproj")
    for part in (
        "loadproj:app",
        "loadproj.app:app (a int, not a Grpcflow)",
        "loadproj.grpcflow:app (no such module)",
        "loadproj.celery:app (no such module)",
    ):
        assert part in str(caught.value)


def test_an_app_under_another_name_is_pointed_out(write: Write) -> None:
    write({"loadproj.py": "from grpcflow.app import Grpcflow\nflow = Grpcflow('x', set_as_current=False)\n"})
    with pytest.raises(ImproperlyConfigured, match="loadproj:flow"):
        find_app("loadproj:app")


def test_what_the_users_module_raises_is_not_hidden(write: Write) -> None:
    write({"loadproj/__init__.py": "", "loadproj/app.py": "import a_library_that_is_missing\n"})
    with pytest.raises(ModuleNotFoundError, match="a_library_that_is_missing"):
        find_app("loadproj")
    write({"loadproj/grpcflow.py": "1 / 0\n"})
    with pytest.raises(ZeroDivisionError):
        find_app("loadproj.grpcflow")


def test_a_missing_part_of_the_users_package_is_the_users_error(write: Write) -> None:
    write({"loadproj/__init__.py": "import loadproj.missing\n"})
    with pytest.raises(ModuleNotFoundError, match=r"loadproj\.missing"):
        find_app("loadproj")


@pytest.mark.parametrize(
    ("name", "hint"), [("proj/app.py", "'proj.app'"), ("./proj.py", "'proj'"), ("a b", "form"), (":app", "form")]
)
def test_a_path_is_not_a_module(name: str, hint: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=hint):
        find_app(name)


@pytest.mark.parametrize("text", ["[tool.grpcflow]\napp = 5\n", "[tool.grpcflow]\napp = ''\n", "no toml"])
def test_a_broken_pyproject_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ImproperlyConfigured, match=r"pyproject\.toml"):
        find_app()
