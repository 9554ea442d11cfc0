"""The command `scripts/simulate`: worlds for so many minutes, one after the other; it ends at the first that fails.

Prints its seed, its progress, and of a world that fails the seed, the least that still fails, and a trace.
"""

import argparse
import random
import sys
import time
from collections.abc import Sequence
from typing import Final

from tests.simulation.planning import plan_of
from tests.simulation.trying import Tried, report, try_plan

#: Seconds between two lines of progress.
_PROGRESS: Final = 10.0


def simulate(first: int, minutes: float, worlds: int) -> Tried | None:
    """Run worlds until the time is over or one fails, which is returned.

    Args:
        first: Seed of the first one; the others follow by one.
        minutes: For how long.
        worlds: Most of them; 0: any number.
    """
    begin = told = time.monotonic()
    done = turns = 0
    failed: Tried | None = None
    while failed is None and time.monotonic() - begin < minutes * 60 and (not worlds or done < worlds):
        tried = try_plan(plan_of(first + done))
        done, turns = done + 1, turns + tried.turns
        failed = tried if tried.error is not None else None
        if time.monotonic() - told >= _PROGRESS:
            told = time.monotonic()
            _tell(done, turns, told - begin)
    _tell(done, turns, time.monotonic() - begin)
    return failed


def _tell(worlds: int, turns: int, seconds: float) -> None:
    pace = turns / seconds * 60
    print(f"{worlds:,} worlds, {turns:,} events, {seconds:,.0f} s: {pace:,.0f} events a minute", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return its exit code: 0 nothing found, 1 a world fails."""
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="for how long (1)")
    parser.add_argument("--worlds", type=int, default=0, help="most worlds; 0: any number (0)")
    parser.add_argument("--seed", type=int, help="seed of the first world; a new one where it is not given")
    parser.add_argument("--world", type=int, help="run this world alone, and print what happens in it")
    given = parser.parse_args(arguments)
    if given.world is not None:
        tried = try_plan(plan_of(given.world), traced=True)
        print("\n".join([str(tried.plan), *tried.lines]))
        failed = tried if tried.error is not None else None
    else:
        seed = random.SystemRandom().randrange(2**32) if given.seed is None else given.seed
        print(f"seed: {seed}", flush=True)
        failed = simulate(seed, given.minutes, given.worlds)
    if failed is not None:
        print(report(failed))
    return 0 if failed is None else 1


if __name__ == "__main__":
    sys.exit(main())
