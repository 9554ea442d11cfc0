"""The protocol between the benchmark and the drivers of grpcflow's peers, with a driver that is made up."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import peers
from benchmarks.peers import installation, running
from benchmarks.peers.plan import FOLDER_PREFIX, STEPS, UNITS
from benchmarks.peers.running import Found, Limits
from benchmarks.rows import SMALL

FOLDER = Path(__file__).resolve().parent
SCRIPTS = FOLDER.parents[1] / "scripts"
FAKE = [sys.executable, str(FOLDER / "fake_peer.py")]

#: Seconds: one driver is to hang, and it should not take long to say so.
QUICK = Limits(start=30, step=1)
PATIENT = Limits(start=30, step=30)


def measured(*steps: str, limits: Limits = PATIENT, **environment: str) -> Found:
    return running.measure(FAKE, {"PYTHONPATH": str(SCRIPTS), **environment}, SMALL, limits, steps)


def still_running(notes: Path) -> list[psutil.Process]:
    """Returns what runs of the processes that drivers noted; a zombie that nobody asked for has ended."""
    pids = [int(pid) for pid in notes.read_text().split()]
    assert len(pids) >= 3
    left = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    return [one for one in left if one.status() != psutil.STATUS_ZOMBIE]


def test_a_driver_gives_every_figure_or_a_reason() -> None:
    found = measured()
    no_way = {"chord", "chords"}
    assert found.left_out == dict.fromkeys(no_way, "it has no chord")
    assert set(found.values) == set(UNITS) - no_way
    assert all(value > 0 for measure, value in found.values.items() if measure != "cpu")
    assert found.counts["bulk"] == SMALL.tasks
    assert found.settings == f"in its head (psutil {psutil.__version__})"
    assert found.durability == "nothing is durable"


def test_a_driver_that_hangs_costs_its_step_only_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch, notes = tmp_path / "scratch", tmp_path / "notes"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    found = measured("submit", "chain", "payloads", limits=QUICK, MISBEHAVE="hang:chain", NOTES=str(notes))
    assert set(found.values) == {"submit", "payloads"}
    assert found.left_out["chain"].startswith("failed: no figure within 1 s")
    assert len(notes.read_text().splitlines()) == 2  # the one that hung, and the one behind it
    assert still_running(notes) == []
    assert list(scratch.iterdir()) == []


def test_a_driver_that_fails_costs_its_step_only_and_its_last_words_are_told() -> None:
    found = measured("submit", "chain", "payloads", MISBEHAVE="fail:submit")
    assert set(found.values) == {"chain", "payloads"}
    assert found.left_out == {"submit": "failed: the driver ended (driver.log: OSError: the peer fell over)"}


def test_wrong_results_are_no_figure() -> None:
    found = measured("chain", MISBEHAVE="lie:chain")
    assert not found.values
    assert "wrong results: 6 for 5" in found.left_out["chain"]


def test_a_driver_that_cannot_start_is_tried_once() -> None:
    found = measured(MISBEHAVE="fail:open")
    assert set(found.left_out) == set(UNITS)
    assert set(found.left_out.values()) == {"failed: the driver ended (driver.log: OSError: the peer fell over)"}


def test_a_peer_that_lacks_what_it_needs_is_left_out() -> None:
    assert measured(MISBEHAVE="lack:").left_out == dict.fromkeys(UNITS, "the machine lacks a server")


def test_an_interrupt_leaves_nothing_running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = tmp_path / "notes"
    wait = running._Lines.next

    def interrupted(self: Any, seconds: float) -> dict[str, Any]:
        line = wait(self, seconds)
        if "begin" in line:
            raise KeyboardInterrupt
        return line

    monkeypatch.setattr(running._Lines, "next", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measured("chain", MISBEHAVE="hang:chain", NOTES=str(notes))
    assert still_running(notes) == []


def test_a_driver_ends_and_drops_its_folder_when_the_benchmark_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / f"{FOLDER_PREFIX}1"
    folder.mkdir()
    options = ["--steps", "chain", "--sizes", "{}"]
    driver = subprocess.Popen(
        [*FAKE, *options],
        env={**os.environ, "PYTHONPATH": str(SCRIPTS), "MISBEHAVE": "hang:chain"},
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert driver.stdin
    assert driver.stdout
    assert b"settings" in driver.stdout.readline()
    driver.stdin.close()
    assert driver.wait(60) == -signal.SIGKILL
    assert not folder.exists()
    driver.stdout.close()


def test_names_stand_for_peers_and_every_peer_has_a_driver() -> None:
    assert peers.peers_of(["huey", "celery", "huey-redis", "celery-fsync"]) == [
        "huey-redis",
        "huey-sqlite",
        "celery",
        "celery-fsync",
    ]
    with pytest.raises(ValueError, match="no peer is called carrot; there are: celery, "):
        peers.peers_of(["celery", "carrot"])
    with pytest.raises(ValueError, match="no step is called peel; there are: submit, "):
        peers.run(["celery"], 1, SMALL, ["peel"])
    for peer in peers.peers_of(list(peers.NAMES)):
        assert (SCRIPTS / "benchmarks" / "peers" / f"{peer.partition('-')[0]}_peer.py").is_file()


def test_rows_hold_the_median_or_the_reason() -> None:
    rounds = [Found("fast", "durable", {"bulk": value}, {"bulk": 200}) for value in (3.0, 1.0, 2.0)]
    rounds[0].left_out["cpu"] = "no clock"
    told = {"durability": "durable", "settings": "fast"}
    assert peers.rows("it", rounds, ["bulk"]) == [
        {"peer": "it", "measure": "bulk", "value": 2.0, "unit": "tasks/s", "count": 200, "rounds": [3.0, 1.0, 2.0]}
        | told,
        {"peer": "it", "measure": "cpu", "left_out": "no clock"} | told,
    ]


def test_peers_take_turns_within_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, str]] = []

    def measure(command: list[str], environment: dict[str, str], *_: object) -> Found:
        ran.append((command[-1].rpartition(".")[2], environment["BENCH_FSYNC"]))
        return Found("set", "up", dict.fromkeys(UNITS, 1.0), dict.fromkeys(UNITS, 1))

    monkeypatch.setattr(running, "measure", measure)
    monkeypatch.setattr(installation, "python", lambda: Path(sys.executable))
    rows = peers.run(["celery", "rq-fsync"], 2, SMALL)
    assert ran == [("celery_peer", "0"), ("rq_peer", "1")] * 2
    assert [(row["peer"], row["measure"]) for row in rows] == [
        (peer, measure) for peer in ("celery", "rq-fsync") for step in STEPS for measure in STEPS[step]
    ]


def test_the_environment_is_made_once_and_again_when_the_requirements_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[str] = []
    folder, requirements = tmp_path / "environment", tmp_path / "requirements.txt"

    def run(*command: str) -> None:
        ran.append(command[2])
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "bin" / "python").touch()

    monkeypatch.setattr(installation, "_run", run)
    for text in ("celery", "celery", "celery>=5"):
        requirements.write_text(text)
        assert installation.python(folder, requirements) == folder / "bin" / "python"
    assert ran == ["venv", "pip", "venv", "pip"]


def test_what_an_installation_said_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"the peers could not be installed: .*said:\nno such index"):
        installation._run(sys.executable, "-c", "import sys; sys.exit('no such index')")
