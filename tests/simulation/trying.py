"""Runs worlds and says what is wrong with them: as a plan that was cut down while it goes on to fail, and a trace.

Greedy and bounded; the smallest plan is not promised, a readable one is.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from tests.simulation.judging import judge
from tests.simulation.planning import EVERYTHING, Plan, Profile, plan_of
from tests.simulation.world import World

#: What differs between two failures of one kind.
_NUMBERS: Final = re.compile(r"[0-9a-f]{8,}|\d+")
#: Lines of a trace that are shown.
_SHOWN: Final = 80


@dataclass(slots=True)
class Tried:
    """What became of a world.

    Attributes:
        plan: What was to happen in it.
        turns: How many events there were.
        error: What was wrong; None: nothing.
        lines: What happened, where it was traced.
    """

    plan: Plan
    turns: int
    error: Exception | None
    lines: list[str]

    @property
    def kind(self) -> str:
        """What kind of failure it is; empty for none."""
        if self.error is None:
            return ""
        return _NUMBERS.sub("#", f"{type(self.error).__name__} {self.error}")[:50]


@contextmanager
def _quiet() -> Iterator[None]:
    """Let the product log nothing meanwhile: its disks are full and its daemons die all the time."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def try_plan(plan: Plan, *, traced: bool = False) -> Tried:
    """Run a world to its end and judge it."""
    world = World(plan, traced=traced)
    error: Exception | None = None
    with _quiet():
        try:
            world.run()
            judge(world)
        except Exception as found:
            error = found
    return Tried(plan, world.clockwork.turns, error, list(world.lines))


def shrunk(tried: Tried, tries: int = 120) -> Tried:
    """Return a failure of the same kind with fewer parts, traced.

    Args:
        tried: One that fails.
        tries: Most runs of smaller ones.
    """
    progress = True
    while progress and tries > 0:
        progress = False
        for plan in _smaller(tried.plan):
            tries -= 1
            again = try_plan(plan)
            if again.kind == tried.kind:
                tried, progress = again, True
                break
            if tries <= 0:
                break
    return try_plan(tried.plan, traced=True)


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Yield plans with half of the faults, orders or jobs gone, then with one of them gone, then checked more often."""
    for name in ("faults", "orders", "jobs"):
        parts = getattr(plan, name)
        half = len(parts) // 2
        if half > 1:
            yield replace(plan, **{name: parts[:half]})
            yield replace(plan, **{name: parts[half:]})
    for name in ("faults", "orders", "jobs"):
        parts = getattr(plan, name)
        for at in range(len(parts)):
            yield replace(plan, **{name: parts[:at] + parts[at + 1 :]})
    for at, job in enumerate(plan.jobs):
        if job.twice or job.watched:
            plain = replace(job, twice=False, watched=False)
            yield replace(plan, jobs=(*plan.jobs[:at], plain, *plan.jobs[at + 1 :]))
    if plan.every > 1:
        yield replace(plan, every=1)


def report(tried: Tried, small: Tried | None = None) -> str:
    """Return what people need to know of a world that fails: its seed, the least that still fails, and a trace."""
    small = small or shrunk(tried)
    lines = small.lines[-_SHOWN:]
    return "\n".join(
        [
            f"world {tried.plan.seed} fails: {type(tried.error).__name__}: {tried.error}",
            f"again, alone: scripts/simulate --world {tried.plan.seed}",
            "",
            f"cut down to (it fails with {type(small.error).__name__}: {small.error}):",
            str(small.plan),
            "",
            f"the last {len(lines)} lines of its trace:",
            *lines,
        ]
    )


def first_failure(first: int, count: int, profile: Profile = EVERYTHING) -> tuple[int, Tried | None]:
    """Run neighbouring worlds until one fails; return how many events there were, and the one that fails."""
    turns = 0
    for seed in range(first, first + count):
        tried = try_plan(plan_of(seed, profile))
        turns += tried.turns
        if tried.error is not None:
            return turns, tried
    return turns, None
