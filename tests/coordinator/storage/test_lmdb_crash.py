"""A process that commits is killed with -9: what it told of is there, in order, and nothing is half there."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from grpcflow_coordinator.storage.journal import SMALLEST_JOURNAL
from grpcflow_coordinator.storage.lmdb import LmdbStore

#: Keys of one commit: the number of the commit stands under each.
KEYS = 50

WRITER = """
import pathlib, sys
from grpcflow_coordinator.storage.contract import Batch
from grpcflow_coordinator.storage.lmdb import LmdbStore
store = LmdbStore(pathlib.Path(sys.argv[1]), journal=int(sys.argv[2]))
number = int(store.get(b"same0") or b"0")
while True:
    number += 1
    value = b"%d" % number
    batch = Batch({b"same%d" % index: value for index in range(50)}, {b"log%d" % (number - 100)})
    batch.put(b"log%d" % number, b"v" * 3000)
    if number % 37 == 0:
        store.tidy()
    store.commit(batch)
    print(number, flush=True)
"""


@pytest.mark.timeout(180)
@pytest.mark.parametrize("journal", [0, SMALLEST_JOURNAL])
def test_a_killed_writer_leaves_a_prefix_of_its_commits(tmp_path: Path, rng: random.Random, journal: int) -> None:
    told = 0
    for _ in range(6):
        told = _write_and_kill(tmp_path, rng.randrange(1, 120), journal)
        store = LmdbStore(tmp_path, journal=journal)
        try:
            values = {int(value) for _, value in store.scan(b"same", b"samf", KEYS + 1)}
            assert len(values) == 1, f"a commit is half there: {sorted(values)}"
            (reached,) = values
            assert told <= reached <= told + 1, f"commit {told} was told of, the store stands at {reached}"
            logs = sorted(int(key[3:]) for key in store.keys(b"log", b"loh", 1000))
            assert logs == list(range(max(1, reached - 99), reached + 1))
        finally:
            store.close()


def _write_and_kill(folder: Path, lines: int, journal: int) -> int:
    """Let a process commit until it told of `lines` commits, kill it, and give the last number it told."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), str(journal)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        try:
            told = [writer.stdout.readline() for _ in range(lines)]
        finally:
            writer.send_signal(signal.SIGKILL)
        told += writer.stdout.read().splitlines(keepends=True)
        writer.wait(60)
    # The kill may cut the last line; a number without its newline is not a promise.
    return int([line for line in told if line.endswith("\n")][-1])
