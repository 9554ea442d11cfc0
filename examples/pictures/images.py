"""What happens to pixels, with Pillow: filters, tiles, the sheet, and pictures to begin with. It knows no tasks."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter, ImageOps

#: Longest side of a tile of the contact sheet, in pixels.
TILE = 160

#: Pixels between two tiles.
GAP = 8

PAPER = "#f4f1ea"
INK = "#333333"

#: What can be done to a picture, by name, in the order of the sheet's columns.
FILTERS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "original": lambda image: image,
    "blur": lambda image: image.filter(ImageFilter.GaussianBlur(max(image.size) / 100)),
    "edges": lambda image: ImageOps.invert(image.convert("L").filter(ImageFilter.FIND_EDGES)).convert("RGB"),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "poster": lambda image: ImageOps.posterize(image, 2),
    "sepia": lambda image: ImageOps.colorize(image.convert("L"), "#2b1a0d", "#ffe9c4"),
}


def opened(path: Path) -> Image.Image:
    """Reads a picture upright and in colours; raises Pillow's UnidentifiedImageError where it is none."""
    with Image.open(path) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def filtered(source: Path, name: str, target: Path) -> None:
    """Writes what a filter makes of a picture."""
    FILTERS[name](opened(source)).save(target, quality=90)


def tile(image: Image.Image) -> Image.Image:
    """Returns a picture as it stands on the sheet: as large as fits, in the middle of a square."""
    return ImageOps.pad(image, (TILE, TILE), color=PAPER)


def sheet(rows: Sequence[tuple[str, Sequence[Path]]], target: Path) -> tuple[int, int]:
    """Lays out one row for each picture, its name below it, and writes the sheet; returns its size in pixels."""
    step, line = TILE + GAP, 16
    columns = max(len(paths) for _, paths in rows)
    paper = Image.new("RGB", (GAP + step * columns, GAP + (step + line) * len(rows)), PAPER)
    pen = ImageDraw.Draw(paper)
    for row, (title, paths) in enumerate(rows):
        top = GAP + row * (step + line)
        for column, path in enumerate(paths):
            paper.paste(tile(opened(path)), (GAP + column * step, top))
        pen.text((GAP, top + TILE + 2), title, fill=INK)
    paper.save(target)
    return paper.size


def place(row: int, column: int) -> tuple[int, int, int, int]:
    """Returns where a tile stands on the sheet: left, top, right, bottom."""
    left, top = GAP + column * (TILE + GAP), GAP + row * (TILE + GAP + 16)
    return left, top, left + TILE, top + TILE


def paint(folder: Path, count: int, size: tuple[int, int] = (1200, 900)) -> list[Path]:
    """Paints landscapes, each another one, into JPEG files: who has no pictures at hand has these."""
    width, height = size
    paths = []
    for number in range(count):
        image = Image.linear_gradient("L").resize(size)
        image = ImageOps.colorize(image, ("#2a5d9f", "#7a3b69", "#1f6f6b", "#b0562a")[number % 4], "#fbe3b0")
        pen = ImageDraw.Draw(image)
        sun = (width * (number * 37 % 80 + 10) // 100, height * (number * 23 % 30 + 25) // 100)
        pen.circle(sun, height // 12, fill="#fff6d8")
        for depth in range(3):
            ridge = [(x, hill(x / width, number, depth) * height) for x in range(0, width + 10, 10)]
            pen.polygon([(0, height), *ridge, (width, height)], fill=("#5f7f6f", "#3f5f57", "#22403c")[depth])
        paths.append(folder / f"landscape-{number + 1}.jpg")
        image.save(paths[-1], quality=90)
    return paths


def hill(x: float, number: int, depth: int) -> float:
    """Returns how far down the ridge of a hill is, as a part of the height."""
    return 0.55 + 0.13 * depth + 0.08 * math.sin(x * (5 + depth * 3) + number * (depth + 1)) + 0.03 * math.sin(x * 31)
