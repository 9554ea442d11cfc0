"""The checker of the chaos rig: a clean history passes, and each planted breach is found by the rule that is for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chaosrig.checker import RULES, Case, excused, findings
from chaosrig.history import (
    Answered,
    Begun,
    Ended,
    History,
    Hit,
    Invoked,
    Journal,
    Outcome,
    Promise,
    Record,
    Saw,
    Ticks,
    Unfinished,
    history_in,
)

#: The process that runs it and its worker; and another pair.
CHILD, WORKER = 11, 10
OTHER_CHILD, OTHER_WORKER = 21, 20


def begun(node: str, at: float, token: int = 1, **more: Any) -> Begun:
    fields: dict[str, Any] = {"retries": 0, "key": f"key-{node}", "task": "chaos.work", "worker": "w1"}
    return Begun(at=at, node=node, token=token, **({**fields, "pid": CHILD, "parent": WORKER} | more))


def call(node: str, at: float, value: Any = 7, how: str = "value", key: str = "") -> list[Record]:
    """A call that is submitted and acknowledged."""
    promise = Promise(node, value, how, key or f"key-{node}")
    return [Invoked(at, f"op-{node}", "single"), Answered(at + 0.1, f"op-{node}", "ok", (promise,))]


def clean() -> list[Record]:
    """One call that ran, was read, and is there at the end."""
    return [
        *call("a", 1.0),
        begun("a", 1.2),
        Ended(1.3, "a", 1),
        Saw(1.4, "op-a", "a", "SUCCESS", 7),
        Outcome("a", "SUCCESS", 7),
    ]


def checked(records: list[Record]) -> Case:
    history = History()
    for record in records:
        history.add(record)
    return Case(history, slack=2.0)


def rules_of(records: list[Record]) -> set[str]:
    return {finding.rule for finding in findings(checked(records))}


def hit(at: float, until: float, *pids: int, kind: str = "kill", role: str = "worker") -> Hit:
    return Hit(at, until, kind, role, "w", pids)


def without(*kinds: type) -> list[Record]:
    return [record for record in clean() if not isinstance(record, kinds)]


def revoked(acknowledged: float) -> list[Record]:
    """A call that was revoked, and ran."""
    ran: list[Record] = [begun("r", 8.0), Outcome("r", "SUCCESS", 7)]
    asked: list[Record] = [Invoked(1.2, "op-revoke", "revoke", "r"), Answered(acknowledged, "op-revoke", "ok")]
    return [*call("r", 1.0, how="revoked"), *asked, *ran]


def unique_pair(later: float) -> list[Record]:
    """Two unique calls of one key, of which the first runs from 1 to 2."""
    fields: dict[str, Any] = {"task": "chaos.unique", "key": "shared"}
    return [begun("u", 1.0, **fields), Ended(2.0, "u", 1), begun("v", later, 2, **fields), Ended(later + 1, "v", 2)]


def ticks(*moments: int) -> list[Record]:
    nodes = [f"{moment:012x}-{number}" for number, moment in enumerate(moments)]
    return [Ticks("chaos.tick", 1000, 3000, 1000), *(begun(node, 1.0, task="chaos.tick", key="") for node in nodes)]


def once(state: str, *runs: Begun) -> list[Record]:
    return [*call("o", 1.0, how="once"), *runs, Outcome("o", state, 7 if state == "SUCCESS" else None)]


PLANTED: dict[str, tuple[str, Callable[[], list[Record]]]] = {
    "no record at the end": ("lost", lambda: without(Outcome)),
    "not settled at the end": ("lost", lambda: [*without(Saw, Outcome), Outcome("a", "PENDING", None)]),
    "another value": ("result", lambda: [*without(Saw, Outcome), Outcome("a", "SUCCESS", 8)]),
    "a failure of what cannot fail": (
        "result",
        lambda: [*without(Saw, Outcome), Outcome("a", "WorkerLostError", None)],
    ),
    "a client saw another value": ("changed", lambda: [*clean(), Saw(1.5, "op-b", "a", "SUCCESS", 8)]),
    "a client saw a failure": ("changed", lambda: [*clean(), Saw(1.5, "op-b", "a", "RemoteError", None)]),
    "handed out once settled": ("settled again", lambda: [*clean(), begun("a", 1.6, 2), hit(1.1, 1.7, WORKER)]),
    "an old attempt begins late, and nothing hit it": (
        "settled again",
        lambda: [*clean(), begun("a", 1.6, 0, pid=OTHER_CHILD, parent=OTHER_WORKER), hit(1.1, 1.7, WORKER)],
    ),
    "a graph without an end": ("stuck", lambda: [*clean(), Unfinished("g", "RUNNING")]),
    "twice for no reason": ("duplicate", lambda: [*clean(), begun("a", 1.25, 2)]),
    "twice, and another worker was hit": (
        "duplicate",
        lambda: [*clean(), begun("a", 1.25, 2), hit(1.21, 1.22, OTHER_WORKER)],
    ),
    "twice, and its worker was hit later": (
        "duplicate",
        lambda: [*clean(), begun("a", 1.25, 2), hit(1.3, 1.4, WORKER)],
    ),
    "twice, and its worker was hit long before": (
        "duplicate",
        lambda: [begun("b", 10.0), begun("b", 11.0, 2), hit(1.0, 2.0, WORKER)],
    ),
    "twice, and a client was hit": (
        "duplicate",
        lambda: [*clean(), begun("a", 1.25, 2), hit(1.21, 1.22, WORKER, role="client")],
    ),
    "the same attempt twice": ("attempt twice", lambda: [*clean(), begun("a", 1.25), hit(1.21, 1.22, WORKER)]),
    "the same attempt twice in one child": (
        "attempt twice",
        lambda: [*clean(), begun("a", 1.25), hit(1.21, 1.22, CHILD, role="child")],
    ),
    "the same attempt twice, and its child was killed before": (
        "attempt twice",
        lambda: [*clean(), begun("a", 1.25, pid=OTHER_CHILD), hit(1.1, 1.15, CHILD, role="child")],
    ),
    "the same attempt twice, and its child was killed later": (
        "attempt twice",
        lambda: [*clean(), begun("a", 1.25, pid=OTHER_CHILD), hit(1.3, 1.4, CHILD, role="child")],
    ),
    "the same attempt twice, and its child was stopped": (
        "attempt twice",
        lambda: [*clean(), begun("a", 1.25, pid=OTHER_CHILD), hit(1.21, 1.22, CHILD, kind="stop", role="child")],
    ),
    "the same attempt on two workers": (
        "attempt twice",
        lambda: [
            *clean(),
            begun("a", 1.25, pid=OTHER_CHILD, parent=OTHER_WORKER),
            hit(1.21, 1.22, CHILD, role="child"),
        ],
    ),
    "one submission is two graphs": ("submitted twice", lambda: [*clean(), begun("b", 1.2, key="key-a")]),
    "twice, and another child was hit": (
        "duplicate",
        lambda: [*clean(), begun("a", 1.25, 2), hit(1.21, 1.22, OTHER_CHILD, role="child")],
    ),
    "twice, and its worker left in peace": (
        "duplicate",
        lambda: [*clean(), begun("a", 1.25, 2), Hit(1.21, 1.22, "leave", "worker", "w1")],
    ),
    "twice, on the successor of a worker that was killed": (
        "duplicate",
        lambda: [begun("b", 4.0), begun("b", 4.5, 2), Hit(1.9, 2.0, "kill", "worker", "w1")],
    ),
    "at most once begins twice": (
        "at most once",
        lambda: [
            *once("SUCCESS", begun("o", 1.2, task="chaos.once"), begun("o", 1.4, 2, task="chaos.once")),
            hit(1.3, 1.35, WORKER),
        ],
    ),
    "given up without a fault": ("given up", lambda: once("WorkerLostError", begun("o", 1.2, task="chaos.once"))),
    "a tick does not fire": ("tick missing", lambda: ticks(1000, 3000)),
    "a tick fires twice": ("tick too many", lambda: ticks(1000, 2000, 2000, 3000)),
    "a tick between two": ("tick too many", lambda: ticks(1000, 1500, 2000, 3000)),
    "a revoked call runs": ("revoked", lambda: revoked(1.5)),
    "unique calls meet": ("unique", lambda: unique_pair(1.5)),
    "the value of no call of the key": (
        "result",
        lambda: [*unique_pair(3.0), *call("x", 1.0, None, "shared", "shared"), Outcome("x", "SUCCESS", "a")],
    ),
    "an operation is refused": ("refused", lambda: [Answered(1.0, "op", "error", note="InvalidRequest")]),
}

FINE: dict[str, Callable[[], list[Record]]] = {
    "one call": clean,
    "twice, since its child was killed": lambda: [*clean(), begun("a", 1.25, 2), hit(1.21, 1.22, CHILD, role="child")],
    "twice, since its worker was": lambda: [*clean(), begun("a", 1.25, 2), hit(1.21, 1.22, WORKER)],
    "twice, since the coordinator was": lambda: [*clean(), begun("a", 1.25, 2), hit(1.21, 1.22, role="coordinator")],
    "twice, since its link broke a while ago": lambda: [
        *(begun("b", 3.0), begun("b", 4.0, 2), hit(1.9, 2.0, WORKER, kind="cut")),
    ],
    "twice, since its worker, by name, was parted": lambda: [
        *(*clean(), begun("a", 1.25, 2)),
        Hit(1.1, 1.24, "part", "worker", "w1"),
    ],
    "the same attempt in another child, since the value died with the first one": lambda: [
        *(*clean(), begun("a", 1.25, pid=OTHER_CHILD)),
        hit(1.19, 1.21, CHILD, role="child"),
    ],
    "a retry": lambda: [*clean(), begun("a", 1.25, 2, retries=1)],
    "a superseded attempt begins late on a worker that was stopped": lambda: [
        *(*clean(), begun("a", 1.6, 0, pid=OTHER_CHILD, parent=OTHER_WORKER)),
        hit(1.1, 1.5, OTHER_WORKER, kind="stop"),
    ],
    "once": lambda: once("SUCCESS", begun("o", 1.2, task="chaos.once")),
    "lost, and once only": lambda: [
        *once("WorkerLostError", begun("o", 1.2, task="chaos.once")),
        hit(1.3, 1.3, WORKER),
    ],
    "lost, and begins on its worker when that is no longer stopped": lambda: [
        *once("WorkerLostError", begun("o", 1.6, task="chaos.once")),
        *(Saw(1.4, "op-o", "o", "WorkerLostError", None), hit(1.1, 1.5, WORKER, kind="stop")),
    ],
    "each tick once": lambda: ticks(1000, 2000, 3000),
    "revoked too late": lambda: revoked(7.5),
    "unique calls, one after the other": lambda: unique_pair(2.1),
    "unique calls meet, since the first was lost": lambda: [*unique_pair(1.5), hit(1.2, 1.3, WORKER)],
    "the value of another call of the key": lambda: [
        *(*unique_pair(3.0), *call("x", 1.0, None, "shared", "shared"), Outcome("x", "SUCCESS", "u")),
    ],
}


@pytest.mark.parametrize("name", PLANTED)
def test_each_planted_breach_is_found_by_its_rule(name: str) -> None:
    rule, planted = PLANTED[name]
    also = {"duplicate"} if rule == "settled again" else set()
    assert {rule} <= rules_of(planted()) <= {rule, *also}


@pytest.mark.parametrize("name", FINE)
def test_what_may_be_is_no_finding(name: str) -> None:
    assert findings(checked(FINE[name]())) == []


def test_no_rule_is_without_a_planted_breach() -> None:
    for rule in RULES:
        assert any(list(rule(checked(planted()))) for _, planted in PLANTED.values()), rule.__name__


def test_what_excuses_a_repeated_run_is_counted_and_the_coordinator_comes_last() -> None:
    repeated = [*clean(), begun("a", 1.25, 2), hit(1.21, 1.22, role="coordinator")]
    assert excused(checked(repeated)) == {"kill coordinator": 1}
    assert excused(checked([*repeated, hit(1.21, 1.22, WORKER, kind="part")])) == {"part worker": 1}
    assert not excused(checked(clean()))


def test_a_history_comes_back_from_its_files_as_it_was_written(tmp_path: Path) -> None:
    records: list[Record] = [*clean(), hit(1.0, 2.0, 1, 2), Unfinished("g", "x"), *ticks(1000)]
    journals = Journal(tmp_path / "a.jsonl"), Journal(tmp_path / "b.jsonl")
    for number, record in enumerate(records):
        journals[number % 2].write(record)
    for journal in journals:
        journal.close()
    assert findings(Case(history_in(tmp_path), slack=2.0)) == findings(checked(records))
    assert sorted(map(repr, history_in(tmp_path).begun)) == sorted(map(repr, checked(records).history.begun))
