"""Folders as a whole: backup, restore, compact, finalise. Nothing here knows a record, but for the epoch.

A backup is a folder with a compact copy of one moment and `backup.json`, which says how long the copy is and what its
digest is. The namespaces of a data folder come along, each as a backup of its own in the backup. It is made beside its
name and gets it when all of it is on the disk; so what has the name is whole. What a killed process left beside a name
is taken away by the next one that wants the name.
"""

from __future__ import annotations

import json
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from hashlib import file_digest
from pathlib import Path
from typing import Annotated, BinaryIO, Final

import msgspec

from grpcflow_coordinator.namespaces import NAMESPACES, folder_of, names_in
from grpcflow_coordinator.storage import formats, keys
from grpcflow_coordinator.storage.contract import Batch, Store, StoreError, StoreFailed, StoreFull, StoreLocked
from grpcflow_coordinator.storage.folder_lock import LOCK_FILE, FolderLock, hold
from grpcflow_coordinator.storage.ground import free_bytes, sync
from grpcflow_coordinator.storage.journal import JOURNAL
from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.storage.lmdb_opening import DATA, FORMATS, LOCK_TABLE, MANIFEST, RESTORING, check_folder
from grpcflow_coordinator.storage.lmdb_reading import LmdbSnapshot, check_there
from grpcflow_protos.limits import NAMESPACE

#: By how many starts a restored store is ahead of what it was copied from, at least, and by how many more at chance.
#: Whoever ran on after the copy counted on from the same number, and its workers may be there still.
EPOCHS_AHEAD: Final = 1024

#: What stands behind a name while what is to have it is made.
PARTIAL: Final = ".grpcflow-partial"

#: Stands in the folder of a restore from before its namespaces get their place.
MOVING: Final = "namespaces-are-moved"

#: The end of the year 9999, beyond which no calendar goes.
_LAST_MS: Final = 253_402_300_799_999


class CopyRefused(StoreError):
    """A copy is not made, or not used; the message says what to do."""


class CopyGivenUp(CopyRefused):
    """Nobody waits for the copy any more, and it goes on in its thread: the process is to end."""


#: A name that is put behind a path.
_Name = Annotated[str, msgspec.Meta(pattern=rf"\A{NAMESPACE}\Z")]


class Manifest(msgspec.Struct, frozen=True):
    """What a backup says of itself."""

    made_unix_ms: Annotated[int, msgspec.Meta(ge=0, le=_LAST_MS)]
    #: Length of the copy in bytes.
    bytes: Annotated[int, msgspec.Meta(ge=1)]
    #: Digest of the copy, in hexadecimal digits.
    sha256: str
    #: Format of the folder that was copied.
    format: Annotated[int, msgspec.Meta(ge=1)]
    #: What finalising wrote of the store.
    store: str = ""
    #: Version of this distribution that made it.
    version: str = "unknown"
    #: The namespaces that came along.
    namespaces: list[_Name] = msgspec.field(default_factory=list)


def backup(source: Path, target: Path, *, version: str, timeout: float) -> Manifest:
    """Copy a folder with its namespaces, one moment of each, while their coordinator may go on serving.

    Args:
        source: the data folder.
        target: where the backup is to be; it must not exist.
        version: of this distribution, for the manifest.
        timeout: seconds within which all of it is to be done; nothing is left of one that takes longer.

    Returns:
        What stands in the manifest.

    Raises:
        CopyRefused: the target exists, its disk is too small, time is over, or the timeout is no time.
        StoreError: the source cannot be read, or the target not written.
    """
    if not 0 < timeout <= threading.TIMEOUT_MAX:
        raise CopyRefused(f"a backup cannot be made within {timeout:g} s: give more than 0 with --timeout")
    if target.exists():
        raise CopyRefused(f"{target} exists: name a folder that does not, one for each backup")
    check_there(source)
    with _beside(target) as partial:
        manifest = _within(timeout, lambda: _copy_all(source, partial, version))
        (partial / LOCK_FILE).unlink()
        partial.rename(target)
        sync(target.parent)
    return manifest


def with_namespaces(data: Path) -> list[Path]:
    """Return a data folder, or a backup, and the folders of its namespaces in which there are data."""
    return [data, *(folder for name in names_in(data) if ((folder := folder_of(data, name)) / DATA).exists())]


def size_of(data: Path) -> int:
    """Return the bytes of the stores in a data folder, or a backup."""
    return sum((folder / DATA).stat().st_size for folder in with_namespaces(data))


def _copy_all(source: Path, target: Path, version: str) -> Manifest:
    """Fill the folder of a backup, and in it those of namespaces."""
    names = [folder.name for folder in with_namespaces(source)[1:]]
    for name in names:
        folder = folder_of(target, name)
        folder.mkdir(mode=0o700, parents=True)
        _copy(folder_of(source, name), folder, version)
    if names:
        sync(target / NAMESPACES)
    return _copy(source, target, version, names)


def _copy(source: Path, folder: Path, version: str, namespaces: Sequence[str] = ()) -> Manifest:
    """Fill the folder of one store's backup, durably."""
    began = time.time()
    copied = folder / DATA
    with closing(LmdbSnapshot(source)) as snapshot:
        _check_room(folder, snapshot.used_bytes())
        snapshot.copy_to(folder)
        store_format, description = snapshot.format, snapshot.description().decode("utf-8", "replace")
    length, digest = copied.stat().st_size, _digest(copied)
    manifest = Manifest(int(began * 1000), length, digest, store_format, description, version, list(namespaces))
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
    for named in (folder / MANIFEST, folder):
        sync(named)
    return manifest


def restore(source: Path, folder: Path) -> Manifest:
    """Make a data folder from a backup, with the namespaces that are in it; nothing that is there is overwritten.

    Args:
        source: a backup.
        folder: the data folder; made where it does not exist.

    Returns:
        What stands in the backup's manifest.

    Raises:
        CopyRefused: there are data already, or the backup is not whole.
        StoreError: the folder is in use or cannot be written.
    """
    manifest = read_manifest(source)
    inner = {name: read_manifest(folder_of(source, name)) for name in manifest.namespaces}
    with _building(folder) as building:
        if inner and (folder / NAMESPACES).exists():
            raise CopyRefused(f"there are data in {folder / NAMESPACES}: move that folder away first")
        _check_room(building, sum(one.bytes for one in (manifest, *inner.values())))
        for name, one in inner.items():
            folder_of(building, name).mkdir(mode=0o700, parents=True)
            _fill(folder_of(source, name), folder_of(building, name), one)
        _fill(source, building, manifest)
        if inner:
            sync(building / NAMESPACES)
            (building / MOVING).touch()
            sync(building)
            (building / NAMESPACES).rename(folder / NAMESPACES)
    return manifest


def _fill(source: Path, folder: Path, manifest: Manifest) -> None:
    """Make one store from its backup, durably."""
    shutil.copyfile(source / DATA, folder / DATA)
    (folder / DATA).chmod(0o600)
    if _digest(folder / DATA) != manifest.sha256:
        raise CopyRefused(f"the backup {source} is not what it was when it was made: use another one")
    with closing(LmdbStore(folder)) as store:
        step_ahead(store)
    sync(folder)


def read_manifest(folder: Path) -> Manifest:
    """Read what a backup says of itself.

    Raises:
        CopyRefused: it is no backup, not all of one, or one of a newer version.
    """
    try:
        manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
        length = (folder / DATA).stat().st_size
    except (OSError, ValueError) as error:
        raise CopyRefused(
            f"{folder} is no whole backup ({error}): name a folder that `grpcflow-coordinator backup` made"
        ) from error
    if manifest.format > int(FORMATS[-1]):
        raise CopyRefused(
            f"{folder} was made by grpcflow {manifest.version} in format {manifest.format}: "
            "restore it with that version, or a newer one"
        )
    if length != manifest.bytes:
        raise CopyRefused(
            f"{folder / DATA} has {length} bytes and had {manifest.bytes} when the backup was made: use another one"
        )
    return manifest


def step_ahead(store: Store) -> None:
    """Let a store that is a copy count its starts from a number that nothing else has used.

    Tokens of attempts and places in the feed of events begin with that number; a worker that still holds what it got
    after the moment of the copy must not be taken for one that got something since.
    """
    data = store.get(keys.EPOCH)
    epoch = 0 if data is None else formats.read_number(data)
    ahead = epoch + EPOCHS_AHEAD + secrets.randbelow(EPOCHS_AHEAD)
    store.commit(Batch({keys.EPOCH: formats.write_number(ahead)}))


def compact(folder: Path) -> tuple[int, int]:
    """Write the file of a stopped coordinator anew, without the pages that are free.

    Returns:
        Its bytes before and after.

    Raises:
        StoreLocked: the coordinator runs.
        StoreError: there is no store, no room, or the disk failed; the file is as it was.
    """
    check_there(folder)
    check_folder(folder)
    with hold(folder), _beside(folder / "compacted") as partial:
        with closing(LmdbSnapshot(folder)) as snapshot:
            before = snapshot.size_bytes()
            _check_room(partial, snapshot.used_bytes())
            snapshot.copy_to(partial)
        (partial / DATA).rename(folder / DATA)
        # Who still reads the old file has the old table of readers, which counts commits that the new file lacks.
        (folder / LOCK_TABLE).unlink(missing_ok=True)
        # The new file has what was in it, and names none.
        (folder / JOURNAL).unlink(missing_ok=True)
        sync(folder)
        return before, (folder / DATA).stat().st_size


def describe(version: str) -> bytes:
    """Return what a finalised store says of itself: an id of its own, and the version that finalised it."""
    said = {"id": secrets.token_hex(8), "finalised_by": f"grpcflow {version}", "unix_ms": time.time_ns() // 1_000_000}
    return json.dumps(said).encode()


@contextmanager
def making(folder: Path) -> Iterator[LmdbStore]:
    """Give an empty store that becomes the store of a data folder when the block ends well.

    Raises:
        CopyRefused: there are data already.
    """
    with _building(folder) as building, closing(LmdbStore(building)) as store:
        yield store


@contextmanager
def new_file(target: Path) -> Iterator[BinaryIO]:
    """Give a file to write to, that gets its name when the block ends well and all of it is on the disk.

    A pipe or a device is written to as it is.

    Raises:
        CopyRefused: there is such a file already.
        StoreFailed: it cannot be written.
    """
    if target.exists() and not target.is_file():
        with target.open("wb") as stream:
            yield stream
        return
    if target.exists():
        raise CopyRefused(f"{target} exists: name a file that does not")
    with _beside(target) as partial:
        written = partial / "stream"
        with written.open("xb") as stream:
            written.chmod(0o600)
            yield stream
        sync(written)
        written.rename(target)
        sync(target.parent)


@contextmanager
def _building(folder: Path) -> Iterator[Path]:
    """Give a folder in a data folder whose `data.mdb` becomes the one of the data folder when the block ends well."""
    building = folder / RESTORING
    with hold(folder):
        try:
            if (folder / DATA).exists():
                raise CopyRefused(f"there are data in {folder}: name an empty folder, or move that one away first")
            building.mkdir(mode=0o700, exist_ok=True)
            _take_back(folder, building)
            _empty(building)  # of one that did not come to its end
            for named in (folder, folder.parent):
                sync(named)
            yield building
            (folder / LOCK_TABLE).unlink(missing_ok=True)
            (building / DATA).rename(folder / DATA)
            sync(folder)
            shutil.rmtree(building)
        except OSError as error:
            raise StoreFailed(
                f"{folder} cannot be written: {error}; make room or check the disk, and try again"
            ) from error
        finally:
            # Of what failed the room is given back. The folder stays, lest a coordinator begin with nothing there.
            with suppress(OSError):
                _take_back(folder, building)
                _empty(building)


def _take_back(folder: Path, building: Path) -> None:
    """Take namespaces out of a data folder that a restore put there which then came to no end."""
    ended = (folder / DATA).exists()
    if (building / MOVING).exists() and not (building / NAMESPACES).exists() and not ended:
        with suppress(FileNotFoundError):  # somebody has taken them away by hand
            (folder / NAMESPACES).rename(building / NAMESPACES)


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Give an empty folder beside the target, which nobody else uses; what is left of it at the end is deleted."""
    partial = target.with_name(f"{target.name}{PARTIAL}")
    try:
        partial.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FolderLock(partial):
            try:
                _empty(partial)  # of a process that was killed
                yield partial
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except StoreLocked as error:
        raise CopyRefused(f"{target} is being made by another process: wait for it, or name another one") from error
    except OSError as error:
        raise StoreFailed(f"{target} cannot be written: {error}; check its path, rights and disk") from error


def _empty(folder: Path) -> None:
    """Delete what is in a folder, but for the file that says who holds it."""
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK_FILE:
            path.unlink()


def _check_room(folder: Path, needed: int) -> None:
    free = free_bytes(folder)
    if free < needed:
        raise StoreFull(
            f"the disk of {folder.parent} has {free} bytes free, and up to {needed} are needed: make room, or name "
            "a folder on another disk"
        )


def _within(timeout: float, work: Callable[[], Manifest]) -> Manifest:
    """Do something in a thread of its own; give it up when time is over, or when somebody interrupts."""
    future: Future[Manifest] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - it is raised where it is waited for
            future.set_exception(error)

    threading.Thread(target=run, name="copy", daemon=True).start()
    try:
        return future.result(timeout)
    except (TimeoutError, KeyboardInterrupt) as error:
        if future.done():
            raise
        if isinstance(error, KeyboardInterrupt):
            raise CopyGivenUp("the copy was interrupted, and nothing of it is kept") from error
        raise CopyGivenUp(
            f"the copy was not done within {timeout:g} s, and nothing of it is kept: allow more with --timeout, or "
            "copy to a faster disk"
        ) from error


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()
