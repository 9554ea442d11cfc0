#!/usr/bin/env python3
"""Runs every check of the house: format, lint, types twice, import contracts, protocol, stubs, whether all tests can be
collected, then the fast tests.

    scripts/check              everything; goes on after a failure and names all that failed
    scripts/check --no-tests   the checks alone
    scripts/check NAME ...     only these, for example: scripts/check lint types

It runs in the interpreter that started it and changes nothing. Checks that do not need each other run side by side.
"""

import argparse
import os
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARIES = Path(sys.executable).parent
BASELINE = "protos/baseline.binpb"
TIMEOUT_SECONDS = 280
FAST_TESTS = [sys.executable, "-m", "pytest", "-q", "-m", "not cluster and not slow"]


@dataclass(frozen=True)
class Outcome:
    """How one check ended."""

    name: str
    code: int
    output: str
    seconds: float


def commands() -> dict[str, list[str]]:
    """Returns every check by name; the slowest first, because they set the time of the whole."""

    def tool(name: str, *arguments: str) -> list[str]:
        return [str(BINARIES / name), *arguments]

    return {
        "basedpyright": tool("basedpyright"),
        "types": tool("mypy"),
        "format": tool("ruff", "format", "--check"),
        "lint": tool("ruff", "check"),
        "imports": tool("lint-imports", "--no-cache"),
        "buf-lint": tool("buf", "lint", "protos"),
        "buf-breaking": tool("buf", "breaking", "protos", "--against", BASELINE),
        "stubs": [sys.executable, "scripts/gen_protos.py", "--check"],
        # What this compiles, pytest's own rewriting of asserts included, each session of tests would compile by itself.
        "collection": [sys.executable, "-m", "pytest", "--collect-only", "-qq"],
    }


def main() -> int:
    """Runs the chosen checks, prints what failed, and returns 1 when anything did."""
    known = commands()
    parser = argparse.ArgumentParser(description="Run all checks and the fast tests.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"only these: {', '.join(known)}")
    parser.add_argument("--no-tests", action="store_true", help="leave the fast tests out")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - known.keys())
    if unknown:
        parser.error(f"no such check: {', '.join(unknown)}; there are: {', '.join(known)}")
    failed = run_checks({name: known[name] for name in known if not arguments.names or name in arguments.names})
    if not (arguments.names or arguments.no_tests):
        print("fast tests", flush=True)
        if subprocess.run(FAST_TESTS, cwd=ROOT, stdin=subprocess.DEVNULL).returncode:
            failed.append("fast tests")
    print(f"FAILED: {', '.join(failed)}" if failed else "all checks passed", flush=True)
    return 1 if failed else 0


def run_checks(chosen: dict[str, list[str]]) -> list[str]:
    """Runs the checks side by side, prints each as it ends, and returns the names of those that failed."""
    failed = []
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 2)) as pool:
        running: list[Future[Outcome]] = [pool.submit(run, name, command) for name, command in chosen.items()]
        for future in running:
            outcome = future.result()
            print(f"{'ok    ' if outcome.code == 0 else 'FAILED'} {outcome.name} ({outcome.seconds:.1f} s)", flush=True)
            if outcome.code:
                print(outcome.output.rstrip(), flush=True)
                failed.append(outcome.name)
    return failed


def run(name: str, command: list[str]) -> Outcome:
    """Runs one check to its end or for at most TIMEOUT_SECONDS."""
    started = time.monotonic()
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECONDS,
        )
        code, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired:
        code, output = 124, f"still running after {TIMEOUT_SECONDS} s: {' '.join(command)}"
    except FileNotFoundError:
        code, output = 127, f"{command[0]} is not installed; run scripts/test once, it installs everything"
    return Outcome(name, code, output, time.monotonic() - started)


if __name__ == "__main__":
    sys.exit(main())
