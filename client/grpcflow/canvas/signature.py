"""A signature: one call, described as a dict that can be stored, sent and combined.

Describes calls and nothing more; what it does to all that is in it is done in the modules beside it, without recursion.
It may not import grpc, protobuf or the codec, and it never looks into the arguments.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, cast, overload

from grpcflow import state
from grpcflow.canvas import walks
from grpcflow.canvas.described import Described
from grpcflow.canvas.parts import as_list, complete, merged_options
from grpcflow.type_parameters import Given, R_co, T

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.canvas.composed import Composed
    from grpcflow.canvas.stamping import StampingVisitor
    from grpcflow.result import AsyncResult, GroupResult
    from grpcflow.result.eager import EagerResult
    from grpcflow.task import Task

__all__ = ["Signature", "as_signature", "call_of", "maybe_signature", "signature", "subtask"]

_Classes = dict[str | None, type["Signature"]]

_new: Final = cast("Any", dict.__new__)


class Signature(Described, Generic[R_co]):
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
    def app(self) -> "Grpcflow":
        """The app that sends it."""
        return walks.app_in(self) or state.get_current_app()

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
        return cast("Signature", walks.restored(cls.KINDS, d, app))

    def clone(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> "Self":
        """Return a copy with more arguments and options.

        Args:
            args: Put in front of its arguments, unless it is immutable.
            kwargs: Merged into its keyword arguments, these win; unless it is immutable.
            **options: Merged into its options; these win, but over ``group_id`` and stamps.
        """
        copied = walks.copied(self)
        if options:
            copied.options = merged_options(copied.options, options)
        if not self.immutable and (args or kwargs):
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
        for given, replaced in (("countdown", "eta"), ("eta", "countdown")):
            if options.get(given) is not None and replaced not in options:
                self.options.pop(replaced, None)
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

    # --- stamps -------------------------------------------------------------------------------------------

    def stamp(self, visitor: "StampingVisitor | None" = None, append_stamps: bool = False, **headers: Any) -> "Self":
        """Mark all calls in it, and what is linked to them, with stamps; returns itself.

        Running tasks find them as ``self.request.stamps``, and calls can be revoked by them. Stamps that a call has
        stay in copies of it.

        Args:
            visitor: Says what each part gets; None: all get ``headers`` only.
            append_stamps: True: a call that has a stamp of the same name gets all values. False: the new one replaces
                those that the call has, and that of the visitor those of ``headers``.
            **headers: Stamps for all calls. With ``stamped_headers`` (a list of names) only these are stamps; of the
                others those that name options are set as options, and the rest travels as headers.

        Raises:
            ValueError: A stamp has the name of an option.
        """
        from grpcflow.canvas import stamping

        stamping.stamp(self, visitor, append_stamps, headers)
        return self

    def stamp_links(
        self, visitor: "StampingVisitor | None" = None, append_stamps: bool = False, **headers: Any
    ) -> "Self":
        """Do as ``stamp`` to what is linked to it only; its own stamps do not reach that."""
        from grpcflow.canvas import stamping

        stamping.stamp_links(self, visitor, append_stamps, headers)
        return self

    # --- calls --------------------------------------------------------------------------------------------

    def freeze(
        self,
        _id: str | None = None,
        group_id: str | None = None,
        chord: Any = None,
        root_id: str | None = None,
        parent_id: str | None = None,
        group_index: int | None = None,
    ) -> "AsyncResult[Any] | GroupResult":
        """Fix the ids of all parts before sending, and return the result with its parents and members.

        Sending it twice uses the ids twice: the second time raises ``AlreadyExists`` while the first has not ended, and
        takes the ids over after that.

        Args:
            _id: Id of its end, where it has none; None: a new one.
            group_id: For a group the same as ``_id``; refused for others.
            chord: Refused: what waits for a group is written as its chord.
            root_id: Id of the first call of the work that it belongs to; None: as it is.
            parent_id: Id of the call that it is sent by; None: as it is.
            group_index: Refused: a call knows its place from the group that it stands in.

        Raises:
            ValueError: It is an empty chain or a chord without a body, or an argument that is refused was given.
        """
        from grpcflow.canvas.freezing import frozen

        if self.subtask_type == "group":
            _id, group_id = _id or group_id, None
        for name, value in (("group_id", group_id), ("chord", chord), ("group_index", group_index)):
            if value is not None:
                raise ValueError(f"freeze({name}=...) has no meaning here: a call knows its group from where it stands")
        for name, value in (("root_id", root_id), ("parent_id", parent_id)):
            if value:
                self.options[name] = value
        return frozen(self, _id)

    def delay(self, *args: Any, **kwargs: Any) -> "AsyncResult[R_co]":
        """Submit it with more arguments; as ``apply_async(args, kwargs)``."""
        return self.apply_async(args, kwargs)

    def apply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> "AsyncResult[R_co]":
        """Submit it and return its result once it is durable.

        Args:
            args: Put in front of its arguments.
            kwargs: Merged into its keyword arguments; these win.
            **options: Options as in ``Task.apply_async``; they win over its own, None leaves its own.

        Raises:
            Exception: Those of ``Task.apply_async``.
        """
        result: AsyncResult[R_co] = self.app.submit(self, tuple(args or ()), dict(kwargs or {}), options)
        return result

    async def adelay(self, *args: Any, **kwargs: Any) -> "AsyncResult[R_co]":
        """Submit it as ``delay`` does, on the running event loop."""
        return await self.aapply_async(args, kwargs)

    async def aapply_async(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> "AsyncResult[R_co]":
        """Submit it as ``apply_async`` does, on the running event loop; options and errors are the same."""
        made: AsyncResult[R_co] = await self.app.asubmit(self, tuple(args or ()), dict(kwargs or {}), options)
        return made

    def apply(
        self, args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None, **options: Any
    ) -> "EagerResult[R_co]":
        """Run it in this process, callbacks included, and return its result, which is at its end.

        Args:
            args: Put in front of its arguments.
            kwargs: Merged into its keyword arguments; these win.
            **options: As for ``grpcflow.eager.apply_canvas``; None leaves its own.

        Raises:
            Exception: Those of ``grpcflow.eager.apply_canvas``.
        """
        from grpcflow.eager import apply_canvas

        given = {name: value for name, value in options.items() if value is not None}
        return cast("EagerResult[R_co]", apply_canvas(self, args, kwargs, **given))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task here and now."""
        if self.immutable:
            args, kwargs = (), {}
        return self.type(*args, *self.args, **{**self.kwargs, **kwargs})

    def __invert__(self) -> R_co:
        """Submit it and wait for its value."""
        return self.apply_async().get()

    # --- composition --------------------------------------------------------------------------------------

    @overload  # type: ignore[override] # a dict's is another: this one composes, and takes no plain dict of anything
    def __or__(self, other: "Composed[T, Given]") -> "Composed[T, Given]": ...
    @overload
    def __or__(self, other: "Signature[T]") -> "Signature[T]": ...
    @overload
    def __or__(self, other: Mapping[str, Any]) -> "Signature[Any]": ...
    def __or__(self, other: Any) -> Any:
        """Return the canvas in which ``other`` follows."""
        if not isinstance(other, Mapping):
            return NotImplemented
        from grpcflow.canvas.compose import followed_by

        return followed_by(self, maybe_signature(other, app=self._app))

    def __ior__(self, other: Any) -> Any:  # type: ignore[misc] # a new canvas: whether the variable may hold it is open
        return self.__or__(other)

    def __ror__(self, other: Mapping[str, Any]) -> "Signature[R_co]":  # type: ignore[override] # the same
        """Return the canvas in which this follows a plain dict that describes a signature."""
        return cast("Signature[R_co]", maybe_signature(other, app=self._app) | self)

    def unchained(self) -> "list[Signature]":
        """Return the steps that it has in a chain, to be read only: itself."""
        return [self]

    # --- the rest -----------------------------------------------------------------------------------------

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as what it is as a dict; the app does not travel."""
        return (Signature.from_dict, (dict(self),))

    def __deepcopy__(self, memo: Any) -> "Self":
        return self.clone()

    def __copy__(self) -> "Self":
        return self.clone()


Signature.KINDS[None] = Signature


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


#: The same under Celery's older name.
subtask = signature


def maybe_signature(d: Any, app: "Grpcflow | None" = None, clone: bool = False) -> Any:
    """Return a signature for the dict of one; anything that is no mapping is returned as it is.

    Args:
        d: A signature, the dict of one, or anything else.
        app: The app for a signature that has none.
        clone: True: a signature is copied.
    """
    if isinstance(d, Signature):
        found = d.clone() if clone else d
        if app is not None and found._app is None and found._type is None:
            found._app = app
        return found
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
