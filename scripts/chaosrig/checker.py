"""Proves from a history that nothing was lost, changed, repeated or stuck; each rule a function of its own.

Pure: it reads the history and nothing else, and shares nothing with what made it but the form of the records.

Attempts of a node are in the order of their tokens, which the coordinator only lets grow: the greatest is the latest.
A run that was begun twice is excused where a fault hit the earlier attempt: its worker, child or link, or the
coordinator, at a time at which that could have lost it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from chaosrig.history import Begun, History, Hit, Outcome, Promise

#: Seconds by which a revoke must have been acknowledged before the call was due, to count.
_MARGIN: Final = 0.5

#: Seconds that children of a killed worker may outlive it.
_LAST_WORDS: Final = 1.0

#: What a call that may run once only may come to where its worker was lost.
_LOST: Final = "WorkerLostError"


@dataclass(frozen=True, slots=True)
class Finding:
    """A breach: which rule, and what shows it."""

    rule: str
    text: str


class Case:
    """A history, arranged for looking things up.

    Args:
        history: what happened.
        slack: seconds after a fault in which an attempt may still be lost by it: the time that a silent peer gets, the
            grace, and what a busy machine adds.
        revoke_within: seconds from the call to when it is due, of calls that are to be revoked.
    """

    def __init__(self, history: History, slack: float = 15.0, revoke_within: float = 6.0) -> None:
        self.history = history
        self.slack = slack
        self.revoke_within = revoke_within
        self.final = {one.node: one for one in history.outcome}
        self.invoked = {one.op: one for one in history.invoked}
        self.promises: dict[str, Promise] = {}
        self.promised_by: dict[str, str] = {}
        for answer in history.answered:
            for promise in answer.promises:
                self.promises[promise.node] = promise
                self.promised_by[promise.node] = answer.op
        self.runs: dict[str, list[Begun]] = defaultdict(list)
        for run in history.begun:
            self.runs[run.node].append(run)
        for runs in self.runs.values():
            runs.sort(key=lambda run: (run.token, run.at))
        self.ends = {(one.node, one.token): one.at for one in history.ended}

    def excuse(self, lost: Begun, before: float) -> Hit | None:
        """Return what may have lost an attempt before a moment; None: nothing did.

        A fault of the worker, child or link itself goes before one of the coordinator.
        """
        hits = [hit for hit in self.history.hit if self._may_lose(hit, lost, before)]
        return min(hits, key=lambda hit: (hit.role == "coordinator", -hit.at), default=None)

    def _may_lose(self, hit: Hit, lost: Begun, before: float) -> bool:
        if hit.role == "client" or hit.kind == "leave" or hit.at > before or hit.until + self._reach(hit) < lost.at:
            return False
        touched = lost.pid in hit.pids or lost.parent in hit.pids or (hit.role, hit.name) == ("worker", lost.worker)
        return touched or hit.role == "coordinator"

    def _reach(self, hit: Hit) -> float:
        """Return for how long after a fault attempts begin that it may lose: a process that was killed begins none."""
        if hit.kind == "kill" and hit.role != "coordinator":
            return _LAST_WORDS
        return self.slack if hit.role != "coordinator" else self.slack / 2


def _lost(case: Case) -> Iterator[Finding]:
    """No acknowledged task is lost."""
    for node in case.promises:
        final = case.final.get(node)
        if final is None or final.state == "PENDING":
            state = "unknown" if final is None else "not settled"
            yield Finding("lost", f"{node}, acknowledged to {case.promised_by[node]}, is {state} at the end")


def _kept(promise: Promise, final: Outcome, case: Case) -> bool:
    if final.state == "SUCCESS":
        if promise.how == "shared":
            return any(run.key == promise.key for run in case.runs.get(str(final.value), ()))
        return bool(final.value == promise.value)
    return (promise.how, final.state) in {("once", _LOST), ("revoked", "TaskRevokedError")}


def _results(case: Case) -> Iterator[Finding]:
    """Each result is what was to come out, and stays what clients were told."""
    for node, promise in case.promises.items():
        final = case.final.get(node)
        if final is not None and final.state != "PENDING" and not _kept(promise, final, case):
            text = f"{node} is {final.state} {final.value!r}, and was to be {promise.how} {promise.value!r}"
            yield Finding("result", text)
    for saw in case.history.saw:
        final = case.final.get(saw.node)
        if final is not None and (final.state, final.value) != (saw.state, saw.value):
            told = f"{saw.state} {saw.value!r} to {saw.op} at {saw.at:.3f}"
            yield Finding("changed", f"{saw.node} was {told}, and is {final.state} {final.value!r} at the end")


def _settled_again(case: Case) -> Iterator[Finding]:
    """What has settled is not handed out again; an attempt that was given up may begin late where its worker was hit.

    The latest attempt was given up only where its task may run once only and was said to be lost.
    """
    told: dict[str, float] = {}
    for saw in case.history.saw:
        told[saw.node] = min(saw.at, told.get(saw.node, saw.at))
    for node, at in told.items():
        runs, final = case.runs.get(node, []), case.final.get(node)
        current = runs[-1] if runs and (final is None or final.state != _LOST) else None
        for run in runs:
            if run.at > at and (run is current or case.excuse(run, run.at) is None):
                text = f"{node} settled before {at:.3f} and began again at {run.at:.3f} with token {run.token:x}"
                yield Finding("settled again", text)


def _stuck(case: Case) -> Iterator[Finding]:
    """No graph is left unfinished."""
    for one in case.history.unfinished:
        yield Finding("stuck", f"graph {one.graph} has not ended: {one.note}")


def _duplicates(case: Case) -> Iterator[Finding]:
    """A run is repeated only where its attempt was lost, and no attempt runs twice but for one that died unsent."""
    for node, earlier, later in _repeated(case):
        if earlier.token == later.token:
            if _died_unsent(case, earlier, later):
                continue
            yield Finding("attempt twice", f"{node}: token {earlier.token:x} began at {earlier.at:.3f}, {later.at:.3f}")
        elif case.excuse(earlier, max(earlier.at, later.at)) is None:
            where = f"in process {earlier.pid} of {earlier.parent}, which nothing had hit"
            text = f"{node} {earlier.key!r} began at {earlier.at:.3f} {where}, and again at {later.at:.3f}"
            yield Finding("duplicate", text)


def _died_unsent(case: Case, earlier: Begun, later: Begun) -> bool:
    """Return whether a value died with the child that had it, so that its worker ran the attempt in another child.

    Values of short tasks wait for 2 ms in their child. Of tasks that may run once only such an attempt is given up.
    """
    killed = (hit for hit in case.history.hit if hit.kind == "kill" and earlier.pid in hit.pids)
    siblings = earlier.parent == later.parent and earlier.pid != later.pid
    return siblings and any(earlier.at <= hit.until and hit.at <= later.at for hit in killed)


def _repeated(case: Case) -> Iterator[tuple[str, Begun, Begun]]:
    """Yields neighbouring attempts of one node that are of the same retry."""
    for node, runs in case.runs.items():
        for earlier, later in pairwise(runs):
            if later.retries <= earlier.retries:
                yield node, earlier, later


def _one_call(case: Case) -> Iterator[Finding]:
    """A key of a single call belongs to one node: no submission is taken twice."""
    nodes: dict[str, set[str]] = defaultdict(set)
    for run in case.history.begun:
        if run.key and run.task != "chaos.unique":
            nodes[run.key].add(run.node)
    for key, found in nodes.items():
        if len(found) > 1:
            yield Finding("submitted twice", f"{key} ran as {', '.join(sorted(found))}")


def _at_most_once(case: Case) -> Iterator[Finding]:
    """A task that may run once begins once, and fails for a lost worker only where something was hit."""
    for node, runs in case.runs.items():
        if runs[0].task == "chaos.once" and len(runs) > 1:
            yield Finding("at most once", f"{node} began {len(runs)} times: {[round(run.at, 3) for run in runs]}")
    for node, promise in case.promises.items():
        final = case.final.get(node)
        if promise.how == "once" and final is not None and final.state == _LOST:
            runs = case.runs.get(node, [])
            if runs and case.excuse(runs[0], runs[0].at + case.slack) is None:
                yield Finding("given up", f"{node} failed as lost, and nothing had hit who ran it at {runs[0].at:.3f}")


def _ticks(case: Case) -> Iterator[Finding]:
    """Each tick of a schedule is one graph; the time of a tick stands in the first 48 bits of its id."""
    for schedule in case.history.ticks:
        nodes = {node for node, runs in case.runs.items() if runs[0].task == schedule.task}
        found = Counter(int(node.replace("-", "")[:12], 16) for node in nodes)
        wanted = set(range(schedule.first, schedule.last + 1, schedule.period))
        for tick in sorted(wanted - found.keys()):
            yield Finding("tick missing", f"the tick at {tick} did not run")
        for tick, count in sorted(found.items()):
            if count > 1 or tick not in wanted:
                yield Finding("tick too many", f"{count} calls for the tick at {tick}")


def _revokes(case: Case) -> Iterator[Finding]:
    """A call whose revoke was acknowledged before it was due does not run."""
    for answer in case.history.answered:
        asked = case.invoked.get(answer.op)
        if asked is None or asked.kind != "revoke" or answer.how != "ok":
            continue
        submitted = case.invoked[case.promised_by[asked.about]]
        if answer.at < submitted.at + case.revoke_within - _MARGIN and case.runs.get(asked.about):
            text = f"{asked.about} ran, though its revoke was acknowledged at {answer.at:.3f}, before it was due"
            yield Finding("revoked", text)


def _unique(case: Case) -> Iterator[Finding]:
    """Two unique calls of one key do not run at once, unless an attempt of the earlier one was lost."""
    by_key: dict[str, list[Begun]] = defaultdict(list)
    for run in case.history.begun:
        if run.task == "chaos.unique":
            by_key[run.key].append(run)
    for key, runs in by_key.items():
        runs.sort(key=lambda run: run.at)
        for earlier, later in pairwise(runs):
            end = case.ends.get((earlier.node, earlier.token))
            meets = end is not None and later.at < end and earlier.node != later.node
            if meets and case.excuse(earlier, later.at) is None:
                text = f"{key}: {earlier.node} from {earlier.at:.3f} to {end:.3f}, {later.node} from {later.at:.3f}"
                yield Finding("unique", text)


def _refused(case: Case) -> Iterator[Finding]:
    """No operation is refused for good: all that clients ask for can be done."""
    for answer in case.history.answered:
        if answer.how == "error":
            yield Finding("refused", f"{answer.op}: {answer.note}")


RULES: Final[tuple[Callable[[Case], Iterator[Finding]], ...]] = (
    *(_lost, _results, _settled_again, _stuck, _duplicates, _one_call),
    *(_at_most_once, _ticks, _revokes, _unique, _refused),
)


def findings(case: Case) -> list[Finding]:
    """Return every breach of every rule."""
    return [finding for rule in RULES for finding in rule(case)]


def excused(case: Case) -> Counter[str]:
    """Return how many repeated runs there are, by what excuses them."""
    counts: Counter[str] = Counter()
    for _node, earlier, later in _repeated(case):
        hit = case.excuse(earlier, max(earlier.at, later.at))
        if hit is not None:
            counts[f"{hit.kind} {hit.role}"] += 1
    return counts


def counted(case: Case) -> dict[str, Any]:
    """Return how much there is in a history, for the report."""
    answers = Counter(answer.how for answer in case.history.answered)
    return {
        "operations": len(case.history.invoked),
        **{how: answers[how] for how in ("ok", "unknown", "error")},
        "acknowledged calls": len(case.promises),
        "runs": len(case.history.begun),
        "results read": len(case.history.saw),
        "ticks": sum((one.last - one.first) // one.period + 1 for one in case.history.ticks),
    }
