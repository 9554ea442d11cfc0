"""The tills' files, a CSV for each shop and day, and what is made of them. It knows nothing of tasks."""

import csv
import os
import random
from collections import Counter
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TypedDict
from zoneinfo import ZoneInfo

#: Names the folder of all files.
FOLDER = "NIGHTLY_FOLDER"

#: Names the day that is reported, as 2026-11-21; unset: yesterday.
DAY = "NIGHTLY_DAY"

SHOPS = {"Paris": "Europe/Paris", "London": "Europe/London", "New York": "America/New_York"}
GOODS = {"bread": 320, "cheese": 740, "jam": 455, "tea": 610}


class Takings(TypedDict):
    """What a shop took on a day, in cents, and what it sold."""

    shop: str
    receipts: int
    cents: int
    sold: dict[str, int]


def folder() -> Path:
    """Returns the folder of the tills and of the reports."""
    return Path(os.environ.get(FOLDER, "."))


def reported_day() -> date:
    """Returns the day that a report of this night is about: the one that ended in Paris."""
    said = os.environ.get(DAY)
    return date.fromisoformat(said) if said else (datetime.now(ZoneInfo("Europe/Paris")) - timedelta(days=1)).date()


def till(shop: str, day: date) -> Path:
    """Returns a till's file."""
    return folder() / f"{shop} {day}.csv"


def write_tills(day: date, seed: int = 7) -> None:
    """Writes a day of every shop; the same seed writes the same."""
    chance = random.Random(seed)
    for shop in SHOPS:
        with till(shop, day).open("w", newline="") as file:
            rows = csv.writer(file)
            for receipt in range(chance.randrange(200, 400)):
                for good in chance.sample(sorted(GOODS), chance.randrange(1, len(GOODS) + 1)):
                    rows.writerow([receipt, good, chance.randrange(1, 4)])


def counted(shop: str, day: date) -> Takings:
    """Reads a till; raises FileNotFoundError where the shop has sent none."""
    with till(shop, day).open(newline="") as file:
        rows = [(receipt, good, int(count)) for receipt, good, count in csv.reader(file)]
    sold: Counter[str] = Counter()
    for _, good, count in rows:
        sold[good] += count
    cents = sum(GOODS[good] * count for good, count in sold.items())
    return {"shop": shop, "receipts": len({row[0] for row in rows}), "cents": cents, "sold": dict(sorted(sold.items()))}


def written(day: date, takings: Iterable[Takings]) -> str:
    """Returns the report of a day."""
    lines = [f"Report of {day:%A, %d %B %Y}", "", f"{'':<10}{'receipts':>9}{'taken':>12}  best seller"]
    total = 0
    for shop in takings:
        best = max(shop["sold"], key=lambda good: shop["sold"][good])
        lines.append(f"{shop['shop']:<10}{shop['receipts']:>9}{shop['cents'] / 100:>12,.2f}  {best}")
        total += shop["cents"]
    return "\n".join([*lines, f"{'all':<10}{'':>9}{total / 100:>12,.2f}"])
