"""The command scripts/chaos: rounds of faults on a real cluster, then the proof."""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.cluster.warm import WARM

from chaosrig.cluster import ChaosCluster
from chaosrig.history import history_in
from chaosrig.rig import Shape, Verdict, run, story_of

#: Nodes and operations, as findings name them.
_NAMES: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\bc\d+\.\d+:\d+\b")


def main() -> int:
    """Run what the command line says; return the exit code: 0 no finding, 1 findings."""
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=100, help="faults [100]")
    parser.add_argument("--minutes", type=float, default=60.0, help="end after so long, even with rounds left [60]")
    parser.add_argument("--seed", type=int, help="seed of the run [a new one]")
    parser.add_argument("--workers", type=int, default=3, help="workers, each with two children [3]")
    parser.add_argument("--clients", type=int, default=4, help="client processes [4]")
    parser.add_argument("--keep", type=Path, help="folder for data, logs and history [a temporary one]")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    print(f"seed: {seed}", flush=True)
    shape = Shape(options.rounds, options.minutes * 60, options.workers, options.clients)
    with tempfile.TemporaryDirectory("-chaos") as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        cluster = ChaosCluster(folder, seed)
        began = time.monotonic()
        try:
            verdict = run(cluster, shape, seed)
        except AssertionError:
            print(cluster.logs())
            print("the last faults:", *history_in(cluster.history).hit[-20:], sep="\n  ")
            raise
        finally:
            cluster.stop()
            WARM.close()
        tell(verdict, cluster.history, time.monotonic() - began)
    print(f"{len(verdict.findings)} findings; seed: {seed}")
    return 1 if verdict.findings else 0


def tell(verdict: Verdict, history: Path, seconds: float) -> None:
    """Print what came of a run, and of each finding the story of its node."""
    print(f"{verdict.kills} kills in {seconds:.0f} s; faults: {dict(sorted(verdict.faults.items()))}")
    print(f"history: {verdict.counts}")
    print(f"runs repeated, by what excuses them: {dict(verdict.excuses) or 'none'}")
    for finding in verdict.findings:
        print(f"\n{finding.rule.upper()}: {finding.text}")
        for name in _NAMES.findall(finding.text)[:2]:
            print("  " + "\n  ".join(story_of(history, name)))


if __name__ == "__main__":
    sys.exit(main())
