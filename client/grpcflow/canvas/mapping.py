"""map, starmap and chunks: one task applied to many items.

All three are immutable. It may not import grpc, protobuf or the codec.
"""

from collections.abc import Coroutine, Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, cast, overload

from grpcflow.canvas.compose import group
from grpcflow.canvas.signature import Signature, as_signature
from grpcflow.type_parameters import R, R_co, T

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.canvas.composed import Composed
    from grpcflow.result import GroupResult
    from grpcflow.task import Task
else:
    Composed = Signature

__all__ = ["chunks", "xmap", "xstarmap"]


class _Applied(Signature[R_co]):
    """One task and the items to apply it to."""

    NESTED: ClassVar[tuple[str, ...]] = ("task",)

    @property
    def inner(self) -> Signature:
        """The signature of the task that is applied."""
        return cast("Signature", self.kwargs["task"])

    @property
    def items_to_apply(self) -> list[Any]:
        """The items."""
        return cast("list[Any]", self.kwargs["it"])

    def _inner(self) -> Iterable[Signature]:
        return (self.inner,)

    def _prepend(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Take nothing: the items are all that the task gets."""


class xmap(_Applied[list[R]], Generic[R]):  # noqa: N801 - Celery's name
    """One call that applies a task to each item in turn, in one worker, and gives the list of values.

    Args:
        task: The task, or a signature of it, of which only name and options count.
        it: The items; read at once.
        app: The app that sends it; None: the task's.
        **options: Options as in ``Task.apply_async``.
    """

    @overload
    def __init__(
        self: "xmap[T]",
        task: "Task[..., Coroutine[Any, Any, T]]",
        it: Iterable[Any],
        *,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: "xmap[T]",
        task: "Task[..., T] | Signature[T]",
        it: Iterable[Any],
        *,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: "xmap[Any]",
        task: str | Mapping[str, Any],
        it: Iterable[Any],
        *,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    def __init__(self, task: Any, it: Iterable[Any], *, app: "Grpcflow | None" = None, **options: Any) -> None:
        parts = {"task": _signature_of(task, app), "it": list(it)}
        super().__init__("grpcflow.map", kwargs=parts, options=options, subtask_type="xmap", immutable=True, app=app)

    def __call__(self, *args: Any, **kwargs: Any) -> list[R]:
        """Apply the task to all items here and now."""
        task = self.inner.type
        return [task(item) for item in self.items_to_apply]

    def _shown(self) -> list[Any]:
        return [f"[{self.inner.task}(x) for x in {self.items_to_apply!r}]"]


class xstarmap(_Applied[list[R]], Generic[R]):  # noqa: N801 - Celery's name
    """As ``xmap``, with the parts of each item as the arguments.

    Args:
        task: The task, or a signature of it, of which only name and options count.
        it: The items, each an iterable of arguments; read at once.
        app: The app that sends it; None: the task's.
        **options: Options as in ``Task.apply_async``.
    """

    @overload
    def __init__(
        self: "xstarmap[T]",
        task: "Task[..., Coroutine[Any, Any, T]]",
        it: Iterable[Iterable[Any]],
        *,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: "xstarmap[T]",
        task: "Task[..., T] | Signature[T]",
        it: Iterable[Iterable[Any]],
        *,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: "xstarmap[Any]",
        task: str | Mapping[str, Any],
        it: Iterable[Iterable[Any]],
        *,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    def __init__(
        self, task: Any, it: Iterable[Iterable[Any]], *, app: "Grpcflow | None" = None, **options: Any
    ) -> None:
        parts = {"task": _signature_of(task, app), "it": [list(item) for item in it]}
        super().__init__(
            "grpcflow.starmap", kwargs=parts, options=options, subtask_type="xstarmap", immutable=True, app=app
        )

    def __call__(self, *args: Any, **kwargs: Any) -> list[R]:
        """Apply the task to all items here and now."""
        task = self.inner.type
        return [task(*item) for item in self.items_to_apply]

    def _shown(self) -> list[Any]:
        return [f"[{self.inner.task}(*x) for x in {self.items_to_apply!r}]"]


class chunks(_Applied[list[list[R]]], Composed[list[list[R]], "GroupResult[list[R]]"], Generic[R]):  # noqa: N801 - Celery's name
    """A group of ``starmap`` calls with ``n`` items each; its value is a list of lists.

    Args:
        task: The task, or a signature of it, of which only name and options count.
        it: The items, each an iterable of arguments; read at once.
        n: How many items one call gets; at least 1.
        app: The app that sends it; None: the task's.
        **options: Options as in ``Task.apply_async``, for every call.

    Raises:
        ValueError: ``n`` is below 1.
    """

    @overload
    def __init__(
        self: "chunks[T]",
        task: "Task[..., Coroutine[Any, Any, T]]",
        it: Iterable[Iterable[Any]],
        n: int,
        *,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: "chunks[T]",
        task: "Task[..., T] | Signature[T]",
        it: Iterable[Iterable[Any]],
        n: int,
        *,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    @overload
    def __init__(
        self: "chunks[Any]",
        task: str | Mapping[str, Any],
        it: Iterable[Iterable[Any]],
        n: int,
        *,
        app: "Grpcflow | None" = None,
        **options: Any,
    ) -> None: ...
    def __init__(
        self, task: Any, it: Iterable[Iterable[Any]], n: int, *, app: "Grpcflow | None" = None, **options: Any
    ) -> None:
        if n < 1:
            raise ValueError(f"chunks of {n} items cannot be made: n must be at least 1")
        parts = {"task": _signature_of(task, app), "it": [list(item) for item in it], "n": n}
        super().__init__(
            "grpcflow.chunks", kwargs=parts, options=options, subtask_type="chunks", immutable=True, app=app
        )

    def group(self) -> "group[list[R]]":
        """Return the group of ``starmap`` calls that it stands for."""
        items, n = self.items_to_apply, cast("int", self.kwargs["n"])
        parts = [xstarmap(self.inner, items[at : at + n], app=self._app) for at in range(0, len(items), n)]
        made = group(parts, app=self.app)
        made.options = dict(self.options)
        return made

    def apply_async(  # type: ignore[override] # see Composed
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> "GroupResult[list[R]]":
        """Submit it and return a GroupResult once it is durable; ``args`` and ``kwargs`` are not used."""
        return self.group().apply_async(**options)

    def __call__(self, *args: Any, **options: Any) -> "GroupResult[list[R]]":
        """Submit it."""
        return self.apply_async(**options)

    @classmethod
    def apply_chunks(cls, task: Any, it: Iterable[Iterable[Any]], n: int, app: "Grpcflow | None" = None) -> Any:
        """Submit chunks of these items; parameters as for the class."""
        return cls(task, it, n, app=app)()

    def _shown(self) -> list[Any]:
        return [f"chunks({self.inner.task}, {self.items_to_apply!r}, {self.kwargs['n']})"]


Signature.KINDS.update(xmap=xmap, xstarmap=xstarmap, chunks=chunks)


def _signature_of(task: Any, app: "Grpcflow | None") -> Signature:
    """Return the signature of a task, whether it was given as a signature or as itself."""
    return as_signature(task, app) if isinstance(task, Mapping) else Signature(task, app=app)
