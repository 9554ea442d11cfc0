"""Takes the census: python -m census [--json FILE] [--most N].

Starts a coordinator and two workers, sends them one chord of chords over every source file of the standard library,
kills one worker with -9 when half is done, starts it again under its name, and compares the answer with a direct
count. Exits 0 when both are equal, and leaves neither process nor file behind, also after Ctrl-C.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from census.app import app
from census.count import COLUMNS, add_up, count_file, library, source_files
from census.tasks import census
from grpcflow import AsyncResult, GroupResult
from local_cluster import ClusterError, LocalCluster

WORKERS = ("w1", "w2")
VICTIM = "w2"
ANSWER_SECONDS = 100.0
SLICE_SECONDS = 0.2
SHOWN_PACKAGES = 12

#: Most tasks that a worker runs at once, so that a large machine is not done before a worker could be killed.
MOST_AT_ONCE = 2

console = Console()


def main() -> int:
    """Runs the census and returns the exit code: 0 exact, 1 not exact or not finished, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(prog="census", description="Count the standard library on a cluster.")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write what is shown to FILE as JSON too")
    parser.add_argument("--most", metavar="N", type=int, help="count only so many files")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = take(arguments.most)
    except ClusterError as error:
        console.print(f"the cluster failed: {error}", markup=False, style="red")
        return 1
    except KeyboardInterrupt:
        console.print("stopped; nothing is left running")
        return 130
    show(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0 if report["exact"] else 1


def take(most: int | None) -> dict[str, Any]:
    """Runs the job on a cluster of its own, over so many files or over all; returns all that there is to show."""
    packages = source_files(most)
    names = [name for group in packages.values() for name in group]
    console.print(
        f"{len(names):,} source files in {len(packages)} packages: the standard library of Python "
        f"{platform.python_version()} with its tests, in {library()}"
    )
    concurrency = min(MOST_AT_ONCE, max(1, (os.cpu_count() or 2) // len(WORKERS)))
    with (
        tempfile.TemporaryDirectory(prefix="grpcflow-census-") as folder,
        LocalCluster(Path(folder), "census", concurrency) as cluster,
    ):
        began = time.monotonic()
        cluster.staff(app, *WORKERS)
        online = time.monotonic()
        console.print(f"a coordinator on {cluster.address} and workers {' and '.join(WORKERS)} are up")
        try:
            answer, killed_after = count_on(cluster, packages, len(names))
        except TimeoutError as error:
            raise ClusterError(f"{error}\n{cluster.last_lines()}") from error
        finished = time.monotonic()
    return {
        "python": platform.python_version(),
        "library": str(library()),
        "table": answer,
        "killed_after": killed_after,
        "exact": answer["total"] == directly(names) and answer["total"]["files"] == len(names),
        "start_seconds": round(online - began, 2),
        "job_seconds": round(finished - online, 2),
    }


def count_on(cluster: LocalCluster, packages: dict[str, list[str]], files: int) -> tuple[dict[str, Any], int]:
    """Submits the chord, kills and revives a worker halfway, and returns the table and when the worker was killed."""
    result = census(packages).apply_async()
    killed_after = 0
    note = TextColumn("{task.fields[note]}")
    with Progress(BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), note, console=console) as progress:
        bar = progress.add_task("counting", total=files, note="files counted")
        for done in arrivals(cluster, measured(result)):
            progress.update(bar, completed=done)
            if done * 2 >= files and not killed_after:
                cluster.kill_worker(VICTIM)
                cluster.start_worker(VICTIM)
                killed_after = done
                progress.update(bar, note=f"{VICTIM} killed with -9 after {done:,}, started again")
        answer: dict[str, Any] = result.get(timeout=ANSWER_SECONDS)
    return answer, killed_after


def measured(result: AsyncResult[Any]) -> list[str]:
    """Returns the ids of the tasks that count one file: the headers of the inner chords.

    The parent of a chord's result is its header, a group; so results can be walked back like the canvas.
    """
    outer = result.parent
    bodies = outer.results if isinstance(outer, GroupResult) else []
    return [leaf.id for body in bodies if isinstance(body.parent, GroupResult) for leaf in body.parent.results]


def arrivals(cluster: LocalCluster, ids: list[str]) -> Iterator[int]:
    """Yields how many of these tasks have ended, as often as that changes.

    The results arrive on a watched stream, nothing polls; a wait is cut into slices only to look after the cluster.
    """
    waiting = dict.fromkeys(ids)
    deadline = time.monotonic() + ANSWER_SECONDS
    while waiting:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(waiting):,} files are not counted after {ANSWER_SECONDS:.0f} s")
        cluster.check()
        with contextlib.suppress(TimeoutError):  # not all of them yet: that is what a slice is for
            app.connection.wait(list(waiting), timeout=SLICE_SECONDS, on_result=lambda key, _: waiting.pop(key, None))
        yield len(ids) - len(waiting)


def directly(names: list[str]) -> dict[str, int]:
    """Counts the same files without any cluster, on all cores."""
    context = multiprocessing.get_context("spawn")  # this process has used gRPC, so it must not fork
    with ProcessPoolExecutor(mp_context=context) as pool:
        return add_up(pool.map(count_file, names, chunksize=50))


def show(report: dict[str, Any]) -> None:
    """Prints the table and what became of the killed worker."""
    table = Table(title=f"Python {report['python']}: its standard library, counted by two workers")
    table.add_column("package")
    for column in COLUMNS:
        table.add_column("did not parse" if column == "unparsed" else column, justify="right")
    rows = report["table"]["packages"]
    rest = rows[SHOWN_PACKAGES:]
    for row in rows[:SHOWN_PACKAGES]:
        table.add_row(row["package"], *cells(row))
    if rest:
        table.add_row(f"{len(rest)} more", *cells(add_up(rest)), end_section=True)
    table.add_row("all", *cells(report["table"]["total"]), style="bold")
    console.print(table)
    console.print(
        f"Started in {report['start_seconds']:.1f} s, counted in {report['job_seconds']:.1f} s. "
        f"Worker {VICTIM} was killed with -9 after {report['killed_after']:,} files and started again under its name."
    )
    verdict = "the answer is complete and equal to a direct count" if report["exact"] else "THE ANSWER IS WRONG"
    console.print(f"Compared: {verdict}.", style="green" if report["exact"] else "red")


def cells(row: dict[str, int]) -> list[str]:
    """Returns the numbers of one row as text."""
    return [f"{row[column]:,}" for column in COLUMNS]


if __name__ == "__main__":
    sys.exit(main())
