"""A signature: one call, described as a dict that can be stored, sent and combined.

Describes calls and nothing more: it may not import grpc, protobuf or the codec, and it never looks into the
arguments.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, cast

from grpcflow import state
from grpcflow.canvas.parts import CALLBACKS, as_list, complete

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.result import AsyncResult, GroupResult
    from grpcflow.task import Task

__all__ = ["Signature", "call_of", "maybe_signature", "signature"]

_Classes = dict[str, type["Signature"]]

_new: Final = cast("Any", dict.__new__)


class Signature(dict[str, Any]):
    """One call: a task's name, arguments and options.

    It is a dict of JSON values (as far as its arguments are), so it can be an argument of a task, be stored and
    be read again by ``signature(the_dict)``.

    Args:
        task: Name of the task, the task itself, or a signature's dict to take everything from.
        args: Positional arguments.
        kwargs: Keyword arguments.
        options: Options as in ``Task.apply_async``.
        subtask_type: The kind of canvas; None for a plain call.
        immutable: True: it takes nothing from what ran before it.
        app: The app that sends it; None: the task's, or the current app.
        **more: More options; these win.
    """

    __slots__ = ("_app", "_type")

    #: Tells the codec that this dict needs no more than a plain dict to be understood.
    __grpcflow_plain__: ClassVar[bool] = True
    #: Classes by kind of canvas.
    KINDS: ClassVar["_Classes"] = {}
    #: Keyword arguments that hold signatures, and lists of signatures.
    NESTED: ClassVar[tuple[str, ...]] = ()

    _app: "Grpcflow | None"
    _type: "Task[..., Any] | None"

    def __init__(
        self,
        task: "str | Task[..., Any] | Mapping[str, Any]" = "",
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        subtask_type: str | None = None,
        immutable: bool = False,
        app: "Grpcflow | None" = None,
        **more: Any,
    ) -> None:
        self._app, self._type = app, None
        if isinstance(task, Mapping):
            super().__init__(complete(task))
            return
        if not isinstance(task, str):
            self._type = task
            task = task.name
        super().__init__(
            task=task,
            args=tuple(args or ()),
            kwargs=dict(kwargs or {}),
            options={**(options or {}), **more},
            subtask_type=subtask_type,
            immutable=immutable,
        )

    # --- what it is made of -------------------------------------------------------------------------------

    @property
    def task(self) -> str:
        """Name of the task."""
        return cast("str", self["task"])

    @property
    def args(self) -> Sequence[Any]:
        """Positional arguments."""
        return cast("Sequence[Any]", self["args"])

    @args.setter
    def args(self, value: Sequence[Any]) -> None:
        self["args"] = value

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments."""
        return cast("dict[str, Any]", self["kwargs"])

    @kwargs.setter
    def kwargs(self, value: dict[str, Any]) -> None:
        self["kwargs"] = value

    @property
    def options(self) -> dict[str, Any]:
        """Options as in ``Task.apply_async``."""
        return cast("dict[str, Any]", self["options"])

    @options.setter
    def options(self, value: dict[str, Any]) -> None:
        self["options"] = value

    @property
    def subtask_type(self) -> str | None:
        """The kind of canvas, such as ``group``; None for a plain call."""
        return cast("str | None", self["subtask_type"])

    @property
    def immutable(self) -> bool:
        """True where it takes nothing from what ran before it."""
        return cast("bool", self["immutable"])

    @immutable.setter
    def immutable(self, value: bool) -> None:
        self["immutable"] = value

    @property
    def id(self) -> str | None:
        """The id that its call will have, where one was set or ``freeze`` gave one."""
        return self.options.get("task_id")

    @property
    def name(self) -> str:
        """The task's name, as Celery also calls it."""
        return self.task

    @property
    def app(self) -> "Grpcflow":
        """The app that sends it."""
        if self._app is not None:
            return self._app
        if self._type is not None:
            return self._type.app
        return self._nested_app() or state.get_current_app()

    def _nested_app(self) -> "Grpcflow | None":
        """Return the app of the first signature in it that knows one."""
        return next((app for inner in self._inner() if (app := _own_app(inner)) is not None), None)

    def _inner(self) -> Iterable["Signature"]:
        """Return the signatures that it is composed of."""
        return ()

    @property
    def type(self) -> "Task[..., Any]":
        """The registered task.

        Raises:
            NotRegistered: The app knows no task of this name.
        """
        return self._type if self._type is not None else self.app.task_named(self.task)

    # --- copies and changes -------------------------------------------------------------------------------

    @classmethod
    def from_dict(cls, d: Mapping[str, Any], app: "Grpcflow | None" = None) -> "Signature":
        """Return the signature that a dict describes, with the signatures in it, each of its own class.

        Args:
            d: A signature's dict, for example read from JSON.
            app: The app that sends it; None: the current app.

        Raises:
            ValueError: The dict describes no signature.
        """
        parts = complete(d)
        kind = parts["subtask_type"]
        found = cls.KINDS.get(kind) if kind else Signature
        if found is None:
            raise ValueError(f"there is no kind of canvas {kind!r}; known are {', '.join(sorted(cls.KINDS))}")
        made: Signature = _new(found)
        made._app, made._type = app, None
        parts["kwargs"] = dict(parts["kwargs"])
        for name in found.NESTED:
            if name in parts["kwargs"]:
                parts["kwargs"][name] = _restored(parts["kwargs"][name], app)
        parts["options"] = dict(parts["options"])
        for name in CALLBACKS:
            if parts["options"].get(name):
                parts["options"][name] = [_restored(item, app) for item in as_list(parts["options"][name])]
        made.update(parts)
        return made

    def clone(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> "Self":
        """Return a copy with more arguments and options.

        Args:
            args: Put in front of its arguments, unless it is immutable.
            kwargs: Merged into its keyword arguments, these win; unless it is immutable.
            **options: Merged into its options; these win.
        """
        copied: Self = _new(type(self))
        copied._app, copied._type = self._app, self._type
        copied.update(self)
        own_kwargs = dict(self.kwargs)
        for name in self.NESTED:
            if name in own_kwargs:
                own_kwargs[name] = _cloned(own_kwargs[name])
        copied.kwargs = own_kwargs
        copied.options = {**_copied_options(self.options), **options}
        if not self.immutable:
            copied._prepend(tuple(args or ()), dict(kwargs or {}))
        return copied

    partial = clone

    def _prepend(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Put arguments in front, and merge keyword arguments."""
        self.args = (*args, *self.args)
        self.kwargs.update(kwargs)

    def replace(
        self,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> "Self":
        """Return a copy with other arguments, keyword arguments or options; None: as they are."""
        copied = self.clone()
        if args is not None:
            copied.args = tuple(args)
        if kwargs is not None:
            copied.kwargs = dict(kwargs)
        if options is not None:
            copied.options = dict(options)
        return copied

    def set(self, immutable: bool | None = None, **options: Any) -> "Self":
        """Change options in place and return itself.

        Args:
            immutable: Another value for ``immutable``; None: as it is.
            **options: Options as in ``Task.apply_async``.
        """
        if immutable is not None:
            self.set_immutable(immutable)
        self.options.update(options)
        return self

    def set_immutable(self, immutable: bool) -> None:
        """Say whether it takes something from what ran before it."""
        self.immutable = immutable

    # --- callbacks ----------------------------------------------------------------------------------------

    def link(self, callback: Mapping[str, Any]) -> Mapping[str, Any]:
        """Let ``callback`` run with the value once this succeeded; returns the callback."""
        return self._append_callback("link", callback)

    def link_error(self, errback: Mapping[str, Any]) -> Mapping[str, Any]:
        """Let ``errback`` run with the id of what failed once this failed; returns the errback."""
        return self._append_callback("link_error", errback)

    def on_error(self, errback: Mapping[str, Any]) -> "Self":
        """Do as ``link_error`` and return itself."""
        self.link_error(errback)
        return self

    def _append_callback(self, option: str, callback: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add one callback, unless it is there."""
        callbacks = as_list(self.options.get(option))
        if callback not in callbacks:
            # A new list: the old one may belong to another signature that this one was copied from.
            self.options[option] = [*callbacks, maybe_signature(callback, app=self._app)]
        return callback

    def flatten_links(self) -> list["Signature"]:
        """Return itself, its links, their links and so on."""
        found: list[Signature] = []
        waiting: list[Signature] = [self]
        while waiting:
            current = waiting.pop()
            found.append(current)
            waiting.extend(reversed([as_signature(link) for link in as_list(current.options.get("link"))]))
        return found

    # --- calls --------------------------------------------------------------------------------------------

    def freeze(self, _id: str | None = None) -> "AsyncResult[Any] | GroupResult":
        """Fix the ids before sending and return the result; sending it twice uses the ids twice.

        Args:
            _id: The id to use; None: the one it has, or a new one.
        """
        return self.app.AsyncResult(self._fix_id(_id))

    def _fix_id(self, wanted: str | None) -> str:
        """Return the id, after setting one where there is none."""
        import uuid

        chosen = wanted or self.id or str(uuid.uuid4())
        self.options["task_id"] = chosen
        return chosen

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        """Submit it with more arguments; as ``apply_async(args, kwargs)``."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> Any:
        """Submit it and return its result once it is durable.

        Args:
            args: Put in front of its arguments.
            kwargs: Merged into its keyword arguments; these win.
            **options: Options as in ``Task.apply_async``; they win over its own, None leaves its own.

        Raises:
            The errors of ``Task.apply_async``.
        """
        return self.app.submit(self, tuple(args or ()), dict(kwargs or {}), options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task here and now."""
        if self.immutable:
            args, kwargs = (), {}
        return self.type(*args, *self.args, **{**self.kwargs, **kwargs})

    def __invert__(self) -> Any:
        """Submit it and wait for its value."""
        return self.apply_async().get()

    # --- composition --------------------------------------------------------------------------------------

    def __or__(self, other: Any) -> Any:
        """Return the canvas in which ``other`` follows."""
        if not isinstance(other, Mapping):
            return NotImplemented
        from grpcflow.canvas.compose import followed_by

        return followed_by(self, maybe_signature(other, app=self._app))

    def __ior__(self, other: Any) -> Any:
        return self.__or__(other)

    def __ror__(self, other: Any) -> Any:
        """Return the canvas in which this follows a plain dict that describes a signature."""
        return maybe_signature(other, app=self._app) | self

    def unchained(self) -> "list[Signature]":
        """Return the steps that it has in a chain: itself."""
        return [self]

    # --- the rest -----------------------------------------------------------------------------------------

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what it is as a dict; the app does not travel."""
        return (Signature.from_dict, (dict(self),))

    def __deepcopy__(self, memo: Any) -> "Self":
        return self.clone()

    def __copy__(self) -> "Self":
        return self.clone()

    def __repr__(self) -> str:
        shown = [repr(value) for value in self.args] + [f"{name}={value!r}" for name, value in self.kwargs.items()]
        return f"{self.task}({', '.join(shown)})"


def call_of(
    task: "Task[..., Any]", args: Sequence[Any], kwargs: Mapping[str, Any], *, immutable: bool = False
) -> Signature:
    """Return the signature of one call of ``task``; the short way, for it is made a thousand times over."""
    made: Signature = _new(Signature)
    made._app, made._type = None, task
    made["task"] = task.name
    made["args"] = args
    made["kwargs"] = kwargs
    made["options"] = {}
    made["subtask_type"] = None
    made["immutable"] = immutable
    return made


def signature(varies: "str | Task[..., Any] | Mapping[str, Any]", *args: Any, **kwargs: Any) -> Signature:
    """Return a signature.

    Args:
        varies: Name of a task, a task, a signature (which is copied), or the dict of a signature.
        *args: For a name or a task, the parameters of ``Signature``.
        **kwargs: The same; ``app`` also for a dict.

    Raises:
        ValueError: The dict describes no signature.
    """
    if not isinstance(varies, Mapping):
        return Signature(varies, *args, **kwargs)
    if isinstance(varies, Signature):
        copied = varies.clone()
        if kwargs.get("app") is not None:
            copied._app = kwargs["app"]
        return copied
    return Signature.from_dict(varies, kwargs.get("app"))


def maybe_signature(d: Any, app: "Grpcflow | None" = None, clone: bool = False) -> Any:
    """Return a signature for the dict of one; anything that is no mapping is returned as it is.

    Args:
        d: A signature, the dict of one, or anything else.
        app: The app for a signature that has none.
        clone: True: a signature is copied.
    """
    if isinstance(d, Signature):
        return d.clone() if clone else d
    return Signature.from_dict(d, app) if isinstance(d, Mapping) else d


def as_signature(value: Any, app: "Grpcflow | None" = None) -> Signature:
    """Return a member of a canvas as a signature.

    Raises:
        TypeError: It is none.
    """
    if isinstance(value, Signature):
        return value
    if isinstance(value, Mapping):
        return Signature.from_dict(value, app)
    raise TypeError(f"{value!r} is no signature: write task.s(...), or signature(name, args=...)")


def _restored(value: Any, app: "Grpcflow | None") -> Any:
    """Return one signature or a list of them, each of its own class."""
    if isinstance(value, (list, tuple)):
        return [as_signature(item, app) for item in value]
    return maybe_signature(value, app)


def _cloned(value: Any) -> Any:
    """Return copies of one signature or of a list of them."""
    if isinstance(value, (list, tuple)):
        return [as_signature(item).clone() for item in value]
    return value.clone() if isinstance(value, Signature) else value


def _copied_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options whose lists and mappings are no longer shared."""
    copied: dict[str, Any] = {}
    for name, value in options.items():
        if name in CALLBACKS:
            copied[name] = [maybe_signature(item, clone=True) for item in as_list(value)]
        elif isinstance(value, dict):
            copied[name] = dict(value)
        else:
            copied[name] = list(value) if isinstance(value, list) else value
    return copied


def _own_app(inner: Signature) -> "Grpcflow | None":
    """Return the app that a signature knows of itself."""
    if inner._app is not None:
        return inner._app
    return inner._type.app if inner._type is not None else inner._nested_app()
