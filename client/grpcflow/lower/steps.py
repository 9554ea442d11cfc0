"""The normal form of a canvas: chains spliced, groups of one unrolled, empty groups dropped.

Works on the dicts of signatures, whatever their class, and changes none of them. Pure; imports nothing of
grpcflow but the parts of a signature.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from grpcflow.canvas.parts import is_empty, merged_options

__all__ = [
    "IDEMPOTENCY",
    "NOTHING",
    "NOT_HANDED_DOWN",
    "OWN_OPTIONS",
    "Canvas",
    "Errback",
    "Given",
    "Step",
    "callbacks_of",
    "chunked",
    "effective_steps",
    "empty_chains",
    "members_of",
]

Canvas = Mapping[str, Any]

#: Options of a composed canvas that are not handed down to what it is composed of.
OWN_OPTIONS: Final = frozenset({"link", "link_error", "task_id"})
#: The option that holds for every call in a canvas, whatever other options do.
IDEMPOTENCY: Final = "idempotency_key"
NOT_HANDED_DOWN: Final = OWN_OPTIONS | {IDEMPOTENCY}


class Errback:
    """One errback and the indexes of all nodes whose failure fires it; it fires once.

    ``idempotency`` is the idempotency key of the first of these.
    """

    __slots__ = ("idempotency", "parents", "signature")

    def __init__(self, signature: Canvas) -> None:
        self.signature = signature
        self.parents: list[int] = []
        self.idempotency: Any = None


class Given:
    """What is handed down to a part of a canvas: arguments in front, keyword arguments, options that win.

    Args:
        args: Put in front of the arguments.
        kwargs: Merged into the keyword arguments.
        options: Merged into the options.
        sealed: True: it takes nothing from what ran before it, nor ``args`` and ``kwargs`` of later ones.
        idempotency: The idempotency key of all calls in it that have none of their own; None: there is none.
    """

    __slots__ = ("args", "idempotency", "kwargs", "options", "sealed")

    def __init__(
        self,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        sealed: bool = False,
        idempotency: Any = None,
    ) -> None:
        self.args = tuple(args)
        self.kwargs: Mapping[str, Any] = kwargs or {}
        self.options: Mapping[str, Any] = options or {}
        self.sealed = sealed
        self.idempotency = idempotency

    def after(self, value: Any) -> "Given":
        """Return the same behind a part whose value is known before anything runs."""
        if self.sealed:
            return self
        return Given((value, *self.args), self.kwargs, self.options, idempotency=self.idempotency)

    def into(self, canvas: Canvas) -> "Given":
        """Return what a composed canvas that is given this hands down to its parts."""
        own = {name: value for name, value in canvas["kwargs"].items() if name not in _COMPOSED_OF}
        if self is NOTHING and not (own or canvas["args"] or canvas["options"] or canvas["immutable"]):
            return NOTHING
        together = merged_options(canvas["options"], self.options)
        options = {name: value for name, value in together.items() if name not in NOT_HANDED_DOWN}
        args, kwargs = tuple(canvas["args"]), own
        if not (canvas["immutable"] or self.sealed):
            args, kwargs = (*self.args, *args), {**own, **self.kwargs}
        idempotency = canvas["options"].get(IDEMPOTENCY) or self.idempotency
        return Given(args, kwargs, options, bool(self.sealed or canvas["immutable"]), idempotency)


#: Names under which a composed canvas holds its parts, among its keyword arguments.
_COMPOSED_OF: Final = frozenset({"tasks", "header", "body", "task", "it", "n"})

#: Nothing is handed down.
NOTHING: Final = Given()


class Step:
    """A canvas in its place: what it is given, and the callbacks that it carries for what it stands in.

    ``skipped`` are the empty chains that stood among its members, where it is a group whose members were read.
    """

    __slots__ = ("canvas", "errbacks", "given", "links", "skipped", "task_id")

    def __init__(self, canvas: Canvas, given: Given = NOTHING, task_id: str = "") -> None:
        self.canvas = canvas
        self.given = given
        self.task_id = task_id
        self.links: list[Canvas] = []
        self.errbacks: list[Errback] = []
        self.skipped: list[Step] = []

    def all_links(self) -> list[Canvas]:
        """Return its own links and those that it carries."""
        return self.links + callbacks_of(self.canvas, "link", self.given)

    def idempotency(self) -> Any:
        """Return the idempotency key that holds for it; None: there is none."""
        return self.canvas["options"].get(IDEMPOTENCY) or self.given.idempotency

    def own_id(self) -> str:
        """Return the id that the user gave to the end of this step; empty where none was given."""
        return self.task_id or self.given.options.get("task_id") or self.canvas["options"].get("task_id") or ""


def callbacks_of(canvas: Canvas, option: str, given: Given = NOTHING) -> list[Canvas]:
    """Return the callbacks of a canvas and those that came as options, each once."""
    found: list[Canvas] = []
    for options in (canvas["options"], given.options):
        value = options.get(option)
        if value is None:
            continue
        for callback in (value,) if isinstance(value, Mapping) else value:
            if callback not in found:
                found.append(callback)
    return found


def chunked(canvas: Canvas) -> list[Canvas]:
    """Return the starmap calls that chunks stand for."""
    parts = canvas["kwargs"]
    items, size = parts["it"], parts["n"]
    return [
        {
            "task": "grpcflow.starmap",
            "args": (),
            "kwargs": {"task": parts["task"], "it": items[start : start + size]},
            "options": {},
            "subtask_type": "xstarmap",
            "immutable": True,
        }
        for start in range(0, len(items), size)
    ]


def tasks_of(canvas: Canvas) -> Iterable[Canvas]:
    """Return the parts of a chain or a group as they stand."""
    tasks: Iterable[Canvas] = canvas["kwargs"]["tasks"]
    return tasks


def members_of(step: Step) -> Iterator[tuple[Canvas, Given]]:
    """Yield the members of a group with what each is given; members of groups directly in it stand in its place.

    Callbacks of a group that stands directly in a group are carried by the outer one: ``step`` gets them. Empty chains
    are no members; ``step`` gets them as skipped.
    """
    waiting: list[tuple[Iterator[Canvas], Given]] = [(iter(tasks_of(step.canvas)), step.given.into(step.canvas))]
    while waiting:
        members, given = waiting[-1]
        for member in members:
            kind = member["subtask_type"]
            if kind == "group":
                step.links.extend(callbacks_of(member, "link"))
                step.errbacks.extend(map(Errback, callbacks_of(member, "link_error")))
                waiting.append((iter(tasks_of(member)), given.into(member)))
                break
            if kind != "chain" or not is_empty(member):
                yield member, given
            else:
                step.skipped += empty_chains(Step(member, given))
        else:
            waiting.pop()


class _End:
    """Marks the end of a spliced chain: what holds for its last step and for all of its steps."""

    __slots__ = ("begin", "step")

    def __init__(self, step: Step, begin: int) -> None:
        self.step = step
        self.begin = begin


def effective_steps(whole: Step) -> tuple[list[Step], dict[int, list[Step]]]:
    """Return the steps of a chain in normal form, and what was skipped by the number of steps before it.

    Chains in it are spliced, a group of one is its member, empty groups and chains are skipped; what a skipped
    first step was given goes to the step after it.
    """
    found: list[Step] = []
    skipped: dict[int, list[Step]] = {}
    waiting: list[Step | _End] = [whole]
    while waiting:
        current = waiting.pop()
        if isinstance(current, _End):
            if len(found) > current.begin:
                _close(current, found)
            elif current.step is not whole:
                skipped.setdefault(len(found), []).append(current.step)
            continue
        kind = current.canvas["subtask_type"]
        parts: list[Step] | None = None
        if kind == "chain":
            parts = _spliced(current)
        elif kind == "group":
            parts = _few_members(current)
            if current.skipped:
                skipped.setdefault(len(found), []).extend(current.skipped)
        if parts is None:
            found.append(current)
            continue
        waiting.append(_End(current, len(found)))
        if parts:
            waiting += parts
        else:
            _hand_on(current.given, waiting)
    return found, skipped


def empty_chains(step: Step) -> list[Step]:
    """Return an empty chain, and the chains in it, each with what it is given."""
    return [*effective_steps(step)[1].get(0, ()), step]


def _spliced(chain: Step) -> list[Step]:
    """Return the steps of one chain, last first; the first gets what the chain is given."""
    key = chain.idempotency()
    given = NOTHING if key is None else Given(idempotency=key)
    steps = [Step(canvas, given) for canvas in tasks_of(chain.canvas)]
    if steps:
        steps[0].given = chain.given.into(chain.canvas)
    steps.reverse()
    return steps


def _few_members(step: Step) -> list[Step] | None:
    """Return the members of a group that has one or none, and None for any other."""
    found: list[Step] = []
    trial = Step(step.canvas, step.given)  # so that the callbacks of inner groups are not taken twice
    for canvas, given in members_of(trial):
        found.append(Step(canvas, given))
        if len(found) > 1:
            return None
    step.links.extend(trial.links)
    step.errbacks.extend(trial.errbacks)
    step.skipped = trial.skipped
    return found


def _hand_on(given: Given, waiting: list[Step | _End]) -> None:
    """Give to the next step what a skipped one was given."""
    if given is NOTHING:
        return
    for following in reversed(waiting):
        if isinstance(following, Step):
            following.given = Given(
                (*given.args, *following.given.args),
                {**following.given.kwargs, **given.kwargs},
                merged_options(following.given.options, given.options),
                given.sealed or following.given.sealed,
                following.given.idempotency,
            )
            return


def _close(end: _End, found: list[Step]) -> None:
    """Give the callbacks and the id of a spliced chain to the steps that they hold for."""
    steps, step = found[end.begin :], end.step
    steps[-1].links += step.all_links()
    if own_id := step.own_id():
        steps[-1].task_id = own_id
    errbacks = step.errbacks + [Errback(item) for item in callbacks_of(step.canvas, "link_error", step.given)]
    for errback in errbacks:
        for each in steps:
            each.errbacks.append(errback)
