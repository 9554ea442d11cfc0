"""Options of the worker's surroundings: log file, pid file, folder, reload; each error at once."""

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from tests.support.log_state import logs_put_back

from grpcflow_worker import __main__ as program
from grpcflow_worker import reloading
from grpcflow_worker.config import WorkerConfig
from grpcflow_worker.executor import ExecutorError, ExecutorSettings
from grpcflow_worker.executors import create
from grpcflow_worker.names import expand
from grpcflow_worker.subscription import ConfigError


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """The log of our own loggers is put back."""
    with logs_put_back():
        yield


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[WorkerConfig, Path, list[str]]]:
    """What was started, in which folder, with which files there; nothing is."""
    runs: list[tuple[WorkerConfig, Path, list[str]]] = []

    def run(config: WorkerConfig, _app: str | None) -> int:
        runs.append((config, Path.cwd(), sorted(path.name for path in Path.cwd().iterdir())))
        return 0

    monkeypatch.setattr(program, "run", run)
    monkeypatch.chdir(tmp_path)
    return runs


def test_the_log_goes_to_the_file_from_the_start(
    seen: list[tuple[WorkerConfig, Path, list[str]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["-A", "proj", "-n", "w1@h", "-f", "%n%I.log", "-C", "-q"]) == 0
    logging.getLogger("grpcflow.worker").info("hello")
    assert (tmp_path / "w1.log").read_text().endswith("INFO    w1@h: hello\n")
    assert capsys.readouterr().err == ""
    service = seen[0][0].service
    assert (service.log_file, service.color, service.quiet) == ("%n%I.log", False, True)


def test_a_log_that_cannot_be_written_is_an_error_before_anything_else(
    seen: list[tuple[WorkerConfig, Path, list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["-A", "proj", "--logfile", "no/such/folder/w.log"]) == program.EXIT_START == 1
    said = capsys.readouterr().err
    assert "no/such/folder/w.log cannot be written: No such file or directory; name another with --logfile" in said
    assert not seen


def test_the_pid_file_is_there_while_it_runs(seen: list[tuple[WorkerConfig, Path, list[str]]], tmp_path: Path) -> None:
    assert program.main(["-A", "proj", "-n", "w1@h", "--pidfile", "%n.pid"]) == 0
    assert seen[0][2] == ["w1.pid"]
    assert list(tmp_path.iterdir()) == []


def test_a_pid_file_that_cannot_be_had_is_an_error(
    seen: list[tuple[WorkerConfig, Path, list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["-A", "proj", "--pidfile", "no/w.pid"]) == 1
    assert "the pid file no/w.pid cannot be written" in capsys.readouterr().err
    assert not seen


def test_the_folder_is_entered_before_all_else(
    seen: list[tuple[WorkerConfig, Path, list[str]]], tmp_path: Path
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "pyproject.toml").write_text('[tool.grpcflow]\napp = "proj:app"\n')
    assert program.main(["--workdir", "site", "--pidfile", "w.pid"]) == 0
    config, folder, files = seen[0]
    assert (config.app, folder, files) == ("proj:app", tmp_path / "site", ["pyproject.toml", "w.pid"])


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--workdir", "nowhere"], "--workdir: the folder nowhere cannot be entered"),
        (["-f", "%x.log"], "the path '%x.log' holds %x"),
        (["--pidfile", "%x.pid"], "the path '%x.pid' holds %x"),
        (["-Q", "a:0"], "the weight of a queue must be a whole number from 1 to 100, not 0, in 'a:0'"),
        (["-Q", "q" * 256], "a queue name must have 1 to 255 bytes"),
        (["--soft-time-limit", "9", "--time-limit", "5"], "is above the time limit (5 s)"),
        (["--autoscale", "2,10"], "--autoscale is MAX,MIN"),
        (["-c", "many"], "many"),
    ],
)
def test_a_wrong_option_is_said_at_once(
    seen: list[tuple[WorkerConfig, Path, list[str]]], capsys: pytest.CaptureFixture[str], argv: list[str], said: str
) -> None:
    assert program.main(["-A", "proj", *argv]) == program.EXIT_USAGE
    assert said in capsys.readouterr().err
    assert not seen


def test_auto_is_the_concurrency_of_this_machine(seen: list[tuple[WorkerConfig, Path, list[str]]]) -> None:
    assert program.main(["-A", "proj", "-c", "auto"]) == 0
    assert program.main(["-A", "proj"]) == 0
    assert seen[0][0].concurrency == seen[1][0].concurrency


def test_paths_know_the_parts_of_the_name_and_the_child() -> None:
    assert (
        expand("%p %n %h %d %i%I %%i", "w1@box.example.org") == "w1@box.example.org w1 box.example.org example.org 0 %i"
    )
    assert expand("%n-%i%I", "w1@box", 3) == "w1-3-3"
    assert expand("%n.log", "w1") == "w1.log"


def test_reload_without_its_library_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
    seen: list[tuple[WorkerConfig, Path, list[str]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert program.main(["-A", "proj", "--reload"]) == 0
    assert seen[0][0].service.reload
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(ConfigError):
        reloading.check_library()
    assert program.main(["-A", "proj", "--reload"]) == program.EXIT_USAGE
    assert "pip install 'grpcflow[reload]'" in capsys.readouterr().err


class Heard(logging.Handler):
    """Keeps what is logged, and tells when a text was."""

    def __init__(self, wanted: str) -> None:
        super().__init__()
        self.wanted = wanted
        self.came = asyncio.Event()
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += record.getMessage() + "\n"
        if self.wanted in self.text:
            self.came.set()


async def test_only_python_files_of_the_project_are_watched(tmp_path: Path) -> None:
    for name in ("tasks.py", "pack/more.py", "notes.txt", "__pycache__/tasks.py", "node_modules/x.py", ".venv/y.py"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    heard = Heard("watching 2 Python files under")
    logger = logging.getLogger("grpcflow.worker")
    logger.addHandler(heard)
    logger.setLevel(logging.INFO)
    try:
        changing = asyncio.ensure_future(reloading.changed(tmp_path))
        async with asyncio.timeout(20):
            await heard.came.wait()
            (tmp_path / "notes.txt").write_text("changed")
            (tmp_path / "pack" / "more.py").write_text("changed = 1")
            await changing
    finally:
        logger.removeHandler(heard)
        logger.setLevel(logging.NOTSET)
    assert heard.text.endswith(f"changed: {tmp_path / 'pack' / 'more.py'}\n")


def test_a_new_start_is_the_same_command_line_in_the_folder_it_was_called_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    done: list[tuple[str, list[str], Path]] = []
    monkeypatch.setattr(os, "execv", lambda path, argv: done.append((path, argv, Path.cwd())))
    monkeypatch.setattr(sys, "orig_argv", ["python3", "-m", "grpcflow_worker", "--workdir", "site"])
    (tmp_path / "site").mkdir()
    monkeypatch.chdir(tmp_path)
    with click.Context(program.command).scope():
        program._enter("site")
        assert Path.cwd() == tmp_path / "site"
        program._start_anew()
    assert done == [(sys.executable, [sys.executable, "-m", "grpcflow_worker", "--workdir", "site"], tmp_path)]


def test_modules_and_queues_are_taken_from_lists(seen: list[tuple[WorkerConfig, Path, list[str]]]) -> None:
    assert program.main(["-A", "proj", "-I", "one,two", "-I", "three", "-X", "a,b", "-n", "w1@%n.%d"]) == 0
    config = seen[0][0]
    assert (config.includes, config.exclude_queues) == (("one", "two", "three"), ("a", "b"))


class Nobody:
    """Hears nothing."""

    def __getattr__(self, _: str) -> object:
        return lambda *_: None


async def test_what_is_included_is_imported_and_what_does_not_import_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "including_app.py").write_text("from grpcflow import Grpcflow\napp = Grpcflow(set_as_current=False)\n")
    (tmp_path / "including_more.py").write_text(
        "from including_app import app\n@app.task(name='more')\ndef more():\n    return 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    listener: Any = Nobody()
    solo = create("solo", ExecutorSettings(app="including_app", includes=("including_more",)))
    registered = await solo.start(listener)
    await solo.close(drain=False, deadline=1.0)
    assert "more" in registered.tasks
    broken = create("solo", ExecutorSettings(app="including_app", includes=("including_nothing",)))
    with pytest.raises(ExecutorError, match="No module named 'including_nothing'"):
        await broken.start(listener)


def test_the_time_to_leave_is_read_and_one_that_is_none_is_refused(
    seen: list[tuple[WorkerConfig, Path, list[str]]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["-A", "proj"]) == 0
    assert program.main(["-A", "proj", "--drain-timeout", "2.5"]) == 0
    assert [config.service.drain_timeout for config, _, _ in seen] == [0.0, 2.5]
    for wrong in ("0", "-1", "inf", "nan"):
        assert program.main(["-A", "proj", "--drain-timeout", wrong]) == 64
        assert "--drain-timeout must be more than 0 seconds" in capsys.readouterr().err
