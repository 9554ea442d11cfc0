"""chain, group and chord: signatures that are composed of others, and the operator that composes them.

What is composed stays as the user wrote it; ``grpcflow.lower`` gives it its meaning. It may not import grpc,
protobuf or the codec.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from grpcflow.canvas.signature import Signature, as_signature

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.result import AsyncResult, GroupResult

__all__ = ["chain", "chord", "followed_by", "group"]


class chain(Signature):  # noqa: N801 - Celery's name
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

    def __init__(self, *tasks: Any, app: "Grpcflow | None" = None, **options: Any) -> None:
        members = _signatures(tasks, app)
        super().__init__("grpcflow.chain", kwargs={"tasks": members}, options=options, subtask_type="chain", app=app)

    @property
    def tasks(self) -> list[Signature]:
        """The steps."""
        return cast("list[Signature]", self.kwargs["tasks"])

    def _inner(self) -> Iterable[Signature]:
        return self.tasks

    def unchained(self) -> list[Signature]:
        """Return its steps; itself where something holds for the chain as a whole, as an errback that fires once."""
        more = len(self.kwargs) > 1
        return [self] if self.options or self.args or more or self.immutable else list(self.tasks)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Submit it with ``args`` in front of its first step's arguments."""
        return self.apply_async(args, kwargs)

    def freeze(self, _id: str | None = None) -> "AsyncResult[Any] | GroupResult":
        """Fix the ids of all steps; see ``Signature.freeze``."""
        previous: AsyncResult[Any] | GroupResult | None = None
        steps = [_only_member(step) for step in self.tasks]
        if not steps:
            raise ValueError("an empty chain has no result, so it has no id to fix")
        for step in steps:
            current = step.freeze((_id or self.id) if step is steps[-1] else None)
            if previous is not None:
                _first(current).parent = previous
            previous = current
        self.options.pop("task_id", None)  # the last step carries it now
        return cast("AsyncResult[Any] | GroupResult", previous)

    def __repr__(self) -> str:
        return " | ".join(map(repr, self.tasks)) or "chain()"


class group(Signature):  # noqa: N801 - Celery's name
    """Members that run side by side; its value is the list of their values, in their order.

    Groups directly in groups are flattened.

    Args:
        *tasks: The members, or one iterable of them (a generator is read at once).
        app: The app that sends it; None: that of its first member.
        **options: Options as in ``Task.apply_async``, for every member; ``task_id`` is the group's id.
    """

    NESTED: ClassVar[tuple[str, ...]] = ("tasks",)

    def __init__(self, *tasks: Any, app: "Grpcflow | None" = None, **options: Any) -> None:
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
        for task in self.tasks:
            task.set_immutable(immutable)

    def skew(self, start: float = 1.0, stop: float | None = None, step: float = 1.0) -> Self:
        """Give the members countdowns of ``start``, ``start + step``, ... seconds, below ``stop``; returns itself.

        Where ``stop`` is reached, the countdowns begin again at ``start``.
        """
        seconds = start
        for task in self.tasks:
            task.set(countdown=seconds)
            seconds += step
            if stop is not None and seconds >= stop:
                seconds = start
        return self

    def apply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> "GroupResult":
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
        return cast("GroupResult", super().apply_async(args, kwargs, **options))

    def __call__(self, *args: Any, **options: Any) -> "GroupResult":
        """Submit it with ``args`` in front of every member's arguments."""
        return self.apply_async(args, **options)

    def freeze(self, _id: str | None = None) -> "GroupResult":
        """Fix the ids of the group and of all members; see ``Signature.freeze``."""
        members: list[AsyncResult[Any] | GroupResult] = [task.freeze() for task in flattened(self)]
        return self.app.GroupResult(self._fix_id(_id), members)

    def __repr__(self) -> str:
        return f"group([{', '.join(map(repr, self.tasks))}])"


class chord(Signature):  # noqa: N801 - Celery's name
    """A header whose members run side by side, and a body that runs with the list of their values.

    Args:
        header: A group, or an iterable of signatures.
        body: What runs once the header succeeded; None: it is given by calling the chord.
        app: The app that sends it; None: that of the first member.
        **options: Options as in ``Task.apply_async``: ``countdown`` and ``eta`` hold for the header, all
            others for the body.
    """

    NESTED: ClassVar[tuple[str, ...]] = ("header", "body")

    def __init__(self, header: Any, body: Any = None, *, app: "Grpcflow | None" = None, **options: Any) -> None:
        parts = {
            "header": header if isinstance(header, group) else group(header, app=app),
            "body": None if body is None else as_signature(body, app),
        }
        super().__init__("grpcflow.chord", kwargs=parts, options=options, subtask_type="chord", app=app)

    @property
    def tasks(self) -> list[Signature]:
        """The members of the header."""
        header = self.kwargs["header"]
        return header.tasks if isinstance(header, group) else cast("list[Signature]", header)

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
        for task in self.tasks:
            task.set_immutable(immutable)

    def _append_callback(self, option: str, callback: Mapping[str, Any]) -> Mapping[str, Any]:
        # The body's callbacks: they must stay with it where a later step makes the body a chain.
        if self.body is not None:
            return self.body._append_callback(option, callback)
        return super()._append_callback(option, callback)

    def apply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
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
        return followed_with(self, as_signature(body, self._app)).apply_async(args, given, **options)

    def __call__(self, body: Any = None, **options: Any) -> Any:
        """Submit it, with ``body`` where it is given."""
        return self.apply_async((), {} if body is None else {"body": body}, **options)

    def freeze(self, _id: str | None = None) -> "AsyncResult[Any] | GroupResult":
        """Fix the ids of header and body; see ``Signature.freeze``."""
        if self.body is None:
            raise ValueError("this chord has no body: write chord(header, body) or chord(header)(body)")
        header = self.kwargs["header"]
        if not isinstance(header, group):
            header = self.kwargs["header"] = group(header, app=self._app)
        result = self.body.freeze(_id or self.id)
        self.options.pop("task_id", None)  # the body carries it now
        _first(result).parent = header.freeze()
        return result

    def __repr__(self) -> str:
        return f"chord([{', '.join(map(repr, self.tasks))}], {self.body!r})"


Signature.KINDS.update(chain=chain, group=group, chord=chord)


def followed_by(left: Signature, right: Signature) -> Signature:
    """Return ``left | right``."""
    if isinstance(right, (group, chain)) and not right.tasks:
        return left
    if isinstance(left, group):
        return chord(left, right, app=left._app)
    if isinstance(left, chord):
        return followed_with(left, right if left.body is None else followed_by(left.body, right))
    return chain([*left.unchained(), *right.unchained()], app=left._app)


def followed_with(left: chord, body: Signature) -> chord:
    """Return a chord with the same header and another body."""
    made = left.clone()
    made.body = body
    return made


def flattened(whole: group) -> list[Signature]:
    """Return the members of a group, with those of groups directly in it in their place."""
    found: list[Signature] = []
    waiting: list[Signature] = list(reversed(whole.tasks))
    while waiting:
        current = waiting.pop()
        if isinstance(current, group):
            waiting.extend(reversed(current.tasks))
        else:
            found.append(current)
    return found


def _signatures(tasks: tuple[Any, ...], app: "Grpcflow | None") -> list[Signature]:
    """Return what was given to a constructor, many signatures or one iterable of them, as a list."""
    given: Iterable[Any] = tasks
    if len(tasks) == 1 and not isinstance(tasks[0], Mapping):
        given = tasks[0]
        if not isinstance(given, Iterable):
            raise TypeError(f"{given!r} is no signature and no iterable of signatures: write task.s(...)")
    return [task if isinstance(task, Signature) else as_signature(task, app) for task in given]


def _only_member(step: Signature) -> Signature:
    """Return the member of a group of one, which stands for it in a chain; any other step as it is."""
    while isinstance(step, group):
        members = flattened(step)
        if len(members) != 1:
            return step
        step = members[0]
    return step


def _first(result: "AsyncResult[Any] | GroupResult") -> "AsyncResult[Any] | GroupResult":
    """Return the result of the first step that leads to ``result``."""
    while result.parent is not None:
        result = result.parent
    return result
