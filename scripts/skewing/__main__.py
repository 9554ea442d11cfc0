"""The command scripts/skew: two states of the tree, combined under load and at rest, then replaced and rolled back."""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from skewing import golden
from skewing.trees import ROOT, Parts, SkewError, Tree, previous, tree_of

#: Options of a coordinator with which a few seconds at rest are many signs of life, and several silences.
QUICK: Final = ("--heartbeat", "0.5", "--silence", "1.5", "--grace", "0.5")

#: Seconds for which a worker has nothing to do.
REST: Final = 6.0


def main() -> int:
    """Run what the command line says; return the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/skew", description=__doc__)
    parser.add_argument("--against", metavar="COMMIT", help="the previous state [newest tag, else a good way back]")
    parser.add_argument("--seconds", type=float, default=4.0, help="load in each combination and between steps [4]")
    parser.add_argument("--only", choices=("combinations", "rest", "rollbacks"), help="one of the parts")
    parser.add_argument("--golden", nargs=2, metavar=("COMMIT", "FILE"), help="write golden data of a commit")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory("-skew") as folder:
        try:
            if options.golden:
                golden.make(options.golden[0], golden.anonymous_folder(), Path(options.golden[1]))
                return 0
            old = tree_of(options.against or previous(), Path(folder) / "old")
            new = Tree("this tree", ROOT)
            print(f"{old.name} against this tree, {options.seconds:g} s of load each", flush=True)
            found = 0
            for part in (combinations, rest, rollbacks):
                if options.only in (None, part.__name__):
                    found += part(old, new, Path(folder), options.seconds)
        except SkewError as error:
            print(f"FAILED  {error}")
            return 1
    print("nothing was found" if not found else f"{found} things were found")
    return 1 if found else 0


def combinations(old: Tree, new: Tree, folder: Path, seconds: float) -> int:
    """Run each combination of client, worker and coordinator; return how much was wrong."""
    found = 0
    for number, (client, worker, coordinator) in enumerate(itertools.product((old, new), repeat=3)):
        parts = Parts(folder / f"combination{number}")
        try:
            parts.coordinator(coordinator)
            parts.worker("w1", worker)
            seen = called(parts, client, seconds)
            said = f"client {client.name}, worker {worker.name}, coordinator {coordinator.name}"
            found += report(said, [seen], parts)
        finally:
            parts.close()
    return found


def called(parts: Parts, client: Tree, seconds: float) -> Mapping[str, Any]:
    """Let a client call for so long, then stop the worker and the coordinator; return what it saw."""
    parts.client("client", client)
    time.sleep(seconds)
    seen = parts.end_client("client")
    for name in ("w1", "coordinator"):
        parts.stop(name)
    return seen


def rest(old: Tree, new: Tree, folder: Path, seconds: float) -> int:
    """Let a worker of one state rest at a coordinator of the other, then call; return how much was wrong."""
    found = 0
    for worker, coordinator in ((old, new), (new, old)):
        parts = Parts(folder / f"rest-{coordinator is new}")
        try:
            parts.coordinator(coordinator, *QUICK)
            parts.worker("w1", worker)
            time.sleep(REST)
            connected = parts.whole_log("w1").count("connected to ")
            wrong = [] if connected == 1 else [f"while it rested the worker connected {connected} times"]
            seen = called(parts, worker, seconds)
            said = f"at rest for {REST:g} s, then called: worker {worker.name}, coordinator {coordinator.name}"
            found += report(said, [seen], parts, wrong)
        finally:
            parts.close()
    return found


def rollbacks(old: Tree, new: Tree, folder: Path, seconds: float) -> int:
    """Replace each part by the newer one, roll it back, and replace it again, while both clients call."""
    parts = Parts(folder / "rollbacks")
    steps = [("coordinator", new), ("coordinator", old), ("w1", new), ("coordinator", new), ("w1", old), ("w2", new)]
    steps += [("coordinator", old), ("w1", new), ("coordinator", new)]
    try:
        parts.coordinator(old)
        for name in ("w1", "w2"):
            parts.worker(name, old)
        parts.client("older", old)
        parts.client("newer", new)
        for name, tree in steps:
            time.sleep(seconds)
            print(f"        {name}: {parts.trees[name]} -> {tree.name}", flush=True)
            if name == "coordinator":
                parts.coordinator(tree)
            else:
                parts.worker(name, tree)
        time.sleep(seconds)
        seen = [parts.end_client(name) for name in ("older", "newer")]
        for name in ("w1", "w2", "coordinator"):
            parts.stop(name)
        return report(f"{len(steps)} replacements and rollbacks", seen, parts)
    finally:
        parts.close()


def report(said: str, seen: list[Mapping[str, Any]], parts: Parts, wrong: Sequence[str] = ()) -> int:
    """Print what came of one part, and what was wrong besides; return how much was wrong."""
    done: Counter[str] = Counter()
    for one in seen:
        done.update(one["done"])
    wrong = [*wrong, *(line for one in seen for line in one["wrong"])]
    wrong += [f"no {name} came to its end" for name, count in done.items() if not count]
    checked = subprocess.run(
        [sys.executable, "-m", "grpcflow_coordinator", "check", "--data", str(parts.folder / "data")],
        env=Tree("this tree", ROOT).environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if checked.returncode:
        wrong.append(f"the records do not agree: {(checked.stdout + checked.stderr).strip()[-500:]}")
    slowest = max(one["slowest"] for one in seen)
    state = "FAILED" if wrong else "ok"
    print(
        f"{state:7} {said}: {done.total():,} canvases, {len(parts.runs()):,} runs, slowest {slowest:.1f} s", flush=True
    )
    for line in wrong[:10]:
        print(f"        {line}", flush=True)
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())
