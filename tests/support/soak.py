"""The long run of random canvases: `scripts/canvas_soak`. Prints its seed, its progress, and the first difference.

Every canvas has a seed of its own, made from that of the run and its number, so that each can be run again alone.
"""

import argparse
import multiprocessing
import pprint
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.pool import Pool
from typing import Final

from tests.support.shrinking import failure_of, shrunk
from tests.support.trial import Trial, Weather, random_trial

#: Canvases that a process runs before it tells of them.
_BATCH: Final = 200
#: Seconds between two lines of progress.
_PROGRESS: Final = 10.0
#: Canvases of which one is run with the invariants checked after every step, the others now and then.
_CHECKED: Final = 50
_SELDOM: Final = 40
#: Of ten canvases so many meet which weather, where there are faults.
_WEATHERS: Final = [Weather.ROUGH] * 5 + [Weather.DEADLY] * 5


@dataclass(frozen=True, slots=True)
class Batch:
    """Neighbouring canvases of one run."""

    seed: int
    first: int
    count: int
    kills: bool


def trial_of(seed: int, number: int, *, kills: bool) -> Trial:
    """Returns one trial of a run.

    Args:
        seed: The seed of the run.
        number: Which one it is, from 0.
        kills: True: with broken streams, killed workers and a killed coordinator.
    """
    rng = random.Random(f"{seed} {number}")
    weather = rng.choice(_WEATHERS) if kills else Weather.FAIR
    return random_trial(rng.randrange(2**63), weather, 1 if number % _CHECKED == 0 else _SELDOM)


def run_batch(batch: Batch) -> tuple[int, int | None]:
    """Runs a batch; returns how many canvases passed, and the number of the first that did not."""
    for number in range(batch.first, batch.first + batch.count):
        if failure_of(trial_of(batch.seed, number, kills=batch.kills)) is not None:
            return number - batch.first, number
    return batch.count, None


def soak(seed: int, count: int, *, kills: bool, processes: int, first: int = 0) -> int | None:
    """Runs many canvases; returns the number of the first one found that differs, or None.

    Args:
        seed: The seed of the run.
        count: How many canvases.
        kills: True: with faults.
        processes: How many processes run them; 1: this one.
        first: Number of the first one.
    """
    batches = [Batch(seed, at, min(_BATCH, first + count - at), kills) for at in range(first, first + count, _BATCH)]
    if processes == 1:
        return _watched(map(run_batch, batches), count)
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, _ignore_interrupts) as pool:
        return _watched(_unordered(pool, batches), count)


def _unordered(pool: Pool, batches: Sequence[Batch]) -> Iterator[tuple[int, int | None]]:
    yield from pool.imap_unordered(run_batch, batches)


def _ignore_interrupts() -> None:
    """Leaves Ctrl-C to the parent, which ends its children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _watched(results: Iterator[tuple[int, int | None]], count: int) -> int | None:
    done, begin, told = 0, time.monotonic(), time.monotonic()
    for passed, failed in results:
        done += passed
        if failed is not None:
            return failed
        if time.monotonic() - told >= _PROGRESS or done == count:
            told = time.monotonic()
            print(f"{done:,} of {count:,} canvases, {done / (told - begin):,.0f}/s", flush=True)
    return None


def report(seed: int, number: int, *, kills: bool) -> None:
    """Prints a canvas that differs, as drawn and as small as it could be made."""
    trial = trial_of(seed, number, kills=kills)
    small = shrunk(trial)
    error = failure_of(small)
    print(f"canvas {number} of seed {seed} ({trial.weather.value} weather) differs; cut down to:\n")
    pprint.pprint(small.drawn, width=110)
    print(f"built: {small.drawn.built()!r}\nthe run's own seed: {small.seed}\n")
    if error is not None:
        traceback.print_exception(error, limit=-4, file=sys.stdout)
    faults = " --kills" if kills else ""
    print(f"\nagain, alone: scripts/canvas_soak --seed {seed} --first {number} --count 1 --processes 1{faults}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0 no difference, 1 a difference."""
    parser = argparse.ArgumentParser(prog="canvas_soak", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="how many canvases (100,000)")
    parser.add_argument("--seed", type=int, help="seed of the run; a new one where it is not given")
    parser.add_argument("--first", type=int, default=0, help="number of the first canvas (0)")
    parser.add_argument("--kills", action="store_true", help="kill workers and the coordinator, break streams")
    parser.add_argument("--processes", type=int, default=2, help="how many processes (2)")
    given = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
    print(f"seed: {seed}", flush=True)
    failed = soak(seed, given.count, kills=given.kills, processes=given.processes, first=given.first)
    if failed is not None:
        report(seed, failed, kills=given.kills)
        return 1
    print(f"no difference in {given.count:,} canvases; seed: {seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
