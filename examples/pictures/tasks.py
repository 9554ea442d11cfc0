"""Upload, filters in a group, a contact sheet. What travels are names of files; pixels stay in the studio's folder."""

import os
import shutil
from pathlib import Path
from typing import TypedDict

from PIL import UnidentifiedImageError

from grpcflow import Signature, chain, chord, group
from pictures import images
from pictures.app import app

#: Names the folder that all workers see: on several machines a shared file system, or an object store in its place.
VARIABLE = "PICTURES_STUDIO"


class Row(TypedDict):
    """One picture's row of the sheet: its name and the files of its tiles, in the order of the filters."""

    name: str
    tiles: list[str]


class Sheet(TypedDict):
    """What the last task gives: where the sheet is, its width and height in pixels, and the names of its rows."""

    file: str
    size: list[int]
    rows: list[str]


class NoPicture(Exception):
    """An upload is not a picture."""


def studio() -> Path:
    """Returns the folder of all files."""
    return Path(os.environ.get(VARIABLE, "."))


@app.task
def upload(path: str) -> str:
    """Takes a file into the studio and returns its name there. Another time it takes it again: the name is the same."""
    source = Path(path)
    target = studio() / source.name
    arriving = target.with_name(f".{source.name}.{os.getpid()}")
    shutil.copyfile(source, arriving)
    arriving.replace(target)  # nobody sees half of it
    try:
        images.opened(target)
    except UnidentifiedImageError as error:
        raise NoPicture(f"{source.name} is not a picture") from error
    return target.name


@app.task
def apply_filter(name: str, effect: str) -> str:
    """Writes what a filter makes of a picture and returns the file's name."""
    target = studio() / f"{Path(name).stem}.{effect}.jpg"
    images.filtered(studio() / name, effect, target)
    return target.name


@app.task
def row(tiles: list[str], name: str) -> Row:
    """Collects the tiles of one picture."""
    return {"name": name, "tiles": tiles}


@app.task
def contact_sheet(rows: list[Row]) -> Sheet:
    """Lays out all rows on one sheet."""
    target = studio() / "contact-sheet.png"
    size = images.sheet([(each["name"], [studio() / tile for tile in each["tiles"]]) for each in rows], target)
    return {"file": str(target), "size": list(size), "rows": [each["name"] for each in rows]}


def develop(path: Path) -> Signature:
    """Returns the canvas of one picture: upload it, apply every filter side by side, collect the tiles."""
    effects = group(apply_filter.s(effect) for effect in images.FILTERS)
    return chain(upload.s(str(path)), effects, row.s(path.name))


def develop_all(paths: list[Path]) -> Signature:
    """Returns the canvas of all pictures: all of them side by side, and the sheet when the last is done."""
    return chord([develop(path) for path in paths], contact_sheet.s())
