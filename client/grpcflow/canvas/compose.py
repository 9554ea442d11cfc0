"""chain, group and chord: signatures that are composed of others, and the operator that composes them.

What is composed stays as the user wrote it; ``grpcflow.lower`` gives it its meaning. It may not import grpc,
protobuf or the codec.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self, cast, overload

from grpcflow.canvas import walks
from grpcflow.canvas.parts import is_empty, listed
from grpcflow.canvas.signature import Signature, as_signature
from grpcflow.type_parameters import Given, Given_co, R, R_co, T

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.canvas.composed import Composed
    from grpcflow.result import AsyncResult, GroupResult
else:
    Composed = Signature

__all__ = ["chain", "chord", "followed_by", "group"]

#: The steps before the last one, whose value is that of all.
_Steps = tuple[Mapping[str, Any], ...]
#: A signature or its dict, or several.
_Described = Mapping[str, Any] | Iterable[Mapping[str, Any]]


class chain(Composed[R_co, Given_co]):  # noqa: N801 - Celery's name
    """Steps that follow each other, each with the value of the one before as first argument.

    A group that is followed by a step is a chord, a group of one is its member, chains in chains are spliced and
    empty groups are skipped.

    Args:
        *tasks: The steps, or one iterable of them.
        app: The app that sends it; None: that of its first step.
        **options: Options as in ``Task.apply_async``: ``task_id`` and ``link`` hold for the last step,
            ``link_error`` for every step, all others for the first.
    """

    NESTED: ClassVar[tuple[str, ...]] = ("tasks",)

    @overload
    def __init__(self: "chain[Any]", *, app: "Grpcflow | None" = None, **options: Any) -> None: ...
    @overload
    def __init__(
        self: "chain[T, Given]",
        *tasks: *tuple[*_Steps, Composed[T, Given]],
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: "chain[T, AsyncResult[T]]",
        *tasks: *tuple[*_Steps, Signature[T]],
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: "chain[T, AsyncResult[T]]",
        tasks: "Iterable[Signature[T]]",
        /,
        *,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: "chain[Any, Any]",
        *tasks: _Described,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    def __init__(self, *tasks: Any, app: "Grpcflow | None" = None, **options: Any) -> None:  # type: ignore[misc]
        members = _signatures(tasks, app)
        super().__init__("grpcflow.chain", kwargs={"tasks": members}, options=options, subtask_type="chain", app=app)

    @property
    def tasks(self) -> list[Signature]:
        """The steps."""
        return cast("list[Signature]", self.kwargs["tasks"])

    def _inner(self) -> Iterable[Signature]:
        return self.tasks

    def unchained(self) -> list[Signature]:
        """Return its steps, to be read only; itself where something holds for it as a whole, as an errback."""
        more = len(self.kwargs) > 1
        return [self] if self.options or self.args or more or self.immutable else self.tasks

    def __call__(self, *args: Any, **kwargs: Any) -> Given_co:
        """Submit it with ``args`` in front of its first step's arguments."""
        return self.apply_async(args, kwargs)

    def _shown(self) -> list[Any]:
        shown: list[Any] = []
        for task in self.tasks:
            shown += [" | ", task]
        return shown[1:] or ["chain()"]


class group(Composed[list[R], "GroupResult[R]"], Generic[R]):  # noqa: N801 - Celery's name
    """Members that run side by side; its value is the list of their values, in their order.

    Groups directly in groups are flattened.

    Args:
        *tasks: The members, or one iterable of them (a generator is read at once).
        app: The app that sends it; None: that of its first member.
        **options: Options as in ``Task.apply_async``, for every member; ``task_id`` is the group's id.
    """

    NESTED: ClassVar[tuple[str, ...]] = ("tasks",)

    @overload
    def __init__(self: "group[Any]", *, app: "Grpcflow | None" = None, **options: Any) -> None: ...
    @overload
    def __init__(self: "group[T]", *tasks: "group[T]", app: "Grpcflow | None" = None, **options: Any) -> None: ...
    @overload
    def __init__(
        self: "group[T]", *tasks: "group[T] | Signature[T]", app: "Grpcflow | None" = None, **options: Any
    ) -> None: ...
    @overload
    def __init__(
        self: "group[T]", tasks: "Iterable[group[T]]", /, *, app: "Grpcflow | None" = None, **options: Any
    ) -> None: ...
    @overload
    def __init__(
        self: "group[T]",
        tasks: "Iterable[group[T] | Signature[T]]",
        /,
        *,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: "group[Any]",
        *tasks: _Described,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    def __init__(self, *tasks: Any, app: "Grpcflow | None" = None, **options: Any) -> None:  # type: ignore[misc]
        if len(tasks) == 1 and isinstance(tasks[0], group):
            tasks = (tasks[0].tasks,)
        members = _signatures(tasks, app)
        super().__init__("grpcflow.group", kwargs={"tasks": members}, options=options, subtask_type="group", app=app)

    @property
    def tasks(self) -> list[Signature]:
        """The members."""
        return cast("list[Signature]", self.kwargs["tasks"])

    def _inner(self) -> Iterable[Signature]:
        return self.tasks

    def __len__(self) -> int:
        """Return the number of members; an empty group is false."""
        return len(self.tasks)

    def set_immutable(self, immutable: bool) -> None:
        """Say of every member whether it takes something from what ran before it."""
        walks.with_immutable(self.tasks, immutable)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Self:
        """Give the members countdowns of ``start``, ``start + step``, ... seconds; returns itself.

        None is above ``stop``: where that is reached, all later members get the last one. None: without end.
        """
        walks.separated(self)  # a member that stands in it twice gets two countdowns
        for place, task in enumerate(self.tasks):
            task.set(countdown=start + place * step)
            if stop is not None and start + (place + 1) * step > stop:
                for later in self.tasks[place + 1 :]:
                    later.set(countdown=start + place * step)
                break
        return self

    def apply_async(  # type: ignore[override] # see Composed
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> "GroupResult[R]":
        """Submit it and return its result once it is durable.

        Args:
            args: Put in front of every member's arguments.
            kwargs: Merged into every member's keyword arguments.
            **options: Options for every member; ``task_id`` is the group's id.

        Raises:
            TypeError: ``link`` or ``link_error`` is given: use a chord, or the methods of these names.
        """
        for name in ("link", "link_error"):
            if options.get(name) is not None:
                raise TypeError(f"a group takes no {name}= here: write group | task, or call its method {name}()")
        return super().apply_async(args, kwargs, **options)

    def __call__(self, *args: Any, **options: Any) -> "GroupResult[R]":
        """Submit it with ``args`` in front of every member's arguments."""
        return self.apply_async(args, **options)

    def _shown(self) -> list[Any]:
        return ["group(", *_in_brackets(self.tasks), ")"]


class chord(Composed[R_co, Given_co]):  # noqa: N801 - Celery's name
    """A header whose members run side by side, and a body that runs with the list of their values.

    Args:
        header: A group, or an iterable of signatures.
        body: What runs once the header succeeded; None: it is given by calling the chord.
        app: The app that sends it; None: that of the first member.
        **options: Options as in ``Task.apply_async``: ``countdown`` and ``eta`` hold for the header, all
            others for the body.
    """

    NESTED: ClassVar[tuple[str, ...]] = ("header", "body")

    @overload
    def __init__(
        self: "chord[T, Given]",
        header: _Described,
        body: "Composed[T, Given]",
        *,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: "chord[T, AsyncResult[T]]",
        header: _Described,
        body: "Signature[T]",
        *,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: "chord[Any, Any]",
        header: _Described,
        body: Mapping[str, Any] | None = None,
        *,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    def __init__(self, header: Any, body: Any = None, *, app: "Grpcflow | None" = None, **options: Any) -> None:
        parts = {"header": _as_group(header, app), "body": None if body is None else as_signature(body, app)}
        super().__init__("grpcflow.chord", kwargs=parts, options=options, subtask_type="chord", app=app)

    @property
    def tasks(self) -> list[Signature]:
        """The members of the header."""
        return listed(self)

    @property
    def header(self) -> group:
        """The members of the header as a group."""
        held = self.kwargs["header"]
        if not isinstance(held, group):
            held = self.kwargs["header"] = _as_group(held, self._app)
        return held

    @property
    def body(self) -> Signature | None:
        """What runs once the header succeeded."""
        return cast("Signature | None", self.kwargs.get("body"))

    @body.setter
    def body(self, value: Signature) -> None:
        self.kwargs["body"] = value

    def _inner(self) -> Iterable[Signature]:
        return [*self.tasks, *([] if self.body is None else [self.body])]

    def set_immutable(self, immutable: bool) -> None:
        """Say of every member of the header whether it takes something from what ran before it."""
        walks.with_immutable(self.tasks, immutable)

    def __length_hint__(self) -> int:
        """Return how many ends the body waits for: members of groups in the header count one by one."""
        waiting, counted = list(self.tasks), 0
        while waiting:
            current = waiting.pop()
            if isinstance(current, group):
                waiting.extend(current.tasks)
            elif isinstance(current, chain):
                waiting.extend([step for step in current.tasks if not _ends_nothing(step)][-1:])
            elif isinstance(current, chord):
                waiting.extend([] if current.body is None else [current.body])
            else:
                counted += 1
        return counted

    def _append_callback(self, option: str, callback: Mapping[str, Any]) -> Mapping[str, Any]:
        # The body's callbacks: they must stay with it where a later step makes the body a chain.
        end: Signature = self
        while isinstance(end, chord) and end.body is not None:
            end = end.body
        return Signature._append_callback(end, option, callback)

    def apply_async(  # type: ignore[override] # see Composed
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Given_co:
        """Submit it and return the body's result, whose ``parent`` is the header's GroupResult.

        Args:
            args: Put in front of the arguments of every member of the header.
            kwargs: Merged into their keyword arguments; a ``body`` in it replaces the body.
            **options: ``countdown`` and ``eta`` hold for the header, ``task_id`` and all others for the body.

        Raises:
            ValueError: There is no body.
        """
        given = dict(kwargs or {})
        body = given.pop("body", None)
        if body is None:
            return super().apply_async(args, given, **options)
        return cast("Given_co", followed_with(self, as_signature(body, self._app)).apply_async(args, given, **options))

    @overload
    def __call__(self, body: None = None, **options: Any) -> Given_co: ...
    @overload
    # The closer one first: a group is a Signature too.
    def __call__(self, body: "Composed[T, Given]", **options: Any) -> Given: ...  # pyright: ignore[reportOverlappingOverload]
    @overload
    def __call__(self, body: "Signature[T]", **options: Any) -> "AsyncResult[T]": ...
    @overload
    def __call__(self, body: Mapping[str, Any], **options: Any) -> Any: ...
    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Submit it, with ``body`` where it is given."""
        return self.apply_async((), {} if body is None else {"body": body}, **options)

    def _shown(self) -> list[Any]:
        return ["chord(", *_in_brackets(self.tasks), ", ", "None" if self.body is None else self.body, ")"]


Signature.KINDS.update(chain=chain, group=group, chord=chord)


def followed_by(left: Signature, right: Signature) -> Signature:
    """Return ``left | right``."""
    if _ends_nothing(right):
        # It is skipped, but for what is linked to it, and for an empty group where nothing else gives a value.
        if _is_bare(right) and (is_empty(right) or not is_empty(left)):
            return left
        return _chain_of([*left.unchained(), right], left._app)
    if isinstance(left, group):
        return chord(left, right, app=left._app)
    if isinstance(left, chord):
        return _with_longer_body(left, right)
    steps = left.unchained()
    last = steps[-1] if steps else None
    if isinstance(last, chord) and last.body is None:
        return _chain_of([*steps[:-1], followed_with(last, right)], left._app)
    # One copy of the steps for each |: they are a plain list that belongs to its chain, so no two chains can share it.
    return _chain_of([*steps, *right.unchained()], left._app)


def followed_with(left: "chord[Any, Any]", body: Signature) -> "chord[Any, Any]":
    """Return a chord with a copy of the same header and another body."""
    parts = {name: value for name, value in left.kwargs.items() if name != "body"}
    made = walks.copied(walks.bare(type(left), left._app, {**left, "kwargs": parts}))
    made.body = body
    return made


def _with_longer_body(left: chord, right: Signature) -> Signature:
    """Return a chord whose body ``right`` follows; of chords in the bodies of chords it follows the innermost."""
    chords = [left]
    while isinstance(body := chords[-1].body, chord):
        chords.append(body)
    if body is None:
        made = right
    elif _ends_nothing(body):
        # As a body it has a value, as a step in front of another it would be skipped.
        return _chain_of([left, right], left._app)
    else:
        # Steps of a chain are shared, as in a | b: copied each time, a loop of | would grow with the square.
        shared = isinstance(body, chain) and body.unchained() is body.tasks
        made = followed_by(body if shared else body.clone(), right)
    for each in reversed(chords):
        made = followed_with(each, made)
    return made


def _chain_of(steps: list[Signature], app: "Grpcflow | None") -> chain:
    """Return a chain of steps that are known to be signatures."""
    made = chain(app=app)
    made.kwargs["tasks"] = steps
    return made


def _as_group(header: Any, app: "Grpcflow | None") -> group:
    """Return the header of a chord as a group."""
    if isinstance(header, Mapping) and not isinstance(header, Signature):
        header = as_signature(header, app)
    return header if isinstance(header, group) else group(header, app=app)


def _ends_nothing(step: Signature) -> bool:
    """Return True for a step that has no end of its own: empty chains and groups, and what holds only such."""
    return all(isinstance(part, (chain, group)) for part in _parts(step))


def _is_bare(step: Signature) -> bool:
    """Return True for a step that says nothing but what it is composed of: no option, no argument, no callback."""
    return not any(part.options or part.args for part in _parts(step))


def _parts(step: Signature) -> Iterator[Signature]:
    """Yield a step, and what the chains and groups in it are composed of."""
    waiting: list[Iterator[Signature]] = [iter((step,))]
    while waiting:
        for current in waiting[-1]:
            yield current
            if isinstance(current, (chain, group)):
                waiting.append(iter(current.tasks))
                break
        else:
            waiting.pop()


def _in_brackets(tasks: list[Signature]) -> list[Any]:
    """Return the parts of the text of a list of signatures."""
    shown: list[Any] = []
    for task in tasks:
        shown += [", ", task]
    return ["[", *shown[1:], "]"]


def _signatures(tasks: tuple[Any, ...], app: "Grpcflow | None") -> list[Signature]:
    """Return what was given to a constructor, many signatures or one iterable of them, as a list."""
    given: Iterable[Any] = tasks
    if len(tasks) == 1 and not isinstance(tasks[0], Mapping):
        given = tasks[0]
        if not isinstance(given, Iterable):
            raise TypeError(f"{given!r} is no signature and no iterable of signatures: write task.s(...)")
    return [task if isinstance(task, Signature) else as_signature(task, app) for task in given]
