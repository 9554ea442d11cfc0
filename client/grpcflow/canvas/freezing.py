"""Ids before sending: ``freeze`` gives every end in a canvas an id, and makes the results that sending will give.

What ends where is said by ``grpcflow.lower``; this follows it. It has a stack of its own instead of Python's. It may
not import grpc, protobuf or the codec.
"""

import uuid
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from grpcflow.canvas.parts import is_empty, listed
from grpcflow.canvas.walks import separated

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.canvas.signature import Signature
    from grpcflow.result import AsyncResult, GroupResult

__all__ = ["frozen"]

_Result: TypeAlias = "AsyncResult[Any] | GroupResult"
#: Asks for a part to be frozen, with an id that it must have and one that it gets where it has none; gives the results
#: of its end and of what it begins with.
_Freezing: TypeAlias = (
    "Generator[tuple[Signature, str | None, str | None], tuple[_Result, _Result], tuple[_Result, _Result]]"
)

_COMPOSED: Final = frozenset({"chain", "group", "chord"})


def frozen(sig: "Signature", task_id: str | None) -> _Result:
    """Fix the ids of a canvas and return its result; an id that is there stays.

    Args:
        sig: The canvas.
        task_id: Id of its end, where it has none; None: a new one.

    Raises:
        ValueError: It is an empty chain, or holds a chord without a body.
    """
    separated(sig)
    app = sig.app
    stack = [_part(app, sig, None, task_id)]
    ends: Any = None  # a generator must be sent None first
    while stack:
        try:
            stack.append(_part(app, *stack[-1].send(ends)))
            ends = None
        except StopIteration as ended:
            stack.pop()
            ends = ended.value
    result: _Result = ends[0]
    return result


def _part(app: "Grpcflow", sig: "Signature", forced: str | None, wanted: str | None) -> _Freezing:
    """Return the freezing of one part, by its kind."""
    kind = sig.subtask_type
    if kind == "chain":
        return _chain(app, sig, forced, wanted)
    if kind == "group":
        return _group(app, sig, forced, wanted)
    return _chord(app, sig, forced, wanted) if kind == "chord" else _call(app, sig, forced, wanted)


def _call(app: "Grpcflow", sig: "Signature", forced: str | None, wanted: str | None) -> _Freezing:
    result = app.AsyncResult(_fixed(sig, forced, wanted))
    yield from ()  # a generator like the others, that asks for nothing
    return result, result


def _chain(app: "Grpcflow", chain: "Signature", forced: str | None, wanted: str | None) -> _Freezing:
    steps = _steps(chain, forced)
    if not steps:
        if is_empty(chain):
            raise ValueError("an empty chain has no result, so it has no id to fix")
        result = app.GroupResult(_fixed(chain, forced, wanted))
        return result, result
    first: _Result | None = None
    previous: _Result | None = None
    for position, (step, step_id) in enumerate(steps):
        end, begin = yield step, step_id, wanted if position + 1 == len(steps) else None
        if previous is None:
            first = begin
        else:
            begin.parent = previous
        previous = end
    assert previous is not None  # there is at least one step
    assert first is not None
    return previous, first


def _group(app: "Grpcflow", group: "Signature", forced: str | None, wanted: str | None) -> _Freezing:
    results: list[_Result] = []
    for member in members(group):
        if member["subtask_type"] in _COMPOSED:
            results.append((yield member, None, None)[0])
        else:
            results.append(app.AsyncResult(_fixed(member, None, None)))
    result = app.GroupResult(_fixed(group, forced, wanted), results)
    return result, result


def _chord(app: "Grpcflow", chord: Any, forced: str | None, wanted: str | None) -> _Freezing:
    body = chord.kwargs.get("body")
    if body is None:
        raise ValueError("this chord has no body: write chord(header, body) or chord(header)(body)")
    header = chord.header
    own = forced or chord.options.get("task_id")
    before: _Result | None = None
    if members(header):
        if is_empty(body):  # the list of the header is the value
            chord.options.pop("task_id", None)
            return (yield header, own, wanted)
        before = (yield header, None, None)[0]
    elif is_empty(body):
        result = app.GroupResult(_fixed(chord, forced, wanted))
        return result, result
    chord.options.pop("task_id", None)  # the body carries it now
    end, begin = yield body, own, wanted
    if before is None:
        return end, begin
    begin.parent = before
    return end, before


def _fixed(sig: "Signature", forced: str | None, wanted: str | None) -> str:
    """Return the id of a part, after setting it."""
    chosen: str = forced or sig.options.get("task_id") or wanted or str(uuid.uuid4())
    sig.options["task_id"] = chosen
    return chosen


class _End:
    """Marks the end of a spliced chain: the id that its last step has to have."""

    __slots__ = ("begin", "task_id")

    def __init__(self, task_id: str | None, begin: int) -> None:
        self.task_id = task_id
        self.begin = begin


def _steps(chain: "Signature", forced: str | None) -> "list[tuple[Signature, str | None]]":
    """Return the steps that a chain really has, each with the id that it has to have.

    Chains in it are spliced, a group of one is its member, empty ones are skipped; their ids go to their ends.
    """
    found: list[tuple[Signature, str | None]] = []
    carriers: list[Signature] = []
    waiting: list[Signature | _End] = [chain]
    while waiting:
        current = waiting.pop()
        if isinstance(current, _End):
            if current.task_id and len(found) > current.begin:
                found[-1] = found[-1][0], current.task_id
            continue
        spliced = listed(current) if current.subtask_type == "chain" else None
        if current.subtask_type == "group":
            inner = members(current)
            spliced = inner if len(inner) <= 1 else None
        if spliced is None:
            found.append((current, None))
            continue
        carriers.append(current)
        task_id = (forced if current is chain else None) or current.options.get("task_id")
        waiting.append(_End(task_id, len(found)))
        waiting.extend(reversed(spliced))
    if found:
        for carrier in carriers:
            carrier.options.pop("task_id", None)  # the steps carry it now
    return found


def members(group: "Signature") -> "list[Signature]":
    """Return the members of a group, with those of groups directly in it in their place, without empty chains."""
    found: list[Signature] = []
    waiting: list[Signature] = list(reversed(listed(group)))
    while waiting:
        current = waiting.pop()
        if current["subtask_type"] == "group":
            waiting.extend(reversed(listed(current)))
        elif not is_empty(current):
            found.append(current)
    return found
