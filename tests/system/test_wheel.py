"""A wheel, built as whoever installs from the sources builds it: it holds every file of the packages."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from tests.support.tree import ROOT

pytestmark = pytest.mark.timeout(300)


def test_a_wheel_holds_all_that_the_packages_need_also_what_browsers_get(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-input", "--wheel-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = [ROOT / folder for folder in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]]
    wanted = {
        path.relative_to(package.parent).as_posix()
        for package in packages
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == wanted
    served = {name for name in held if name.startswith("grpcflow/dashboard/static/")}
    kinds = {name.rpartition(".")[2] for name in served}
    assert {"html", "css", "js", "svg"} <= kinds
    assert "grpcflow/dashboard/static/vendor/uplot/uPlot.iife.min.js" in served
