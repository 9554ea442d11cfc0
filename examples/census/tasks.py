"""The three tasks of the census. What they do is in count.py; here stands only how the work is cut."""

from typing import Any

from census.app import app
from census.count import Counts, add_up, count_file
from grpcflow import Signature, chord


@app.task
def measure(name: str) -> Counts:
    """Counts one file of the standard library."""
    return count_file(name)


@app.task
def tally(rows: list[Counts], package: str) -> dict[str, Any]:
    """Merges the files of one package."""
    return {"package": package, **add_up(rows)}


@app.task
def merge(packages: list[dict[str, Any]]) -> dict[str, Any]:
    """Merges the packages into one table, the one with the most lines first."""
    ordered = sorted(packages, key=lambda row: (-row["lines"], row["package"]))
    return {"packages": ordered, "total": add_up(packages)}


def census(packages: dict[str, list[str]]) -> Signature:
    """Returns the whole census as one signature: a chord of one chord for each package."""
    per_package = [chord([measure.s(name) for name in names], tally.s(package)) for package, names in packages.items()]
    return chord(per_package, merge.s())
