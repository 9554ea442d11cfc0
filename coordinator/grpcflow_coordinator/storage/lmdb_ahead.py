"""Small commits ahead of the records' file: they are in the journal and in memory, and go into the file together.

With `lmdb`, `lmdb_opening` and `lmdb_reading` the only files that may know LMDB. The mark in the main database says
which frames of the journal the file does not have yet; it is written in the one commit that writes them, so that at any
moment a crash leaves frames that are wanted, or frames that nobody asks for:

    frame on the disk      it is told; a start reads it into memory, and goes on behind it
    LMDB's commit          the file has the frames and the mark of the next generation: those frames are nobody's
    first frame after it   written over the old ones, with the new generation in it

A version that knows no journal leaves the mark as it is, but every commit of LMDB has a number, and frames say which
one they come after: what another version wrote over is set aside, and said.

Commits come from one thread at a time. Reads come from any: what is taken of the layer and of the file under one lock
belongs to one moment.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import lmdb

from grpcflow_coordinator.storage.contract import Batch, StoreFailed
from grpcflow_coordinator.storage.journal import JOURNAL, Journal, Mark, is_small, make, read_frames
from grpcflow_coordinator.storage.lmdb_opening import JOURNAL_KEY
from grpcflow_coordinator.storage.lmdb_reading import mark_in
from grpcflow_coordinator.storage.pending import UNSAID, Pending

if TYPE_CHECKING:
    from lmdb import _Database as Database  # pyright: ignore[reportPrivateUsage]  # the stub's only name for it

    Transaction = lmdb.Transaction[bytes]

#: Keys in memory from which on they go into the file, be the journal full or not.
_KEYS: Final = 4096

#: The name of a journal whose frames could not be used.
UNUSED: Final = "journal.unused"

_log: Final = logging.getLogger("grpcflow.coordinator.storage")


class Ahead:
    """What is committed and not in the file yet.

    Args:
        environment: the open file.
        folder: where it and the journal lie.
        length: bytes of a journal that is made anew; 0: none is.

    Raises:
        StoreDamaged: the journal is not whole.
        StoreFailed: it cannot be read.
    """

    def __init__(self, environment: lmdb.Environment, folder: Path, length: int) -> None:
        self._environment, self._folder = environment, folder
        self._file: Final = folder / JOURNAL
        self._main: Database = environment.open_db(None)
        # Elsewhere a write is not on the disk when it returns, whatever is said at the opening.
        self._length = length if sys.platform == "linux" else 0
        self._moment: Final = threading.Lock()
        self._journal: Journal | None = None
        self._last_commit = 0
        self.written()
        #: What the commits write.
        self.pending = Pending()
        #: What the file says of its journal; None: it has none.
        self.mark: Mark | None = None
        #: What the commit that is about to be says of it.
        self._next: Mark | None = None
        self._find()

    # --- reads --------------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """Return what is said of a key; `UNSAID` where the file stands."""
        if not self.pending:
            return UNSAID
        with self._moment:
            return self.pending.get(key)

    def moment(self, records: Database, start: bytes, end: bytes) -> tuple[Transaction, Mapping[bytes, bytes | None]]:
        """Return a moment of the file and what is said of a range in the same moment."""
        if not self.pending:
            return self._environment.begin(records), {}
        with self._moment:
            return self._environment.begin(records), self.pending.between(start, end)

    # --- commits ------------------------------------------------------------------------------------------

    def take(self, batch: Batch) -> bool:
        """Write a batch to the journal; False where it, or what is there, is too large for that: it is not written.

        Raises:
            OSError: it cannot be written.
        """
        journal = self._journal
        if journal is None or len(self.pending) >= _KEYS or not journal.append(batch, self._last_commit):
            return False
        with self._moment:
            self.pending.take(batch)
        return True

    def is_small(self, batch: Batch) -> bool:
        """Return whether a batch is one that a journal takes."""
        return is_small(batch)

    def with_batch(self, batch: Batch) -> Batch:
        """Return a batch that writes what is here, and another one over it."""
        return self.pending.with_batch(batch) if self.pending else batch

    def note(self, transaction: Transaction, *, small: bool, over: bool) -> None:
        """Write the mark that is true once this commit of the file is there, where that is another one.

        Args:
            transaction: the commit; all that is here is written in it.
            small: the commit was one for a journal: there is to be one.
            over: there is to be no journal any more.
        """
        self._next = self.mark
        if over:
            self._next = None
        elif self.pending and self.mark is not None:
            self._next = self.mark.next()
        elif self._journal is None and self._length and small:
            self._next = self._make()
        if self._next is None and self.mark is not None:
            transaction.delete(JOURNAL_KEY, db=self._main)
        elif self._next is not None and self._next != self.mark:
            transaction.put(JOURNAL_KEY, self._next.encoded(), db=self._main)

    def commit(self, transaction: Transaction) -> None:
        """End the commit that `note` was called with; from that moment on there is nothing here."""
        with self._moment:
            transaction.commit()
            if self.pending:
                self.pending = Pending()
        self.written()
        if self._next == self.mark:
            return
        self.mark = self._next
        if self.mark is None:
            return
        if self._journal is None:
            self._journal = self._open(self.mark)
        else:
            self._journal.restart()

    def written(self) -> None:
        """Note the number of the file's newest commit; one that changed nothing has none."""
        self._last_commit = self._environment.info()["last_txnid"]

    # --- the journal --------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Delete the journal, whose mark is gone."""
        self.close()
        self._file.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the journal; closing twice is fine."""
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def _find(self) -> None:
        """Read what the journal has and the file has not."""
        try:
            self.mark = mark_in(self._environment)
            if self.mark is None:
                self._file.unlink(missing_ok=True)  # it was made, and the commit that was to say so never came
                return
            self._read(self.mark)
        except OSError as error:
            raise StoreFailed(f"{self._file} cannot be read: {error}; check its rights and the disk") from error

    def _read(self, mark: Mark) -> None:
        try:
            frames = read_frames(self._file, mark)
        except FileNotFoundError:
            _log.warning(
                "%s is not there: what was acknowledged in the last moments before the coordinator was killed is lost, "
                "unless you stop it now and put the file back",
                self._file,
            )
            return
        if frames.base not in {None, self._last_commit}:
            self._file.rename(self._folder / UNUSED)
            _log.warning(
                "%d commits of the journal are not used, since another version of grpcflow has written to %s after "
                "them: they are kept as %s",
                len(frames.batches),
                self._folder,
                UNUSED,
            )
            return
        for batch in frames.batches:
            self.pending.take(batch)
        self._journal = Journal(self._file, mark, frames.end, len(frames.batches))

    def _make(self) -> Mark | None:
        """Make a journal; where that cannot be, all goes into the file as it comes."""
        try:
            made = make(self._file, self._length)
        except OSError as error:
            _log.warning("there is no journal in %s: %s; commits take longer", self._folder, error)
            made = None
        if made is None:
            self._length = 0
        return made

    def _open(self, mark: Mark) -> Journal | None:
        """Open the journal that was made."""
        try:
            return Journal(self._file, mark)
        except OSError as error:
            _log.warning("there is no journal in %s: %s; commits take longer", self._folder, error)
            self._length = 0
            return None
