"""The commands beside the daemon: backup, restore, check, compact, export, import, migrate.

Each opens the data folder itself, and but for export and import those of its namespaces; those that only read may run
while the coordinator serves. This file turns words into calls and findings into lines; what is done stands in storage/.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

import click

from grpcflow_coordinator.config import load
from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.namespaces import NAMESPACES, names_in
from grpcflow_coordinator.storage.contract import StoreError
from grpcflow_protos.first_process import SIGNALLED, look_after

if TYPE_CHECKING:
    from grpcflow_coordinator.storage.copies import Manifest

#: Findings that are printed of each kind.
SHOWN: Final = 20

#: Exit codes: `check` found something that is broken; the file has pages that cannot be read at all.
BROKEN: Final = 1
UNREADABLE: Final = 2

#: The object of the context where the process was started for the command, and not by somebody who calls it.
OURS: Final = object()

_data = click.option("--data", metavar="DIR", help="Folder of the database [~/.local/share/grpcflow].")
_file = click.option("--config", "file", type=click.Path(path_type=Path), help="A TOML file with settings.")
_unsafe = click.option("--unsafe-filesystem", is_flag=True, help="Use a folder on NFS, FUSE and the like.")


def add_to(group: click.Group) -> None:
    """Add the commands to the daemon's own."""
    for one in (backup, restore, check, compact, export, import_, migrate):
        group.add_command(one)


def _folder(data: str | None, file: Path | None) -> Path:
    """Return the folder that the daemon would have; what stood before the command's name counts as well."""
    before = click.get_current_context().parent
    given = {} if before is None else before.params
    return Path(load({"data": given.get("data") if data is None else data}, file or given.get("file")).data)


@contextmanager
def _told() -> Iterator[None]:
    """Turn what goes wrong into a line and an exit code."""
    try:
        yield
    except (ConfigurationError, StoreError) as error:
        raise click.ClickException(str(error)) from error
    except BrokenPipeError:
        raise  # who read our output has gone, and there is nobody to tell
    except OSError as error:
        raise click.ClickException(f"{error}: check the path, its rights and the room on its disk") from error


def _apart(folder: Path) -> Path:
    """Go on in another process, where this one is ours; return the folder, which is read from then on.

    LMDB ends the process that meets a page that is none, without a word: the parent has the words.
    """

    def ended(code: int) -> int:
        from grpcflow_coordinator.storage.lmdb_opening import BROKEN_SIGNALS, DATA, restore_cure

        if code - SIGNALLED not in BROKEN_SIGNALS:
            return code
        which = f"{folder / DATA}, or that of one of its namespaces," if names_in(folder) else folder / DATA
        click.echo(f"Error: {which} has pages that cannot be read; {restore_cure(folder)}", err=True)
        return UNREADABLE

    if click.get_current_context().find_root().obj is OURS:
        look_after(ended)
    return folder


def _version() -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version("grpcflow")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _size(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError("the last unit takes any number")


@click.command()
@click.argument("target", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--timeout", type=float, default=3600.0, metavar="SECONDS", help="Give up after this long [3600].")
@_data
@_file
def backup(target: Path, timeout: float, data: str | None, file: Path | None) -> None:
    """Copy the data, one moment of each namespace, into DIR, while the coordinator serves.

    DIR is made, and has its name only when all of it is on the disk.
    """
    from grpcflow_coordinator.storage import copies

    with _told():
        source, began = _apart(_folder(data, file)), time.monotonic()
        try:
            manifest = copies.backup(source, target, version=_version(), timeout=timeout)
        except copies.CopyGivenUp as error:
            _end_at_once(str(error))
    took = time.monotonic() - began
    click.echo(f"Backed up {source} to {target}{_more(manifest)}: {_size(copies.size_of(target))} in {took:.1f} s.")


def _more(manifest: Manifest) -> str:
    return f" with {len(manifest.namespaces)} namespaces" if manifest.namespaces else ""


def _end_at_once(message: str) -> NoReturn:
    """End the process though a thread still copies; the kernel takes its reader's place away with it."""
    click.echo(f"Error: {message}", err=True)
    sys.stderr.flush()
    os._exit(1)


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="BACKUP")
@_data
@_file
@_unsafe
def restore(source: Path, data: str | None, file: Path | None, unsafe_filesystem: bool) -> None:
    """Make the data folder from BACKUP; it must not hold data yet."""
    from grpcflow_coordinator.storage import copies

    with _told():
        folder = _new_folder(data, file, unsafe=unsafe_filesystem)
        manifest = copies.restore(source, folder)
    made = datetime.fromtimestamp(manifest.made_unix_ms / 1000, UTC)
    what = f"{source} of {made:%Y-%m-%d %H:%M:%S} UTC to {folder}{_more(manifest)}"
    click.echo(f"Restored {what}: {_size(copies.size_of(source))}.")


def _new_folder(data: str | None, file: Path | None, *, unsafe: bool) -> Path:
    from grpcflow_coordinator.storage.ground import check_ground

    folder = _folder(data, file)
    if not unsafe:
        check_ground(folder)
    return folder


@click.command()
@_data
@_file
def check(data: str | None, file: Path | None) -> None:
    """Compare every index with the records, while the coordinator serves.

    DIR may be a backup as well. Exit code 0: all agrees; 1: something is broken; 2: the file itself is.
    """
    from grpcflow_coordinator.storage.copies import with_namespaces

    with _told():
        broken = [_check(one) for one in with_namespaces(_apart(_folder(data, file)))]
    sys.exit(BROKEN if any(broken) else 0)


def _check(folder: Path) -> bool:
    from grpcflow_coordinator.storage.checking import check as find
    from grpcflow_coordinator.storage.lmdb_reading import LmdbSnapshot

    began = time.monotonic()
    with closing(LmdbSnapshot(folder)) as snapshot:
        counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
        for finding in find(snapshot, time.time_ns() // 1_000_000):
            counted = counts[finding.broken]
            counted[finding.kind] += 1
            if finding.broken and counted[finding.kind] <= SHOWN:
                click.echo(f"broken   {finding.kind}: {finding.what}")
        for broken, counted in counts.items():
            for kind, count in sorted(counted.items()):
                if not broken or count > SHOWN:
                    click.echo(f"{'broken  ' if broken else 'harmless'} {kind}: {count:,} in all")
        total = snapshot.count()
    bad = counts[True].total()
    said = f"{bad:,} things do not agree: restore a backup, see docs/backups-and-disks.md" if bad else "all agrees"
    click.echo(f"Checked {total:,} records of {folder} in {time.monotonic() - began:.1f} s: {said}.")
    return bool(bad)


@click.command()
@_data
@_file
def compact(data: str | None, file: Path | None) -> None:
    """Write the file anew without free pages; the coordinator must be stopped."""
    from grpcflow_coordinator.storage import copies

    with _told():
        for folder in copies.with_namespaces(_apart(_folder(data, file))):
            before, after = copies.compact(folder)
            click.echo(f"Compacted {folder}: {_size(before)} before, {_size(after)} now.")


@click.command()
@click.argument("target", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE")
@_data
@_file
def export(target: Path, data: str | None, file: Path | None) -> None:
    """Write all records to FILE (-: standard output) as a stream that any host and later version reads.

    FILE is made, and has its name only when all of it is on the disk.
    """
    from grpcflow_coordinator.storage import copies, portable
    from grpcflow_coordinator.storage.lmdb_reading import LmdbSnapshot

    with _told():
        folder = _apart(_folder(data, file))
        out: AbstractContextManager[BinaryIO]
        out = nullcontext(sys.stdout.buffer) if target == Path("-") else copies.new_file(target)
        with closing(LmdbSnapshot(folder)) as snapshot, out as stream:
            count = portable.export(snapshot, stream, store_format=snapshot.format, version=_version())
    click.echo(f"Exported {count:,} records of {folder}.", err=True)
    if names := names_in(folder):
        click.echo(
            f"Its {len(names)} namespaces are not in it: export each by its own folder, as --data "
            f"{folder / NAMESPACES / names[0]}.",
            err=True,
        )


@click.command("import")
@click.argument("source", type=click.File("rb"), metavar="FILE")
@_data
@_file
@_unsafe
def import_(source: BinaryIO, data: str | None, file: Path | None, unsafe_filesystem: bool) -> None:
    """Make the data folder from FILE (-: standard input), which `export` wrote; it must not hold data yet."""
    from grpcflow_coordinator.storage import copies, portable
    from grpcflow_coordinator.storage.lmdb_opening import FORMATS

    with _told():
        folder = _new_folder(data, file, unsafe=unsafe_filesystem)
        with copies.making(folder) as store:
            _, count = portable.load(source, store, newest=int(FORMATS[-1]))
            copies.step_ahead(store)
    click.echo(f"Imported {count:,} records into {folder}.")


@click.command()
@click.option("--finalise", is_flag=True, help="Write the newest format from now on; there is no way back.")
@_data
@_file
def migrate(finalise: bool, data: str | None, file: Path | None) -> None:
    """Bring the records up to date, and tell the format; with --finalise, move to the newest one.

    Until then the release before can be started on the folder again. The coordinator must be stopped.
    """
    from grpcflow_coordinator.storage.copies import with_namespaces
    from grpcflow_coordinator.storage.lmdb_opening import FORMATS
    from grpcflow_coordinator.storage.lmdb_reading import check_there

    newest = int(FORMATS[-1])
    with _told():
        folder = _apart(_folder(data, file))
        check_there(folder)
        stay = [_migrate(one, newest, finalise=finalise) for one in with_namespaces(folder)]
    if any(stay):
        click.echo(f"When you are sure to stay: grpcflow-coordinator migrate --finalise --data {folder}")


def _migrate(folder: Path, newest: int, *, finalise: bool) -> bool:
    """Bring one store up to date; return whether it could be finalised."""
    from grpcflow_coordinator.storage import copies, migrating
    from grpcflow_coordinator.storage.lmdb import LmdbStore

    with closing(LmdbStore(folder)) as store:
        found = store.format
        counted = migrating.recount(store)
        if finalise and found < newest:
            store.finalise(copies.describe(_version()))
    if counted:
        click.echo(f"Counted {counted:,} graphs anew, which an earlier version had counted otherwise.")
    if found == newest:
        click.echo(f"{folder} has format {newest}, the newest one.")
    elif finalise:
        click.echo(f"{folder} has format {newest} now; versions that do not read it refuse the folder.")
    else:
        click.echo(f"{folder} has format {found}, which the release before reads too; the newest is {newest}.")
    return found < newest and not finalise
