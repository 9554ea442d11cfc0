"""The parts of scripts/skew: a commit becomes a tree that runs, and what a client saw that is wrong is found."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from skewing.__main__ import report, rest
from skewing.skew_tasks import CALLS, Client
from skewing.trees import ROOT, Parts, SkewError, Tree, previous, tree_of


def test_a_commit_is_unpacked_and_serves_and_its_records_are_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tree_of("HEAD", tmp_path / "old")
    parts = Parts(tmp_path / "parts")
    try:
        parts.coordinator(old)
        parts.stop("coordinator")
        assert "epoch 1" in parts.log("coordinator")
    finally:
        parts.close()
    fine = {"done": dict.fromkeys(CALLS, 1), "wrong": [], "slowest": 1.0}
    wrong = {"done": {"idle": 0}, "wrong": ["call 1: 3 instead of 2"], "slowest": 2.0}
    assert report("both", [fine, wrong], parts) == 2
    told = capsys.readouterr().out
    assert told.startswith("FAILED  both: 8 canvases, 0 runs, slowest 2.0 s")
    assert "call 1: 3 instead of 2" in told
    assert "no idle came to its end" in told


def test_there_is_a_previous_state() -> None:
    assert previous()
    with pytest.raises(SkewError, match="no-such-commit cannot be unpacked"):
        tree_of("no-such-commit", ROOT)


def test_a_client_notes_what_is_not_as_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"right": lambda n: (lambda: n, n), "wrong": lambda n: (lambda: n, n + 1), "raises": lambda n: (_boom, n)}
    monkeypatch.setattr("skewing.skew_tasks.CALLS", made)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    client = Client()
    while not (client.done["right"] and len({line.split()[0] for line in client.wrong}) == 2):
        client.run()
        client._over.clear()
        monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert any(line.startswith("wrong ") and "instead of" in line for line in client.wrong)
    assert any(line.startswith("raises ") and "RuntimeError: boom" in line for line in client.wrong)


@pytest.mark.parametrize("connections", [0, 1, 2])
def test_a_worker_that_loses_its_connection_while_it_rests_is_a_finding(
    connections: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Sequence[str]] = []

    def reported(_said: str, _seen: object, _parts: Parts, wrong: Sequence[str]) -> int:
        told.append(wrong)
        return len(wrong)

    for name in ("coordinator", "worker"):
        monkeypatch.setattr(Parts, name, lambda *_: None)
    monkeypatch.setattr(Parts, "whole_log", lambda *_: "connected to there\n" * connections)
    monkeypatch.setattr("skewing.__main__.time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr("skewing.__main__.called", lambda *_: {})
    monkeypatch.setattr("skewing.__main__.report", reported)
    trees = Tree("old", tmp_path), Tree("new", tmp_path)
    assert rest(*trees, tmp_path, 1.0) == (0 if connections == 1 else 2)
    expected = [] if connections == 1 else [f"while it rested the worker connected {connections} times"]
    assert told == [expected, expected]


def _boom() -> int:
    raise RuntimeError("boom")
