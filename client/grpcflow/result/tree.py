"""Results from places in a graph, and results as tuples that can be stored.

Pure: asks nobody.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from grpcflow import ids
from grpcflow.result.group import GroupResult
from grpcflow.result.single import AsyncResult

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.lower.model import Outcome

__all__ = ["described", "restored", "result_from_tuple", "result_of", "tuple_of"]


def result_of(app: "Grpcflow", graph: bytes, outcome: "Outcome") -> AsyncResult[Any] | GroupResult:
    """Return the result for a place in a graph.

    Args:
        app: The app that submitted the graph.
        graph: The 12 bytes of the graph id.
        outcome: The place.
    """
    if outcome.members is None:
        return AsyncResult._placed(app, graph, outcome)
    group = GroupResult(outcome.id, app=app)
    group._bind(graph, outcome)
    return group


def tuple_of(result: AsyncResult[Any] | GroupResult) -> tuple[Any, Any]:
    """Return a result as nested tuples: ((id, parent), members)."""
    line: list[AsyncResult[Any] | GroupResult] = []
    current: AsyncResult[Any] | GroupResult | None = result
    while current is not None:
        line.append(current)
        current = current.parent
    shown: Any = None
    for step in reversed(line):
        members = [tuple_of(member) for member in step.results] if isinstance(step, GroupResult) else None
        shown = ((step.id, shown), members)
    return cast("tuple[Any, Any]", shown)


def result_from_tuple(r: Sequence[Any], app: "Grpcflow | None" = None) -> AsyncResult[Any] | GroupResult:
    """Return the result that ``as_tuple`` described.

    Args:
        r: What ``as_tuple`` returned; lists may stand for tuples.
        app: The app whose coordinator knows it; None: the current one.
    """
    line: list[Sequence[Any]] = []
    current: Sequence[Any] | None = r
    while current is not None:
        line.append(current)
        current = current[0][1]
    result: AsyncResult[Any] | GroupResult | None = None
    for (task_id, _), members in reversed(line):
        if members is None:
            result = AsyncResult(task_id, app=app, parent=result)
        else:
            result = GroupResult(task_id, [result_from_tuple(m, app) for m in members], app=app, parent=result)
    return cast("AsyncResult[Any] | GroupResult", result)


def described(result: GroupResult) -> dict[str, Any]:
    """Return a group as plain data, small where its members are calls with nothing around them; for ``restored``."""
    if result._by_hand or result._outcome is None:
        return {"tuple": tuple_of(result)}
    return {"graph": result._graph.hex(), "line": _outcome_line(result._outcome)}


def restored(data: dict[str, Any], app: "Grpcflow | None" = None) -> GroupResult:
    """Return the group that ``described`` wrote down; what was linked to it is not known any more."""
    if "tuple" in data:
        return cast("GroupResult", result_from_tuple(data["tuple"], app))
    graph = bytes.fromhex(data["graph"])
    outcome = _outcome_of(data["line"])
    made = GroupResult(outcome.id or ids.node_id(graph, outcome.node), app=app)
    made._bind(graph, outcome)
    return made


def _outcome_line(outcome: "Outcome") -> list[list[Any]]:
    """Return a place in a graph and those before it as plain data, the last first."""
    line: list[list[Any]] = []
    current: Outcome | None = outcome
    while current is not None:
        members = current.members
        shown = (
            None
            if members is None
            else [list(m) if isinstance(m, tuple) else {"line": _outcome_line(m)} for m in members]
        )
        line.append([current.node, current.id, shown])
        current = current.parent
    return line


def _outcome_of(line: list[list[Any]]) -> "Outcome":
    """Return the place in a graph that ``_outcome_line`` wrote down."""
    from grpcflow.lower.model import Outcome

    outcome: Outcome | None = None
    for node, own_id, shown in reversed(line):
        members = (
            None if shown is None else [_outcome_of(m["line"]) if isinstance(m, dict) else (m[0], m[1]) for m in shown]
        )
        outcome = Outcome(node, own_id, outcome, members)
    return cast("Outcome", outcome)
