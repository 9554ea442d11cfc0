"""The app: settings, registered tasks, and the way from a canvas to its result.

Ties the parts of the client together and has none of their knowledge. Importing it must stay light: grpc,
protobuf and the codec are imported when something is sent, and not before.
"""

import difflib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from grpcflow import state
from grpcflow.aio.app import AwaitableApp
from grpcflow.app_commands import AppCommands
from grpcflow.app_sending import SendingApp
from grpcflow.app_setup import check_arguments, task_class
from grpcflow.app_shortcuts import AppShortcuts
from grpcflow.blocking import run_here
from grpcflow.canvas.signature import Signature
from grpcflow.errors import NotRegistered
from grpcflow.registration import DuplicateTaskName, main_name, make_task, origin, prepare
from grpcflow.result import AsyncResult, ResultSet
from grpcflow.result.bound import BoundGroupResult
from grpcflow.schedule_app import ScheduledApp
from grpcflow.task import Task
from grpcflow.type_parameters import P, R, R_co

if TYPE_CHECKING:
    from grpcflow.connection import Connection
    from grpcflow.control import Control
    from grpcflow.lower import TemplateSpec
    from grpcflow.lower.model import Attachment
    from grpcflow.task_makers import MakesBoundModelTask, MakesBoundTask, MakesModelTask, MakesTask

__all__ = ["AlwaysEagerIgnored", "Grpcflow"]

#: The classes under names that the app's methods do not hide.
_AnyResult = AsyncResult[Any]
_Set = ResultSet

_Base = type[Task[..., Any]] | None


class AlwaysEagerIgnored(UserWarning):
    """``send_task`` was called while ``task_always_eager`` is set: it sends all the same."""


class Grpcflow(SendingApp, AwaitableApp, ScheduledApp, AppCommands, AppShortcuts):
    """One app: a set of tasks with settings, and the coordinator they go to.

    Args:
        main: Name of the app; stands for ``__main__`` in the names of tasks.
        include: Modules that a worker imports so that their tasks are registered; None: none.
        coordinator: Address HOST:PORT of the coordinator, several joined by commas, or a sequence of them.
            None: the environment variable ``GRPCFLOW_COORDINATOR``, or else 127.0.0.1:50551.
        config_source: Where settings are read at the first use of one; see ``config_from_object``.
        namespace: What the names of settings begin with there, such as ``CELERY``; None: nothing.
        task_cls: Class of its tasks where ``@app.task`` names no ``base``, or its name as ``package.module:Class``.
        strict_typing: False: arguments of tasks are not checked where a call is made. Default True.
        autofinalize: False: ``finalize()`` must be called before tasks are used. Default True.
        set_as_current: True: this app is used where none is named. Default True.
        changes: More settings by name.
        **settings: The same as keywords.

    Raises:
        ImproperlyConfigured: A setting does not exist or has a wrong value, or an argument of Celery's has no place
            here; says where it went.
    """

    def __init__(
        self,
        main: str | None = "",
        *,
        include: Sequence[str] | None = None,
        coordinator: str | Sequence[str] | None = None,
        config_source: Any = None,
        namespace: str | None = None,
        task_cls: type[Task[..., Any]] | str | None = None,
        strict_typing: bool = True,
        autofinalize: bool = True,
        set_as_current: bool = True,
        changes: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        settings = check_arguments(settings)
        super().__init__(config_source, namespace, autofinalize, task_class(task_cls))
        self.main = main or ""
        given = {"include": include and tuple(include), "coordinator": coordinator}
        self.conf.update(
            {
                **(changes or {}),
                **settings,
                **{name: value for name, value in given.items() if value is not None},
            }
        )
        self.strict_typing = strict_typing
        #: Templates of calls without options, for the lowering.
        self.template_cache: dict[tuple[Any, ...], TemplateSpec] = {}
        self._control: Control | None = None
        self._connected: tuple[object, Connection | None] = None, None
        if set_as_current:
            state.set_current_app(self)
        state.apps.append(self)
        for register in state.shared_registrations:
            register(self)

    # --- tasks --------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> dict[str, Task[..., Any]]:
        """The registered tasks by name; the first look finalizes the app. Nothing is built in.

        Raises:
            RuntimeError: The app was made with ``autofinalize=False`` and is not finalized.
        """
        if not self.finalized:
            self.finalize(auto=True)
        return self._tasks

    def task_named(self, name: str) -> Task[..., Any]:
        """Return the task of this name.

        Raises:
            NotRegistered: There is none; the message names the nearest.
        """
        found = self._tasks.get(name)
        if found is None:
            near = difflib.get_close_matches(name, self._tasks, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else " Is its module imported?"
            raise NotRegistered(f"no task {name!r} is registered with {self!r}.{hint}")
        return found

    @overload
    def task(self, fun: "Callable[P, R]", /) -> "Task[P, R]": ...
    @overload
    def task(
        self,
        /,
        *,
        pydantic: Literal[True],
        bind: Literal[True],
        name: str | None = None,
        base: _Base = None,
        **options: Any,
    ) -> "MakesBoundModelTask": ...
    @overload
    def task(
        self,
        /,
        *,
        pydantic: Literal[True],
        bind: Literal[False] = False,
        name: str | None = None,
        base: _Base = None,
        **options: Any,
    ) -> "MakesModelTask": ...
    @overload
    def task(
        self,
        /,
        *,
        bind: Literal[True],
        name: str | None = None,
        base: _Base = None,
        **options: Any,
    ) -> "MakesBoundTask": ...
    @overload
    def task(
        self,
        /,
        *,
        bind: Literal[False] = False,
        name: str | None = None,
        base: _Base = None,
        **options: Any,
    ) -> "MakesTask": ...
    @overload
    def task(
        self,
        /,
        *,
        bind: bool,
        name: str | None = None,
        base: _Base = None,
        **options: Any,
    ) -> "Callable[[Callable[..., R]], Task[..., R]]": ...
    def task(
        self,
        fun: Callable[..., Any] | None = None,
        /,
        *,
        bind: bool = False,
        name: str | None = None,
        base: _Base = None,
        **options: Any,
    ) -> Any:
        """Make a task of a function and register it; with or without parentheses.

        Args:
            fun: The function.
            bind: True: the function gets the task itself as first argument. Default False.
            name: Name of the task; None: the module's and the function's.
            base: Class of the task; None: the app's ``task_cls``.
            **options: Attributes of the task: ``queue``, ``priority``, ``ignore_result``, ``acks_late``,
                ``max_retries``, ``default_retry_delay``, ``expires``, ``serializer``, ``track_started``,
                ``typing``, ``autoretry_for``, ``dont_autoretry_for``, ``retry_backoff``,
                ``retry_backoff_max``, ``retry_jitter``; see ``Task``.

        Raises:
            TypeError: There is no such option.
        """

        def decorate(function: Callable[..., Any]) -> Task[..., Any]:
            # What a base class says of typing holds; what nobody says is as the app has it.
            loose = {} if self.strict_typing or (base is not None and "typing" in vars(base)) else {"typing": False}
            made = make_task(self, function, bind, name, base or self.task_cls, {**loose, **options})
            return self.register_task(made)

        return decorate if fun is None else decorate(fun)

    def register_task(self, task: "Task[P, R_co] | type[Task[P, R_co]]") -> Task[P, R_co]:
        """Register a task, or a class of one, and return the task.

        Warns:
            DuplicateTaskName: Another function has this name.
        """
        if isinstance(task, type):
            task = task()
        prepare(self, task)
        known = self._tasks.get(task.name)
        if known is not None and origin(known) != origin(task):
            message = f"the task name {task.name!r} is used twice: by {origin(known)} and by {origin(task)}"
            warnings.warn(f"{message}; the latter is called. Give one of them another name=.", DuplicateTaskName, 3)
        self._tasks[task.name] = task
        return task

    def gen_task_name(self, name: str, module: str) -> str:
        """Return the default name of a task from the names of its function and of its module."""
        return f"{main_name(self.main) if module == '__main__' else module}.{name}"

    # --- sending ------------------------------------------------------------------------------------------

    def submit(
        self,
        canvas: Signature,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        attachment: "Attachment | None" = None,
    ) -> Any:
        """Submit a canvas as one graph; returns its result once the graph is durable.

        Args:
            canvas: What to run.
            args: Partial arguments for its first step.
            kwargs: Partial keyword arguments for its first step.
            options: Options as in ``Task.apply_async``.
            attachment: The running attempt that the graph replaces or joins; None: it stands alone.

        Returns:
            An AsyncResult, a GroupResult where the canvas ends in a group, None for an empty chain.

        Raises:
            Exception: Those of ``Task.apply_async``.
        """
        return run_here(self._submitted(canvas, args, kwargs, options, attachment))

    def send_task(
        self,
        name: str,
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> _AnyResult:
        """Submit a call by the name of its task, which need not be registered here.

        Args:
            name: Name of the task.
            args: Positional arguments.
            kwargs: Keyword arguments.
            **options: Options as in ``Task.apply_async``.

        Raises:
            Exception: Those of ``Task.apply_async``.

        Warns:
            AlwaysEagerIgnored: ``task_always_eager`` is set; the call is sent all the same.
        """
        return cast(_AnyResult, run_here(self._send(self._named(name, args, kwargs), (), None, options)))

    def _named(self, name: str, args: Iterable[Any] | None, kwargs: Mapping[str, Any] | None) -> Signature:
        """Return the signature of a call that is sent whatever ``task_always_eager`` says."""
        if self.conf.task_always_eager:
            message = "task_always_eager holds for tasks and canvases; send_task() sends all the same"
            warnings.warn(message, AlwaysEagerIgnored, stacklevel=3)
        return Signature(name, args, kwargs, app=self)

    # --- results and control ------------------------------------------------------------------------------

    def AsyncResult(self, task_id: str) -> _AnyResult:  # noqa: N802 - Celery's name
        """Return the result of the call with this id."""
        return AsyncResult(task_id, app=self)

    @property
    def GroupResult(self) -> BoundGroupResult:  # noqa: N802 - Celery's name
        """``GroupResult`` for this app: called with the group's id and its members; ``restore(id)`` too."""
        return BoundGroupResult(self)

    def ResultSet(self, results: Iterable[_AnyResult | _Set] = ()) -> _Set:  # noqa: N802 - Celery's name
        """Return the results of several calls as one."""
        return ResultSet(results, self)

    @property
    def connection(self) -> "Connection":
        """The connection to the coordinator; one for each process, opened at first use.

        Raises:
            CoordinatorUnavailable: Raised by its methods, not here.
        """
        # Looked up with every call, so what was found is kept for as long as it must be the same.
        said, found = self._connected
        if found is not None and said == self.conf.said and not found.is_closed:
            return found
        from grpcflow.connection import connection_for

        found = connection_for(self.conf.addresses, self.conf.credentials)
        self._connected = self.conf.said, found
        return found

    @property
    def control(self) -> "Control":
        """Commands and questions for workers."""
        if self._control is None:
            from grpcflow.control import Control

            self._control = Control(self)
        return self._control

    def __repr__(self) -> str:
        return f"<Grpcflow {self.main or '(no name)'}>"
