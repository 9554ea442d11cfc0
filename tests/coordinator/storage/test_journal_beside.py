"""Who reads a folder from beside sees what the journal of its coordinator has, however much is written meanwhile."""

import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.coordinator.support.journals import content, image, in_file, journaled
from tests.support.tree import ROOT

from grpcflow_coordinator.storage import lmdb_reading
from grpcflow_coordinator.storage.contract import Batch
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.storage.lmdb_reading import LmdbSnapshot


def test_a_moment_and_a_copy_have_what_the_journal_has(tmp_path: Path) -> None:
    store = journaled(tmp_path / "a")
    store.commit(Batch({b"x": b"1"}, {b"n0000"}))
    expected = content(store)
    (tmp_path / "copy").mkdir()
    with closing(LmdbSnapshot(image(tmp_path / "a", tmp_path / "b"))) as snapshot:
        assert content(snapshot) == expected
        assert snapshot.count() == len(expected)
        assert (snapshot.get(b"x"), snapshot.get(b"n0000"), snapshot.get(b"none")) == (b"1", None, None)
        assert snapshot.keys(b"n", b"o", 2) == [b"n0001", b"n0002"]
        snapshot.tidy()
        snapshot.copy_to(tmp_path / "copy")
    assert in_file(tmp_path / "copy") == expected
    with closing(LmdbStore(tmp_path / "copy")) as copied:
        assert content(copied) == expected
    store.close()


class Writer:
    """A process that holds the folder and commits what it is told to.

    Args:
        folder: of the store.
    """

    def __init__(self, folder: Path) -> None:
        code = (
            "import pathlib, sys\n"
            "from tests.coordinator.support.journals import large, opened, small\n"
            "store = opened(pathlib.Path(sys.argv[1]))\n"
            "for line in sys.stdin:\n"
            "    kind, first, end = line.split()\n"
            "    for number in range(int(first), int(end)):\n"
            "        store.commit(large(number) if kind == 'large' or number % 40 == 39 else small(number))\n"
            "        print(number, flush=True)\n"
            "store.close()\n"
        )
        command = [sys.executable, "-c", code, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def write(self, kind: str, first: int, count: int) -> None:
        """Have it commit, and do not wait."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{kind} {first} {first + count}\n")
        self.process.stdin.flush()

    def told(self) -> int:
        """Wait until it told of a commit, and return its number."""
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())

    def close(self) -> None:
        """Wait for its end."""
        self.process.communicate(timeout=60)


def test_what_went_into_the_file_meanwhile_is_not_laid_over_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = lmdb_reading.journal_of
    with closing(Writer(tmp_path)) as writer:
        writer.write("small", 0, 4)
        assert [writer.told() for _ in range(4)] == [0, 1, 2, 3]
        with closing(LmdbSnapshot(tmp_path)) as snapshot:
            before = content(snapshot)
            assert (snapshot.get(b"newest"), len(before)) == (b"3", 5)

            def late(*arguments: Any) -> Any:
                found = read(*arguments)
                assert [batch.puts[b"newest"] for batch in found[1]] == [b"1", b"2", b"3"]
                writer.write("large", 9, 1)
                assert writer.told() == 9
                return found

            (tmp_path / "copy").mkdir()
            monkeypatch.setattr(lmdb_reading, "journal_of", late)
            snapshot.copy_to(tmp_path / "copy")
            assert content(snapshot) == before, "a moment stays what it is"
        copied = dict(in_file(tmp_path / "copy"))
        assert (copied[b"newest"], len(copied)) == (b"9", 7), "what was before is laid over what came later"
        writer.write("small", 10, 2)
        assert [writer.told(), writer.told()] == [10, 11]

        def later(*arguments: Any) -> Any:
            found = read(*arguments)
            writer.write("large", 12, 1)
            assert writer.told() == 12
            return found

        monkeypatch.setattr(lmdb_reading, "journal_of", later)
        with closing(LmdbSnapshot(tmp_path)) as snapshot:
            assert snapshot.get(b"newest") == b"12"


def test_a_reader_from_beside_sees_all_that_was_told_before_it_came(tmp_path: Path) -> None:
    burst = 50
    with closing(Writer(tmp_path)) as writer:
        for first in range(0, 600, burst):  # one after the other: a slow reader would find the writer at its end
            writer.write("small", first, burst)
            told = writer.told()
            while told < first + burst - 1:
                with closing(LmdbSnapshot(tmp_path)) as snapshot:
                    found = content(snapshot)
                newest = int(dict(found)[b"newest"])
                assert told <= newest
                numbers = [int(value) for key, value in found if key.startswith(b"n0")]
                assert numbers == list(range(max(0, newest - 49), newest + 1))
                told = writer.told()
                while told < newest:
                    told = writer.told()
