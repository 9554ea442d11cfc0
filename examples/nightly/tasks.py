"""The night: which day, every till side by side, one report. And a small task that leaves a trace of each run."""

from datetime import date

from grpcflow import Signature, Task, chain, group
from nightly import tills
from nightly.app import app
from nightly.tills import Takings


@app.task
def choose_day() -> str:
    """Says which day is reported. A schedule's arguments are fixed when it is put, so this is asked when it runs."""
    return tills.reported_day().isoformat()


@app.task(autoretry_for=(FileNotFoundError,), max_retries=6, default_retry_delay=600)
def read_till(day: str, shop: str) -> Takings:
    """Reads the till of a shop; where the file is not there yet, again every ten minutes for an hour."""
    return tills.counted(shop, date.fromisoformat(day))


@app.task
def write_report(takings: list[Takings]) -> str:
    """Writes the report into a file and returns it."""
    day = tills.reported_day()
    report = tills.written(day, takings)
    (tills.folder() / f"report {day}.txt").write_text(report + "\n")
    return report


@app.task
def open_shops() -> list[str]:
    """Says which shops open."""
    return list(tills.SHOPS)


@app.task(bind=True)
def tick(self: Task) -> None:
    """Leaves a trace: a file with the call's id, one for each run."""
    with (tills.folder() / f"tick {self.request.id}").open("a") as file:
        file.write("ran\n")


def night() -> Signature:
    """Returns the canvas of a night."""
    return chain(choose_day.s(), group(read_till.s(shop) for shop in tills.SHOPS), write_report.s())
