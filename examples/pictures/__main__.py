"""A contact sheet of pictures: examples/pictures/run [--out FILE] [PICTURE ...].

Starts a coordinator and two workers, uploads the pictures (or some that it paints), applies every filter to each side
by side, lays out one sheet, and compares its tiles with what the same filters make of the same pictures here.
Exits 0 where every tile is as it should be.
"""

import argparse
import os
import shutil
import sys
import time
from pathlib import Path

from PIL import Image, ImageChops, ImageStat

from grpcflow import ChordError
from local_cluster import LocalCluster, played
from pictures import images, tasks
from pictures.app import app
from pictures.tasks import Sheet, develop_all

PATIENCE = 120.0
PAINTED = 6

#: How far a tile may be from what it should be, on average, of 255: JPEG is not exact.
TOLERANCE = 3.0


def main() -> int:
    """Makes the sheet and returns the exit code."""
    parser = argparse.ArgumentParser(prog="pictures", description="Lay out a contact sheet of pictures, on a cluster.")
    parser.add_argument(
        "pictures", metavar="PICTURE", nargs="*", type=Path, help="files of your own; else painted ones"
    )
    parser.add_argument(
        "--out", metavar="FILE", type=Path, default=Path("contact-sheet.png"), help="[contact-sheet.png]"
    )
    arguments = parser.parse_args()
    sources: list[Path] = [path.absolute() for path in arguments.pictures]
    if missing := [str(path) for path in sources if not path.is_file()]:
        parser.error(f"there is no such file: {', '.join(missing)}")
    return played("pictures", lambda cluster: develop(cluster, sources, arguments.out))


def develop(cluster: LocalCluster, sources: list[Path], out: Path) -> bool:
    """Makes the sheet on the cluster and copies it to `out`; returns whether it is right."""
    studio = cluster.folder / "studio"
    studio.mkdir()
    cluster.environment[tasks.VARIABLE] = os.environ[tasks.VARIABLE] = str(studio)
    sources = sources or images.paint(cluster.folder, PAINTED)
    cluster.staff(app, "w1", "w2")
    began = time.monotonic()
    try:
        sheet = develop_all(sources).delay().get(timeout=PATIENCE)
    except ChordError as error:
        print(f"there is no sheet: {error}")
        return False
    seconds = time.monotonic() - began
    shutil.copyfile(sheet["file"], out)
    effects = len(images.FILTERS)
    print(f"{len(sources)} pictures, {effects} tiles each: {len(sources) * (effects + 2) + 1} tasks in {seconds:.1f} s")
    print(f"  columns: {', '.join(images.FILTERS)}\n  rows:    {', '.join(sheet['rows'])}")
    print(f"{sheet['size'][0]} x {sheet['size'][1]} pixels are in {out}")
    return right(sheet, sources, out)


def right(sheet: Sheet, sources: list[Path], out: Path) -> bool:
    """Compares every tile of the sheet with one that is made here."""
    if sheet["rows"] != [source.name for source in sources]:
        return False
    paper = images.opened(out)
    return all(
        distance(paper.crop(images.place(row, column)), images.tile(effect(images.opened(source)))) < TOLERANCE
        for row, source in enumerate(sources)
        for column, effect in enumerate(images.FILTERS.values())
    )


def distance(one: Image.Image, other: Image.Image) -> float:
    """Returns how far two pictures of one size are from each other, on average over all points, of 255."""
    return max(ImageStat.Stat(ImageChops.difference(one, other)).mean)


if __name__ == "__main__":
    sys.exit(main())
