"""The commands of the examples, as a user types them: what they print, and that they leave nothing behind."""

import contextlib
import itertools
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.support.tree import ROOT

EXAMPLES = ROOT / "examples"
#: Seconds that any of them may take; some ten on a machine that does nothing else.
PATIENCE = 150

pytestmark = pytest.mark.timeout(180)


@contextlib.contextmanager
def started(name: str, folder: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Runs an example in a folder, in a session of its own as a terminal would; ends what is left of it."""
    command = [str(EXAMPLES / name / "run"), *arguments]
    run = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield run
    finally:
        if run.poll() is None:
            for process in psutil.Process(run.pid).children(recursive=True):
                process.kill()
            run.kill()
        run.communicate(timeout=PATIENCE)


def shapes(text: str) -> list[str]:
    """Returns the lines without what differs from run to run: numbers, times, dates, how many of a kind there are."""
    differs = re.compile(r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun)\w*\b|\b[A-Z][a-z]{2,8}\b|[\d.,:]+")
    return [line for line, _ in itertools.groupby(differs.sub("#", line).strip() for line in text.splitlines())]


@pytest.mark.parametrize("name", ["bank", "nightly", "pictures", "webshop"])
def test_an_example_is_right_and_prints_what_its_page_shows(name: str, tmp_path: Path) -> None:
    with started(name, tmp_path) as run:
        printed, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 0, printed
    assert printed.endswith("the result is right\n"), printed
    page = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    shown = page.split("```text\n")[1].split("```")[0]
    wanted = shapes(shown)
    assert shapes(printed)[-len(wanted) :] == wanted  # pip may have had something to say before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_example_that_is_stopped_leaves_nothing_running(number: signal.Signals, tmp_path: Path) -> None:
    with started("webshop", tmp_path, "--serve") as run:
        assert run.stdout is not None
        printed = [run.stdout.readline()]
        while "the shop is open" not in printed[-1]:
            assert printed[-1], f"the example ended: {printed}"
            printed.append(run.stdout.readline())
        family = psutil.Process(run.pid).children(recursive=True)
        assert sum("worker" in " ".join(process.cmdline()) for process in family) >= 2
        os.killpg(run.pid, number)
        rest, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 130, rest
    assert "nothing is left running" in rest
    _, alive = psutil.wait_procs(family, timeout=30)
    assert alive == []


def test_a_wrong_result_is_told_by_the_exit_code(tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear Anne,")
    with started("pictures", tmp_path, str(letter)) as run:
        printed, _ = run.communicate(timeout=PATIENCE)
    assert run.returncode == 1, printed
    assert "letter.txt is not a picture" in printed
    assert printed.endswith("THE RESULT IS WRONG\n")
