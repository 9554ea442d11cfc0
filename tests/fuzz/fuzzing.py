"""The long run of the fuzzers: `scripts/fuzz`. Prints its seed, its progress and its findings, each with its input.

Inputs come in batches, each with a generator of its own; so a finding can be had again by seed, door and batch.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tests.fuzz import codec_door, command_door, config_door, decoder_door, largest_door, rpc_door
from tests.fuzz.judging import Finding

#: Seconds between two lines of progress.
_PROGRESS: Final = 10.0

#: Findings after which a run ends.
_ENOUGH: Final = 20


@dataclass(frozen=True, slots=True)
class Door:
    """One way in.

    Attributes:
        run: gives it inputs: by the seed of the run, the number of the first one, and how many.
        batch: how many inputs go together.
        share: of all inputs, how many of a hundred.
    """

    run: Callable[[int, int, int], None]
    batch: int
    share: float


#: What there is, by the names that `--only` takes.
DOORS: Final = {
    "rpc": Door(rpc_door.run, rpc_door.WORLD, 50),
    "decoders": Door(decoder_door.run, 1_000, 20),
    "codecs": Door(codec_door.run, 500, 18),
    "settings": Door(config_door.run, 500, 9.9),
    "largest": Door(largest_door.run, 5, 0.1),
    "commands": Door(command_door.run, 50, 2),
}


def batches(inputs: int, only: str | None = None) -> dict[str, int]:
    """Returns how many batches each door gets, at least one.

    Args:
        inputs: how many inputs there are to be, about.
        only: the door that gets all of them; None: all doors, by their shares.
    """
    if only is not None:
        return {only: max(1, round(inputs / DOORS[only].batch))}
    return {name: max(1, round(inputs * door.share / 100 / door.batch)) for name, door in DOORS.items()}


def fuzz(
    seed: int, inputs: int, only: str | None = None, say: Callable[[str], None] = print
) -> tuple[dict[str, int], list[str]]:
    """Gives the doors so many inputs, about, the doors in turn.

    Args:
        seed: the seed.
        inputs: how many.
        only: one door; None: all.
        say: takes lines of progress.

    Returns:
        How many inputs each door was given, and what was found.
    """
    whole, given, findings, told = batches(inputs, only), dict.fromkeys(DOORS, 0), list[str](), time.monotonic()
    left = dict(whole)
    while any(left.values()) and len(findings) < _ENOUGH:
        # The door that is furthest behind comes next, so that a run that is stopped early has been at all of them.
        name = max(left, key=lambda one: left[one] / whole[one])
        left[name] -= 1
        door, first = DOORS[name], given[name]
        try:
            door.run(seed, first, door.batch)
        except Finding as finding:
            findings.append(f"{name}, seed {seed}, batch {first}: {finding}")
            say(f"FOUND {findings[-1]}")
        given[name] += door.batch
        if time.monotonic() - told > _PROGRESS:
            told = time.monotonic()
            gc.collect()
            say(f"{sum(given.values()):,} inputs, {len(findings)} findings")
    return given, findings


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 1 where something was found."""
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="Give every door inputs that nobody meant.")
    parser.add_argument("--inputs", type=int, default=1_000_000, metavar="N", help="about how many [1000000]")
    parser.add_argument("--seed", type=int, default=None, metavar="S", help="of an earlier run; else a new one")
    parser.add_argument("--only", choices=sorted(DOORS), metavar="DOOR", help=f"one of {', '.join(DOORS)}")
    parser.add_argument("--batch", type=int, metavar="FIRST", help="with --seed and --only: one batch, as findings say")
    options = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    if options.batch is not None:
        door = DOORS[options.only or parser.error("--batch needs --only")]
        door.run(seed, options.batch, door.batch)
        return 0
    began = time.monotonic()
    given, findings = fuzz(seed, options.inputs, options.only, lambda line: print(line, flush=True))
    counts = ", ".join(f"{name} {count:,}" for name, count in given.items() if count)
    print(f"{sum(given.values()):,} inputs in {time.monotonic() - began:.0f} s ({counts}), {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
