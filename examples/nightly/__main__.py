"""Schedules and reports: examples/nightly/run.

Starts a coordinator and two workers, shows what the schedules will do and when, does tonight's work now, and then has a
schedule tick every second while the coordinator is killed with -9 and started again. Exits 0 where the report is right
and every second's tick ran once.
"""

import itertools
import os
import sys
import time
from datetime import timedelta

from grpcflow.schedules import schedule
from local_cluster import LocalCluster, played
from nightly import tills
from nightly.app import app
from nightly.tasks import tick

PATIENCE = 60.0
NAME = "every second"

#: Ticks before the coordinator is killed, seconds that it is away, and ticks after which all has been seen.
BEFORE, AWAY, ENOUGH = 2, 3.0, 7


def main() -> int:
    """Plays the night and returns the exit code."""
    return played("nightly", night)


def night(cluster: LocalCluster) -> bool:
    """Does all of it; returns whether it went as it should."""
    os.environ[tills.FOLDER] = cluster.environment[tills.FOLDER] = str(cluster.folder)
    day = tills.reported_day()
    os.environ[tills.DAY] = cluster.environment[tills.DAY] = day.isoformat()
    tills.write_tills(day)
    cluster.staff(app, "w1", "w2")
    planned()
    print("\ntonight's work, now:")
    report = app.schedules.run("nightly").get(timeout=PATIENCE)
    print("  " + report.replace("\n", "\n  "))
    right = report == tills.written(day, [tills.counted(shop, day) for shop in tills.SHOPS])
    return ticked(cluster) and right


def planned() -> None:
    """Prints the schedules and their next times."""
    print("the coordinator keeps these schedules, which the workers declared:")
    for info in app.schedules.list(count=2):
        following = ", ".join(f"{moment:%a %d %b %H:%M %Z}" for moment in info.next)
        print(f"  {info.name:<9} next {following}")
        print(f"            {info.description}")


def ticked(cluster: LocalCluster) -> bool:
    """Has a schedule tick over a death of the coordinator; returns whether each second ran once."""
    print("\na schedule that ticks every second, and a coordinator that is killed with -9:")
    app.schedules.add(NAME, schedule(timedelta(seconds=1)), tick, catch_up_all=True)
    await_ticks(cluster, BEFORE)
    cluster.kill_coordinator()
    print(f"  killed after {BEFORE} ticks; nobody is there for {AWAY:.0f} s")
    time.sleep(AWAY)
    cluster.start_coordinator()
    await_ticks(cluster, ENOUGH)
    app.schedules.pause(NAME)
    history = app.schedules.get(NAME).history[::-1]
    fired = [past for past in history if past.outcome == "fired"]
    await_runs(cluster, len(fired))
    runs = [(cluster.folder / f"tick {past.id}").read_text() for past in fired]
    gaps = {later.time - earlier.time for earlier, later in itertools.pairwise(fired)}
    for past, ran in zip(fired, runs, strict=True):
        print(f"  {past.time:%H:%M:%S}  ran {ran.count('ran')} x")
    return gaps == {timedelta(seconds=1)} and set(runs) == {"ran\n"}


def await_ticks(cluster: LocalCluster, count: int) -> None:
    """Waits until the schedule has fired so often."""
    deadline = time.monotonic() + PATIENCE
    while app.schedules.get(NAME).fired < count:
        cluster.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"the schedule has not fired {count} times in {PATIENCE:.0f} s")
        time.sleep(0.1)


def await_runs(cluster: LocalCluster, count: int) -> None:
    """Waits until so many ticks have left their trace."""
    deadline = time.monotonic() + PATIENCE
    while len([file for file in cluster.folder.glob("tick *") if file.read_text()]) < count:
        cluster.check()
        if time.monotonic() > deadline:
            raise TimeoutError(f"not all of {count} ticks have run in {PATIENCE:.0f} s")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
