"""One run of the rig: puts a cluster up, loads it, has it hurt, heals it, and writes down what the records say then.

What it means is for the checker.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tests.cluster.harness import LIMIT, wait_for

from chaosrig.chaos_tasks import tick
from chaosrig.checker import Case, Finding, counted, excused, findings
from chaosrig.client import seen
from chaosrig.cluster import SLACK, ChaosCluster
from chaosrig.history import Answered, Hit, Journal, Outcome, Ticks, Unfinished, history_in
from chaosrig.nemesis import Nemesis
from chaosrig.plans import REVOKE_WITHIN
from grpcflow import AsyncResult
from grpcflow.schedules import schedule
from grpcflow.states import PENDING

#: The schedule's name, and milliseconds between its ticks.
_SCHEDULE: Final = "chaos"
_PERIOD: Final = 500

#: Seconds that everything gets to end once all has healed.
_REST: Final = 90.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How long a run is, and how much there is in it.

    Attributes:
        rounds, seconds: the faults end with whichever ends first.
        workers, clients: how many there are.
        runs: the load goes on until so many tasks have begun; a slow machine takes longer for them.
    """

    rounds: int
    seconds: float
    workers: int = 3
    clients: int = 4
    runs: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of a run: breaches, faults by kind, what there was, and what excused repeated runs."""

    findings: list[Finding]
    faults: Counter[str]
    kills: int
    counts: dict[str, int]
    excuses: Counter[str]


def run(cluster: ChaosCluster, shape: Shape, seed: int) -> Verdict:
    """Run one history on a new cluster and check it.

    Args:
        cluster: where; nothing of it runs yet. Who made it stops it.
        shape: how long, and how much.
        seed: where all choices come from; the moments at which things happen are the machine's.

    Raises:
        AssertionError: a process did not do what it was told, or the cluster could not be healed.
    """
    journal = Journal(cluster.history / "rig.jsonl")
    nemesis = Nemesis(cluster, random.Random(seed), journal)
    first = _put_up(cluster, shape)
    until = time.monotonic() + shape.seconds
    for _ in range(shape.rounds):
        nemesis.round()
        cluster.assert_alive()
        if time.monotonic() > until:
            break
    wait_for(f"{shape.runs} tasks to begin", lambda: _have_begun(cluster, shape.runs), _REST)
    _heal(cluster, journal, first)
    _write_finals(cluster, journal)
    journal.close()
    case = Case(history_in(cluster.history), cluster.slack, REVOKE_WITHIN)
    breaches = findings(case) + _checked_records(cluster)
    return Verdict(breaches, nemesis.counts, nemesis.kills, counted(case), excused(case))


def _have_begun(cluster: ChaosCluster, runs: int) -> bool:
    """Return whether so many tasks have begun; a worker that was shot as it started may say so only now."""
    cluster.assert_alive()
    return len(history_in(cluster.history).begun) >= runs


def _have_ended(cluster: ChaosCluster) -> bool:
    """Return whether every graph has ended."""
    cluster.man_again()
    return not next(iter(cluster.app.graphs(unfinished=True, limit=1)), None)


def _put_up(cluster: ChaosCluster, shape: Shape) -> int:
    """Start everything, and return the time of the schedule's first tick."""
    cluster.serve()
    for number in range(shape.workers):
        cluster.man(f"w{number}")
    every = schedule(_PERIOD / 1000)
    cluster.app.schedules.add(_SCHEDULE, every, tick.s(), catch_up_all=True)
    known = cluster.app.schedules.get(_SCHEDULE)
    first = min([*known.next, *(past.time for past in known.history)])  # it may have fired meanwhile
    for number in range(shape.clients):
        cluster.enlist(f"c{number}", ("threads", "asyncio")[number % 2])
    return _milliseconds(first.timestamp())


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def _heal(cluster: ChaosCluster, journal: Journal, first: int) -> None:
    """Have clients and the schedule end, and wait until nothing is left to do; write what does not end."""
    for name, client in cluster.clients.items():
        wait_for(f"client {name} to heed what it is told", partial(cluster.heeds, name))
        client.process.popen.terminate()
    for client in cluster.clients.values():
        code = client.process.popen.wait(LIMIT)
        assert code == 0, f"client {client.name} ended with {code}"
    cluster.app.schedules.pause(_SCHEDULE)
    fired = [past for past in cluster.app.schedules.get(_SCHEDULE).history if past.outcome == "fired"]
    last = _milliseconds(fired[0].time.timestamp())
    journal.write(Ticks(tick.name, first, last, _PERIOD))
    began = time.monotonic()
    try:
        wait_for("all graphs to end", lambda: _have_ended(cluster), _REST)
    except AssertionError:
        for summary in cluster.app.graphs(unfinished=True, attached=True):
            journal.write(
                Unfinished(str(summary.id), f"{summary.state}, {time.monotonic() - began:.0f} s after all healed")
            )


def _write_finals(cluster: ChaosCluster, journal: Journal) -> None:
    """Write what the records say of every call that was acknowledged or seen."""
    history = history_in(cluster.history)
    nodes = {promise.node for answer in history.answered for promise in answer.promises}
    for node in sorted(nodes | {saw.node for saw in history.saw}):
        result: AsyncResult[object] = cluster.app.AsyncResult(node)
        if result.ready():
            journal.write(Outcome(node, *seen(result.get(timeout=LIMIT, propagate=False))))
        else:
            journal.write(Outcome(node, PENDING, None))


def _checked_records(cluster: ChaosCluster) -> list[Finding]:
    """Have every index compared with the records, by the coordinator's own command on a cluster that rests."""
    command = [sys.executable, "-m", "grpcflow_coordinator", "--data", str(cluster.folder / "data"), "check"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=_REST, check=False)
    return [] if told.returncode == 0 else [Finding("records", f"{told.stdout}{told.stderr}"[-2000:])]


def story_of(folder: Path, name: str) -> list[str]:
    """Return the minimal history of a node or an operation: all that names it, and the faults meanwhile, in order."""
    history = history_in(folder)
    promised = [one for one in history.answered if _is_about(one, name)]
    ops = {one.op for one in promised}
    asked = [one for one in history.invoked if one.op in ops or one.about == name]
    runs = [one for one in history.begun if one.node == name]
    after = [one for kind in (history.ended, history.saw) for one in kind if one.node == name]
    lines = [(one.at, repr(one)) for one in (*asked, *promised, *runs, *after)]
    if lines:
        since, until = min(lines)[0] - SLACK, max(lines)[0]
        pids = {pid for one in runs for pid in (one.pid, one.parent)}
        names = {one.worker for one in runs} | {op.partition(".")[0] for op in ops}
        meanwhile = [hit for hit in history.hit if since < hit.until and hit.at < until]
        lines += [(hit.at, repr(hit)) for hit in meanwhile if _touches(hit, names, pids)]
    outcomes = [repr(one) for one in history.outcome if one.node == name]
    return [f"{at:.3f} {text}" for at, text in sorted(lines)] + outcomes


def _is_about(answer: Answered, name: str) -> bool:
    return answer.op == name or any(promise.node == name for promise in answer.promises)


def _touches(hit: Hit, names: set[str], pids: set[int]) -> bool:
    return hit.role == "coordinator" or hit.name in names or bool(pids.intersection(hit.pids))
