"""The command grpcflow-worker: its options and its exit codes, up to where a worker would run."""

from pathlib import Path

import pytest

from grpcflow_worker import __main__ as program
from grpcflow_worker.config import WorkerConfig


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[WorkerConfig, str | None]]:
    """What was started; nothing is."""
    runs: list[tuple[WorkerConfig, str | None]] = []

    def run(config: WorkerConfig, app: str | None) -> int:
        runs.append((config, app))
        return 0

    monkeypatch.setattr(program, "run", run)
    monkeypatch.setattr(program, "set_up_log", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    for name in ("GRPCFLOW_APP", "GRPCFLOW_COORDINATOR"):
        monkeypatch.delenv(name, raising=False)
    return runs


def test_all_spellings(started: list[tuple[WorkerConfig, str | None]]) -> None:
    argv = [
        "-A",
        "proj",
        "--queues",
        "hipri,default",
        "-Q",
        "more",
        "-n",
        "w1",
        "-c",
        "2",
        "-P",
        "threads",
        "-l",
        "debug",
    ]
    assert program.main([*argv, "--coordinator", "a:1,b:2"]) == 0
    ((config, app),) = started
    assert app == "proj"
    assert (config.name, config.concurrency, config.pool, config.log_level) == ("w1", 2, "threads", "DEBUG")
    assert config.queues == {"hipri": None, "default": None, "more": None}
    assert config.coordinators == ("a:1", "b:2")


def test_the_environment_fills_in(
    started: list[tuple[WorkerConfig, str | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRPCFLOW_APP", "proj")
    monkeypatch.setenv("GRPCFLOW_COORDINATOR", "a:1")
    monkeypatch.setenv("GRPCFLOW_WORKER_NAME", "w9")
    monkeypatch.setenv("GRPCFLOW_WORKER_QUEUES", "a,b")
    monkeypatch.setenv("GRPCFLOW_WORKER_CONCURRENCY", "3")
    assert program.main([]) == 0
    config, _ = started[0]
    assert (config.app, config.coordinators, config.name) == ("proj", ("a:1",), "w9")
    assert (config.queues, config.concurrency) == ({"a": None, "b": None}, 3)


def test_the_project_file_names_the_app(started: list[tuple[WorkerConfig, str | None]], tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.grpcflow]\napp = "proj:app"\n')
    assert program.main([]) == 0
    config, app = started[0]
    # The loader reads the file itself, because its folder counts too.
    assert (config.app, app) == ("proj:app", None)


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        ([], 78, "GRPCFLOW_APP"),
        (["-A", "proj", "-c", "0"], 64, "at least 1"),
        (["-A", "proj", "--coordinator", "here"], 64, "HOST:PORT"),
        (["-A", "proj", "-P", "nonsense"], 64, "prefork"),
        (["-A", "proj", "-P", "gevent"], 64, "-P asyncio"),
        (["-A", "proj", "-P", "processes"], 64, "-P prefork"),
        (["-A", "proj", "--nonsense"], 64, "nonsense"),
        (["-A", "proj", "-c", "many"], 64, "many"),
    ],
)
def test_what_cannot_be_ends_with_a_code_and_a_text(
    started: list[tuple[WorkerConfig, str | None]],
    capsys: pytest.CaptureFixture[str],
    argv: list[str],
    code: int,
    said: str,
) -> None:
    assert program.main(argv) == code
    assert said in capsys.readouterr().err
    assert not started


def test_help_tells_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--help"]) == 0
    out = capsys.readouterr().out
    for option in (
        "--threads",
        "--blocked-after",
        "--queues",
        "--coordinator",
        "--concurrency",
        "--pool",
        "--loglevel",
        "--name",
    ):
        assert option in out
