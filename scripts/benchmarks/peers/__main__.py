"""The peers alone: `python -m benchmarks.peers celery,huey`, with scripts/ on the path; rows as JSON lines."""

from __future__ import annotations

import argparse
import json

from benchmarks.peers import NAMES, run
from benchmarks.peers.plan import STEPS
from benchmarks.rows import SMALL, Sizes


def main() -> None:
    """Measure the peers that the command line names, and print their rows."""
    parser = argparse.ArgumentParser(description="Measure grpcflow's peers alone.")
    parser.add_argument("names", help=f"with commas between: {', '.join(NAMES)}; with -fsync behind: a synced Redis")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is measured (1)")
    parser.add_argument("--tasks", type=int, default=Sizes.tasks, help="tasks of a bulk (20000)")
    parser.add_argument("--steps", help=f"only some, with commas between: {', '.join(STEPS)}")
    parser.add_argument("--small", action="store_true", help="a few tasks of everything")
    options = parser.parse_args()
    steps = options.steps.split(",") if options.steps else ()
    sizes = SMALL if options.small else Sizes(tasks=options.tasks)
    try:
        rows = run(options.names.split(","), options.rounds, sizes, steps)
    except ValueError as error:
        parser.error(str(error))
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    main()
