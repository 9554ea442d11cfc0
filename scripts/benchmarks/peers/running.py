"""Runs drivers: starts each in a session of its own, reads its figures under a deadline, and leaves nothing running."""

from __future__ import annotations

import json
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.peers.plan import FOLDER_PREFIX, STEPS
from benchmarks.rows import Sizes

#: Seconds in which a process that was killed must be gone.
GONE_LIMIT = 10.0


#: Tasks a second that the slowest peer does on a machine that others load too; below that it hangs.
SLOWEST = 50


@dataclass(frozen=True)
class Limits:
    """How long a driver may take.

    Args:
        start: seconds to the first step's begin, broker and connections included.
        step: seconds from one line of the driver to the next.
    """

    start: float
    step: float


def limits_for(tasks: int) -> Limits:
    """Return limits that fit a bulk of so many tasks: they are there to end what hangs, not what is slow."""
    return Limits(start=120.0, step=120.0 + tasks / SLOWEST)


@dataclass
class Found:
    """What the drivers of one peer said.

    Args:
        settings: how the peer was set up.
        durability: one sentence.
        values: each measure's figure.
        counts: of how many tasks it is.
        left_out: why a measure has no figure.
    """

    settings: str = ""
    durability: str = ""
    values: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


class _Failure(Exception):
    """A driver ended before it was done, or said nothing for too long."""


class _Lines:
    """The lines of a pipe, each with a deadline."""

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._rest = b""
        self._selector = selectors.DefaultSelector()
        self._selector.register(pipe, selectors.EVENT_READ)

    def next(self, seconds: float) -> dict[str, Any]:
        """Return the next line's fields; fail after so many seconds or at the end of the pipe."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._rest:
            if not self._selector.select(max(0.0, deadline - time.monotonic())):
                raise _Failure(f"no figure within {seconds:g} s")
            data = os.read(self._pipe.fileno(), 65536)
            if not data:
                raise _Failure("the driver ended")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        fields: dict[str, Any] = json.loads(line)
        return fields

    def close(self) -> None:
        """Stop watching the pipe."""
        self._selector.close()


def measure(
    command: Sequence[str], environment: Mapping[str, str], sizes: Sizes, limits: Limits, steps: Sequence[str] = ()
) -> Found:
    """Run a peer's driver until every step has its figures or a reason why not.

    A driver that fails or hangs in a step costs that step only: it is ended and started again with those behind.

    Args:
        command: starts the driver.
        environment: variables of its own.
        sizes: how many tasks the steps take.
        limits: how long it may take.
        steps: which; all of them by default.
    """
    found = Found()
    remaining = list(steps or STEPS)
    while remaining:
        step, reason = _one_driver(command, environment, sizes, limits, remaining, found)
        failed = [step] if step else [] if reason is None else list(remaining)
        for name in failed:
            for missing in STEPS[name]:
                found.left_out.setdefault(missing, f"failed: {reason}")
            remaining.remove(name)
        if reason is None:
            break
    return found


def _one_driver(
    command: Sequence[str],
    environment: Mapping[str, str],
    sizes: Sizes,
    limits: Limits,
    remaining: list[str],
    found: Found,
) -> tuple[str | None, str | None]:
    """Run a driver once; take finished steps off; return the step that failed, and why (or None and None)."""
    folder = Path(tempfile.mkdtemp(prefix=FOLDER_PREFIX))
    options = ("--steps", ",".join(remaining), "--sizes", json.dumps(asdict(sizes)))
    with (folder / "driver.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *options],
            env={**os.environ, **environment},
            cwd=folder,
            stdin=subprocess.PIPE,  # its end tells the driver that we are gone
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    step: list[str] = []
    try:
        _read(process, limits, remaining, found, step)
    except _Failure as failure:
        return (step[0] if step else None), f"{failure}{_last_words(folder)}"
    finally:
        end_session(process)
        shutil.rmtree(folder, ignore_errors=True)
    return None, None


def _read(
    process: subprocess.Popen[bytes], limits: Limits, remaining: list[str], found: Found, step: list[str]
) -> None:
    """Take in a driver's lines until it is done; `step` holds the name of the one under way."""
    lines = _Lines(process.stdout)
    seconds = limits.start
    try:
        while True:
            line = lines.next(seconds)
            if "done" in line:
                return
            if "settings" in line:
                found.settings, found.durability = line["settings"], line["durability"]
            elif "begin" in line:
                seconds = limits.step
                step[:] = [line["begin"]]
            elif "measure" in line:
                found.values[line["measure"]] = line["value"]
                found.counts[line["measure"]] = line["count"]
            elif "left_out" in line:
                for measure in STEPS[line["left_out"]]:
                    found.left_out[measure] = line["reason"]
            finished = line.get("end") or line.get("left_out")
            if finished:
                remaining.remove(finished)
                step.clear()
    finally:
        lines.close()


def _last_words(folder: Path) -> str:
    """Return the last line that a driver and its processes logged, to say with a failure."""
    for name in ("driver.log", *sorted(path.name for path in folder.glob("*.log") if path.name != "driver.log")):
        lines = (folder / name).read_text(errors="replace").strip().splitlines()
        if lines:
            return f" ({name}: {lines[-1][:300]})"
    return ""


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Kill a driver, all in its session and their children, whatever group they are in; wait until they are gone."""
    left = _session(process.pid)
    for one in left:
        try:
            one.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue  # it ended by itself meanwhile
    process.wait(GONE_LIMIT)
    for pipe in (process.stdin, process.stdout):
        if pipe:
            pipe.close()
    deadline = time.monotonic() + GONE_LIMIT
    while any(_runs(one) for one in left):
        if time.monotonic() > deadline:
            raise RuntimeError(f"processes of a peer do not end: {[one for one in left if _runs(one)]}; kill them")
        time.sleep(0.01)


def _runs(process: psutil.Process) -> bool:
    """Say whether a process still runs; one that ended and that nobody has asked for does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _session(leader: int) -> list[psutil.Process]:
    """Return the processes of a session, where orphans stay, and those below them that began one of their own."""
    found: list[psutil.Process] = []
    for pid in psutil.pids():
        try:
            if os.getsid(pid) == leader:
                process = psutil.Process(pid)
                found += [process, *(child for child in process.children(recursive=True) if child not in found)]
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue  # it ended meanwhile, or is none of ours
    return found
