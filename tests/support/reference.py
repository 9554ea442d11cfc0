"""The reference evaluator: what a canvas may come to, found by running it in process in the most obvious way.

It walks the canvas as it was written, recursively and in order, and knows nothing of nodes, edges, workers or time.
What a cluster decides by a race is a *set* here: where several header members fail, any of them may be the first.

May NOT import grpcflow: the judge shares no code with the judged.

The rules (each has its test in tests/canvas/test_reference.py):

* An empty chain hands on what it is given, and so to its links; where it is all there is, it comes to nothing.
* An empty group, or a chain of nothing but such, is [], and so for its links. As a step of a chain it is skipped, and
  what follows it gets what came before it; as a body, as a member and alone it is a group like any other.
* What is skipped cannot fail: its errbacks never run.
* A value is prepended to the arguments of what follows, to those of every member of a group; an immutable call
  ignores it. Partial arguments of the whole canvas enter in the same way, with keyword arguments merged.
* In a chain nested chains splice, groups in groups flatten, a group of one is its member, an empty group is skipped.
* A group's value is the list of its members' values; a chord's body gets that list, and [] from an empty header.
* A failing step fails all behind it in its chain with the same error, and their errbacks stay silent, because nothing
  of theirs went wrong. That holds for whole groups and chords behind it, too.
* A failing member fails its group with the same error; the other members still run. A call behind the group fails
  with a ChordError of its own and its errbacks fire; a group behind it fails with the members' error, errbacks firing.
* Every callback runs once: links on success, errbacks on failure. What becomes of a callback changes nothing else.
* A call that raises Ignore has no value and no failure: what is behind it in its chain does not run and is ignored,
  and a group that it is a member of fails.
* A call that replaces itself ends as its replacement does, with callbacks and errbacks of its own; a header member
  that adds another one to its chord appends a value to the list.
* A call that is revoked or has expired fails without running. A revoked one does so before anything else happens, so
  that its error, not that of an earlier step, is what all behind it get.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from tests.support import functions as names
from tests.support import shapes
from tests.support.shapes import Canvas

Functions = Mapping[str, Callable[..., Any]]

#: What an errback gets in place of the failed task's id, which no reference can know.
FAILED_ID: Final = "<failed id>"
#: What an errback of the other style gets in place of the exception and its traceback.
FAILED_ERROR: Final = "<exception>"
FAILED_TRACE: Final = "<traceback>"


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception that a task raised."""

    type_name: str
    message: str


@dataclass(frozen=True, slots=True)
class ChordFailed:
    """The ChordError of a body: a member of its header failed with *cause*."""

    cause: "Error"


Error = Raised | ChordFailed

#: What a revoked and what an expired call fail with, and what a group fails with because of an ignored member.
REVOKED: Final = Raised("TaskRevokedError", "revoked")
EXPIRED: Final = Raised("TaskRevokedError", "expired")
IGNORED: Final = Raised("Ignored", "")
#: What a replacement with nothing is refused with.
EMPTY_REPLACEMENT: Final = Raised("ImproperlyConfigured", "an empty chain replaces nothing")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a canvas may come to.

    Attributes:
        value: The final value as canonical JSON text; None where it fails or is ignored.
        errors: The errors it may end with; empty where it succeeds or is ignored.
        runs: How often each call runs, callbacks and retries included, by the text that `describe_call` gives.
    """

    value: str | None
    errors: frozenset[Error]
    runs: Counter[str]

    @property
    def ignored(self) -> bool:
        """True where it has neither a value nor a failure."""
        return self.value is None and not self.errors


def canonical(value: Any) -> str:
    """Returns *value* as JSON text that is equal for equal values."""
    return json.dumps(value, sort_keys=True)


def describe_call(task: str, args: Sequence[Any], kwargs: Mapping[str, Any], via: str = "") -> str:
    """Returns one call as text; *via* is "map" or "starmap" where one task calls another for each item."""
    return f"{via}{' ' if via else ''}{task}{canonical([list(args), dict(kwargs)])}"


def call_function(
    functions: Functions, task: str, args: Sequence[Any], kwargs: Mapping[str, Any], via: str = ""
) -> Any:
    """Returns what a call gives, as it comes back from JSON; lets the function's exception through."""
    function = functions[task]
    match via:
        case "map":
            value = [function(item) for item in args[0]]
        case "starmap":
            value = [function(*item) for item in args[0]]
        case _:
            value = function(*args, **kwargs)
    return json.loads(json.dumps(value))


def evaluate(
    canvas: Canvas, functions: Functions, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
) -> Outcome:
    """Runs *canvas* with partial *args* and *kwargs* and returns what it may come to.

    Args:
        canvas: The signature as a dict, as the user wrote it.
        functions: The tasks by name.
        args: Prepended to the arguments of the first step.
        kwargs: Merged into its keyword arguments; these win.
    """
    run = _Run(functions)
    end = run.canvas(canvas, _Given(tuple(args), dict(kwargs or {})))
    match end:
        case _Success():
            return Outcome(canonical(end.value), frozenset(), run.calls)
        case _Failure():
            return Outcome(None, end.errors, run.calls)
        case _Ignored():
            return Outcome(None, frozenset(), run.calls)


# ------------------------------------------------------------------------------------------------ what flows


@dataclass(frozen=True, slots=True)
class _Given:
    """A step may start, with these in front of its own arguments."""

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


class _Spread(Enum):
    """How a failure reaches the next step."""

    PASS = "same error, errbacks silent"
    CHORD = "ChordError, errbacks fire"
    BODY = "same error, errbacks fire"


@dataclass(frozen=True, slots=True)
class _Broken:
    """A step will never start, because what it waits for failed; *early*: before anything else happened."""

    errors: frozenset[Error]
    spread: _Spread
    early: bool = False


@dataclass(frozen=True, slots=True)
class _Skipped:
    """A step will never start, because what it waits for was ignored."""


@dataclass(frozen=True, slots=True)
class _Success:
    value: Any


@dataclass(frozen=True, slots=True)
class _Ignored:
    """A canvas ended without value and without failure."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """A canvas failed.

    Attributes:
        errors: What it may have failed with.
        joined: Its end is a group.
        inherited: Its end only passes on what failed before it.
        loud: Something in it failed on its own account, so that errbacks of the whole of it fire.
        early: It failed before anything else happened.
    """

    errors: frozenset[Error]
    joined: bool = False
    inherited: bool = False
    loud: bool = True
    early: bool = False


_Start = _Given | _Broken | _Skipped
_End = _Success | _Failure | _Ignored


def _failed(error: Error, *, early: bool = False) -> _Failure:
    """Returns the end of a call that failed on its own account."""
    return _Failure(frozenset([error]), early=early)


def _next_start(previous: _End) -> _Start:
    """Returns how the end of one step reaches the next; a group that follows makes BODY of CHORD itself."""
    match previous:
        case _Success():
            return _Given((previous.value,))
        case _Ignored():
            return _Skipped()
        case _Failure():
            passes = previous.inherited or not previous.joined
            return _Broken(previous.errors, _Spread.PASS if passes else _Spread.CHORD, previous.early)


# ------------------------------------------------------------------------------------------------ the walk


class _Run:
    """One evaluation: the functions, and what has been called so far."""

    def __init__(self, functions: Functions) -> None:
        self.functions = functions
        self.calls: Counter[str] = Counter()
        #: For each group that is being run, from the outermost on: the ends of what its members added to it.
        self.grown: list[list[_End]] = []

    def canvas(self, canvas: Canvas, start: _Start) -> _End:
        """Runs one canvas of any kind to its end, callbacks included."""
        if shapes.is_nothing(canvas):
            return self._passed_by(canvas, start)
        match shapes.kind(canvas):
            case "task" | "xmap" | "xstarmap":
                end = self._call(canvas, start)
            case "chain":
                end = self._chain(canvas, start)
            case "group":
                end = self._group(shapes.members(canvas), start)
                self._skip_all(shapes.empty_chains(canvas), start)
            case "chunks":
                end = self._group(shapes.starmaps(canvas), start)
            case "chord":
                end = self._chord(canvas, start)
            case other:
                raise AssertionError(f"unknown kind of canvas: {other}")
        self._call_back(shapes.callbacks(canvas, "link"), shapes.callbacks(canvas, "link_error"), end)
        return end

    def _call_back(self, links: Sequence[Canvas], errbacks: Sequence[Canvas], end: _End) -> None:
        if isinstance(end, _Success):
            for callback in links:
                self.canvas(callback, _Given((end.value,)))
        elif isinstance(end, _Failure) and end.loud:
            for errback in errbacks:
                self.canvas(errback, _Given((FAILED_ID,)))

    def _skip_all(self, skipped: Sequence[Canvas], start: _Start) -> None:
        for canvas in skipped:
            self._skip(canvas, start)

    def _skip(self, canvas: Canvas, start: _Start) -> None:
        """Runs what is linked to a part that stands for nothing, and to what is in it."""
        if not isinstance(start, _Given):
            return
        self._skip_all(canvas["kwargs"]["tasks"], start)
        given = start.args if shapes.is_nothing(canvas) else ([],)
        # Not those of groups in a group, for each of them is skipped itself.
        for link in canvas["options"].get("link") or []:
            self.canvas(link, _Given(given))

    def _passed_by(self, canvas: Canvas, start: _Start) -> _End:
        """Runs an empty chain: it ends as what came before it."""
        self._skip(canvas, start)
        match start:
            case _Given():
                return _Success(start.args[0] if start.args else None)
            case _Skipped():
                return _Ignored()
            case _Broken():
                return _Failure(start.errors, inherited=True, loud=False, early=start.early)

    def _call(self, canvas: Canvas, start: _Start) -> _End:
        options = canvas["options"]
        if options.get("task_id", "").startswith("revoked"):
            return _failed(REVOKED, early=True)
        if isinstance(start, _Skipped):
            return _Ignored()
        if isinstance(start, _Broken):
            errors = start.errors
            if start.spread is _Spread.CHORD:
                errors = frozenset[Error](ChordFailed(cause) for cause in errors)
            silent = start.spread is _Spread.PASS
            return _Failure(errors, inherited=silent, loud=not silent, early=start.early)
        if options.get("expires", 1) <= 0:
            return _failed(EXPIRED)
        return self._performed(*_bound(canvas, start))

    def _performed(self, task: str, args: list[Any], kwargs: dict[str, Any], via: str) -> _End:
        """Runs a call as often as it asks for, with all that it does besides."""
        if task == names.SORRY and args[:1] == [FAILED_ID]:
            args = [FAILED_ID, FAILED_ERROR, FAILED_TRACE, *args[1:]]
        attempts = min(args[-2:]) + 1 if task == names.FLAKY else 1
        self.calls[describe_call(task, args, kwargs, via)] += attempts
        match task:
            case names.FLAKY if args[-2] > args[-1]:
                return _failed(Raised("ValueError", "flaky"))
            case names.IGNORE:
                return _Ignored()
            case names.REJECT:
                return _failed(Raised("Reject", str(args[-1])))
            case names.BECOMES:
                return self._replaced(args[-1])
            case names.GROWS if not shapes.is_nothing(args[-1]):
                self.grown[-1].append(self.canvas(args[-1], _Given()))
        try:
            return _Success(call_function(self.functions, task, args, kwargs, via))
        except Exception as error:
            return _failed(Raised(type(error).__name__, str(error)))

    def _replaced(self, canvas: Canvas) -> _End:
        """A call that replaces itself fails as its replacement, but on its own account and as a call."""
        if shapes.is_nothing(canvas):
            return _failed(EMPTY_REPLACEMENT)
        end = self.canvas(canvas, _Given())
        return _Failure(end.errors) if isinstance(end, _Failure) else end

    def _chain(self, canvas: Canvas, start: _Start) -> _End:
        ends: list[_End] = []
        for step, counts in shapes.parts(canvas):
            if counts:
                ends.append(self.canvas(step, start))
                start = _next_start(ends[-1])
            else:
                self._skip(step, start)
        if not ends:
            return self._group([], start)
        last = ends[-1]
        if not isinstance(last, _Failure):
            return last
        return replace(last, loud=any(isinstance(end, _Failure) and end.loud for end in ends))

    def _group(self, members: Sequence[Canvas], start: _Start) -> _End:
        if isinstance(start, _Broken) and start.spread is _Spread.CHORD:
            start = replace(start, spread=_Spread.BODY)
        self.grown.append([])
        ends = [self.canvas(member, start) for member in members]
        ends += self.grown.pop()
        early = [end.errors for end in ends if isinstance(end, _Failure) and end.early]
        if early and not (isinstance(start, _Broken) and start.early):
            return _Failure(frozenset[Error]().union(*early), joined=True, early=True)
        if isinstance(start, _Skipped):
            return _Ignored()
        if isinstance(start, _Broken):
            silent = start.spread is _Spread.PASS
            return _Failure(start.errors, joined=True, inherited=silent, loud=not silent, early=start.early)
        errors = [end.errors for end in ends if isinstance(end, _Failure)]
        errors += [frozenset[Error]([IGNORED]) for end in ends if isinstance(end, _Ignored)]
        if errors:
            return _Failure(frozenset[Error]().union(*errors), joined=True)
        return _Success([end.value for end in ends if isinstance(end, _Success)])

    def _chord(self, canvas: Canvas, start: _Start) -> _End:
        header, body = shapes.header_group(canvas), canvas["kwargs"]["body"]
        end: _End | None = None
        if shapes.members(header):
            end = self.canvas(header, start)
            start = _next_start(end)
        else:
            self._skip(header, start)
            start = _Given(([],)) if isinstance(start, _Given) else start
        if not shapes.is_nothing(body):
            return self.canvas(body, start)
        # A chord without a body is the group that its header is, and carries the callbacks of both.
        end = end or self._group([], start)
        self._skip_all(body["kwargs"]["tasks"], start)
        self._call_back(shapes.callbacks(body, "link"), shapes.callbacks(body, "link_error"), end)
        return end


def _bound(canvas: Canvas, given: _Given) -> tuple[str, list[Any], dict[str, Any], str]:
    """Returns the call that a signature makes of what it is given: task, args, kwargs and via."""
    kind = shapes.kind(canvas)
    if kind in {"xmap", "xstarmap"}:
        return canvas["kwargs"]["task"]["task"], [canvas["kwargs"]["it"]], {}, kind[1:]
    if canvas.get("immutable"):
        return canvas["task"], list(canvas["args"]), dict(canvas["kwargs"]), ""
    return canvas["task"], [*given.args, *canvas["args"]], {**canvas["kwargs"], **given.kwargs}, ""
