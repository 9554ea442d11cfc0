"""The two commands find their interpreter, and leave an environment alone that is right."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.tree import ROOT

SCRIPTS = ROOT / "scripts"
SHELL = sorted(path for path in SCRIPTS.iterdir() if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh"))


def shell(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "", **variables}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)


def fake_python(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_script_is_executable_and_parses_as_posix_shell(path: Path) -> None:
    assert os.access(path, os.X_OK)
    assert shell("/bin/sh", "-n", str(path)).returncode == 0


def test_the_first_python_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    fake_python(tmp_path, "python3.11", "exit 1")
    fake_python(tmp_path, "python3", f'exec "{sys.executable}" "$@"')
    done = shell("/bin/sh", str(SCRIPTS / "python"), "-c", "print('ran')", PATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "ran\n")


def test_a_named_python_goes_first(tmp_path: Path) -> None:
    named = fake_python(tmp_path, "named", 'case "$1" in -c) exit 0;; esac; echo named')
    done = shell("/bin/sh", str(SCRIPTS / "python"), "anything", PYTHON=str(named), PATH=os.environ["PATH"])
    assert done.stdout == "named\n"


def test_no_python_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    done = shell("/bin/sh", str(SCRIPTS / "python"), "anything", PATH=str(tmp_path))
    assert done.returncode == 69
    assert "install one, or name it" in done.stderr


def test_a_right_environment_is_left_alone(tmp_path: Path) -> None:
    """With the stamp in place nothing is run: an install would fail here, for there is no pip in this environment."""
    clone = tmp_path / "clone"
    binaries = clone / ".venv" / "bin"
    binaries.mkdir(parents=True)
    (clone / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    (binaries / "python").touch()
    program = (
        f"import sys, pathlib; sys.path.insert(0, {str(SCRIPTS)!r}); import bootstrap\n"
        f"bootstrap.ROOT = root = pathlib.Path({str(clone)!r}); bootstrap.VENV = root / '.venv'\n"
        "bootstrap.PYTHON = root / '.venv' / 'bin' / 'python'\n"
        "bootstrap.stamp('dev').write_text(bootstrap.fingerprint())\n"
        "bootstrap.install('runtime'); bootstrap.install('dev'); print('left alone')\n"
        "bootstrap.stamp('dev').write_text('another'); print(bootstrap.is_installed('dev'))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=150)
    assert done.stdout.splitlines() == ["left alone", "False"], done.stderr


def test_wrong_use_is_told_how() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPTS / "bootstrap.py", "dance"], capture_output=True, text=True, timeout=150
    )
    assert done.returncode == 64
    assert "bootstrap.py test" in done.stderr
