"""Short tasks and long ones on two workers of two children each, beside the schedule that is ideal.

    scripts/bench --mixed

The ideal schedule costs nothing but the tasks themselves: each place, as soon as it is free, begins the next task in
the order of submission, since nobody knows beforehand how long one takes. The tasks sleep, and count as long as they
slept. The measured schedule must not take more than a tenth longer. Orders: all long ones first, all short ones first,
shuffled; under one name for both, and under one each.

Besides: *idle*, the place-seconds in which a place did nothing while a task waited, with the longest such pause; and
the waits of short tasks that are sent at random moments, while long ones come and go and one place is always free.
"""

from __future__ import annotations

import heapq
import json
import random
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks import report
from benchmarks.cluster import Cluster
from benchmarks.tasks import stay, stay_long
from grpcflow import group

#: Workers, and the places of all of them.
WORKERS, PLACES = 2, 4

#: Seconds after which a wait is given up.
LIMIT = 120.0

#: Short tasks a second, on average, of those that are sent one by one.
ARRIVALS = 100.0

#: Orders of submission.
ORDERS = ("long first", "short first", "shuffled")

#: A run may take this much of the ideal.
MUST = 1.10


@dataclass(frozen=True)
class Mix:
    """What is run: so many of each, so many seconds each."""

    longs: int = 8
    shorts: int = 4_000
    long: float = 5.0
    short: float = 0.001

    def ordered(self, order: str, seed: int) -> list[float]:
        """Return the seconds of each task in the order in which they are submitted."""
        longs, shorts = [self.long] * self.longs, [self.short] * self.shorts
        if order == ORDERS[0]:
            return longs + shorts
        if order == ORDERS[1]:
            return shorts + longs
        mixed = longs + shorts
        random.Random(seed).shuffle(mixed)
        return mixed


@dataclass(frozen=True)
class Found:
    """What one run gave; times in seconds.

    Attributes:
        order: in which they were submitted.
        names: 1 for both kinds, or 2.
        nominal: the ideal schedule, if every task took as long as it was told to.
        ideal: the ideal schedule of the times that the tasks took themselves: a sleep of 1 ms takes 1.1 ms and more.
        took: from the first signature to the last value.
        idle: place-seconds in which a place did nothing while a task waited.
        longest_pause: the longest of these.
    """

    order: str
    names: int
    nominal: float
    ideal: float
    took: float
    idle: float
    longest_pause: float

    @property
    def ratio(self) -> float:
        """How much of the ideal it took."""
        return self.took / self.ideal


def ideal(seconds: Sequence[float], places: int) -> float:
    """Return how long tasks take where each place begins the next one as soon as it is free."""
    free_at = [0.0] * places
    for one in seconds:
        heapq.heapreplace(free_at, free_at[0] + one)
    return max(free_at)


def pauses(spans: Sequence[tuple[float, float, int]], submitted: float) -> list[float]:
    """Return the pauses of all places while a task waited: from the submission to the start of the last one."""
    last_start = max(began for began, _, _ in spans)
    found = []
    for place in {place for _, _, place in spans}:
        at = submitted
        for began, ended, _ in sorted(span for span in spans if span[2] == place):
            found.append(began - at)
            at = ended
        found.append(max(0.0, last_start - at))
    return found


def run(mix: Mix, order: str, names: int, seed: int) -> Found:
    """Run a mix in an order under one name or two, and judge the values."""
    seconds = mix.ordered(order, seed)
    tasks = [(stay_long if names > 1 and one == mix.long else stay).s(one) for one in seconds]
    began = time.monotonic()
    spans: list[tuple[float, float, int]] = group(tasks)().get(timeout=LIMIT)
    took = time.monotonic() - began
    if len(spans) != len(seconds):
        raise SystemExit("the group gave wrong values")
    idle = pauses(spans, began)
    slept = [ended - began for began, ended, _ in spans]
    return Found(order, names, ideal(seconds, PLACES), ideal(slept, PLACES), took, sum(idle), max(idle))


def waits_beside(mix: Mix, names: int, count: int, seed: int) -> list[float]:
    """Send short tasks at random moments, and long ones so that one place is always free; return the waits, sorted.

    A wait is from before the call that submits a short task to its start, in seconds.
    """
    chance = random.Random(seed)
    long = stay_long if names > 1 else stay
    blocking: deque[float] = deque()
    longs, sent = [], []
    for _ in range(count):
        time.sleep(chance.expovariate(ARRIVALS))
        now = time.monotonic()
        while blocking and blocking[0] < now:
            blocking.popleft()
        if len(blocking) < PLACES - 1 and chance.random() < 0.1:
            longs.append(long.delay(mix.long))
            blocking.append(now + mix.long + 0.5)  # it starts a moment later, and its end takes one too
        sent.append((time.monotonic(), stay.delay(mix.short)))
    waits = sorted(result.get(timeout=LIMIT)[0] - at for at, result in sent)
    for result in longs:
        result.get(timeout=LIMIT)  # its place is free again for what is measured next
    return waits


def show(found: Sequence[Found], waits: dict[int, list[float]]) -> None:
    """Print the tables."""
    columns = ("order", "names", "nominal s", "ideal s", "took s", "ratio", "idle place-s", "longest pause s")
    rows = []
    for one in found:
        figures = (one.nominal, one.ideal, one.took, one.ratio, one.idle, one.longest_pause)
        rows.append([one.order, str(one.names), *(f"{figure:.3f}" for figure in figures)])
    title = f"{WORKERS} workers of {PLACES // WORKERS} children each; at most {MUST:.2f} is wanted"
    report.show(report.Table(title, columns, rows, columns[1:]))
    for names, each in waits.items():
        p50, p99, most = (each[int((len(each) - 1) * part)] * 1e3 for part in (0.5, 0.99, 1.0))
        what = f"wait of {len(each)} short tasks beside long ones, {names} name(s)"
        print(f"{what}: p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {most:.1f} ms")


def measure(small: bool, seed: int | None = None) -> dict[str, object]:
    """Run all orders and names, print and return what they gave.

    Args:
        small: True: long ones of 0.25 s, fewer short ones, one order.
        seed: of the shuffled order; None: drawn. It is printed.
    """
    mix = Mix(shorts=200, long=0.25) if small else Mix()
    seed = random.randrange(1 << 32) if seed is None else seed
    print(f"seed {seed}; {json.dumps(asdict(mix))}", flush=True)
    found: list[Found] = []
    waits: dict[int, list[float]] = {}
    with Cluster(workers=WORKERS):
        for names in (1, 2):
            found += [run(mix, order, names, seed) for order in (ORDERS[-1:] if small else ORDERS)]
            waits[names] = waits_beside(mix, names, 50 if small else 2_000, seed)
    show(found, waits)
    return {
        "seed": seed,
        "mix": asdict(mix),
        "runs": [{**asdict(one), "ratio": one.ratio} for one in found],
        "waits": {str(names): each for names, each in waits.items()},
    }
