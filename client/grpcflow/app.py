"""The app: settings, registered tasks, and the way from a canvas to its result.

Ties the parts of the client together and has none of their knowledge. Importing it must stay light: grpc,
protobuf and the codec are imported when something is sent, and not before.
"""

import difflib
import importlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar, cast, overload

from grpcflow import ids, state
from grpcflow.canvas.parts import CALLBACKS, as_list
from grpcflow.canvas.signature import Signature, as_signature
from grpcflow.conf import Settings
from grpcflow.errors import NotRegistered
from grpcflow.registration import DuplicateTaskName, main_name, make_task, origin, prepare
from grpcflow.result import AsyncResult, GroupResult, result_of
from grpcflow.task import Task

if TYPE_CHECKING:
    from grpcflow.connection import Connection
    from grpcflow.control import Control
    from grpcflow.lower import TemplateSpec
    from grpcflow.lower.model import Attachment

__all__ = ["Grpcflow"]

P = ParamSpec("P")
R = TypeVar("R")

#: The classes under names that the app's methods do not hide.
_AnyResult = AsyncResult[Any]
_Group = GroupResult

_Base = type[Task[..., Any]] | None


class Grpcflow:
    """One app: a set of tasks with settings, and the coordinator they go to.

    Args:
        main: Name of the app; stands for ``__main__`` in the names of tasks.
        include: Modules that a worker imports so that their tasks are registered.
        coordinator: Address HOST:PORT of the coordinator, several joined by commas, or a sequence of them.
            None: the environment variable ``GRPCFLOW_COORDINATOR``, or else 127.0.0.1:50551.
        set_as_current: True: this app is used where none is named. Default True.
        task_cls: Class of its tasks where ``@app.task`` names no ``base``.
        **settings: More settings, as for ``conf.update``.

    Raises:
        ImproperlyConfigured: A setting does not exist or has a wrong value.
    """

    def __init__(
        self,
        main: str = "",
        *,
        include: Sequence[str] = (),
        coordinator: str | Sequence[str] | None = None,
        set_as_current: bool = True,
        task_cls: type[Task[..., Any]] = Task,
        **settings: Any,
    ) -> None:
        self.main = main
        self.conf = Settings()
        self.conf.update(settings, include=tuple(include), coordinator=coordinator)
        self.task_cls = task_cls
        self._tasks: dict[str, Task[..., Any]] = {}
        #: Templates of calls without options, for the lowering.
        self.template_cache: dict[tuple[Any, ...], TemplateSpec] = {}
        self._control: Control | None = None
        if set_as_current:
            state.set_current_app(self)
        state.apps.append(self)
        for register in state.shared_registrations:
            register(self)

    # --- tasks --------------------------------------------------------------------------------------------

    @property
    def tasks(self) -> dict[str, Task[..., Any]]:
        """The registered tasks by name."""
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
    def task(self, fun: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        /,
        *,
        bind: Literal[True],
        name: str | None = None,
        base: type[Task[..., Any]] | None = None,
        **options: Any,
    ) -> Callable[[Callable[Concatenate[Any, P], R]], Task[P, R]]: ...
    @overload
    def task(
        self,
        /,
        *,
        bind: Literal[False] = False,
        name: str | None = None,
        base: type[Task[..., Any]] | None = None,
        **options: Any,
    ) -> Callable[[Callable[P, R]], Task[P, R]]: ...
    def task(
        self,
        fun: Callable[..., Any] | None = None,
        /,
        *,
        bind: bool = False,
        name: str | None = None,
        base: type[Task[..., Any]] | None = None,
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
            made = make_task(self, function, bind, name, base or self.task_cls, options)
            return self.register_task(made)

        return decorate if fun is None else decorate(fun)

    def register_task(self, task: "Task[..., Any] | type[Task[..., Any]]") -> Task[..., Any]:
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

    def load_includes(self) -> None:
        """Import the modules of the ``include`` setting, so that their tasks are registered."""
        for module in self.conf.include:
            importlib.import_module(module)

    def finalize(self) -> None:
        """Get ready to work: compute what is otherwise computed at first use. Calling it again does nothing."""
        _ = self.conf.router

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
            The errors of ``Task.apply_async``.
        """
        from grpcflow import lower

        if options and any(options.get(name) for name in CALLBACKS):
            options = {**options, **{name: self._callbacks(options.get(name)) for name in CALLBACKS}}
        request = state.current_request()
        parent, root = ("", "") if request is None else (request.id or "", request.root_id or "")
        calls = lower.Calls(self, parent, root)
        graph = lower.lower(canvas, calls, args=tuple(args), kwargs=kwargs, options=options)
        if graph is None:
            return None
        graph_id = ids.mint_graph()
        self.connection.submit(lower.to_chunks(graph, graph_id, attachment))
        made = result_of(self, graph_id, graph.outcome)
        running = state.get_current_task()
        return made if running is None else running.add_trail(made)

    def _callbacks(self, value: Any) -> list[Signature]:
        """Return callbacks that were given as options as signatures."""
        return [as_signature(item, self) for item in as_list(value)]

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
            The errors of ``Task.apply_async``.
        """
        return cast(_AnyResult, self.submit(Signature(name, args, kwargs, app=self), options=options))

    def signature(self, varies: Any, *args: Any, **kwargs: Any) -> Signature:
        """Return a signature that this app sends; see ``grpcflow.signature``."""
        from grpcflow.canvas.signature import signature

        return signature(varies, *args, **{**kwargs, "app": self})

    # --- results and control ------------------------------------------------------------------------------

    def AsyncResult(self, task_id: str) -> _AnyResult:  # noqa: N802 - Celery's name
        """Return the result of the call with this id."""
        return AsyncResult(task_id, app=self)

    def GroupResult(  # noqa: N802 - Celery's name
        self, group_id: str, results: Sequence[_AnyResult | _Group] = ()
    ) -> _Group:
        """Return the result of a group with these members."""
        return GroupResult(group_id, results, app=self)

    @property
    def connection(self) -> "Connection":
        """The connection to the coordinator; one for each process, opened at first use.

        Raises:
            CoordinatorUnavailable: Raised by its methods, not here.
        """
        from grpcflow.connection import connection_for

        return connection_for(self.conf.addresses)

    @property
    def control(self) -> "Control":
        """Commands and questions for workers."""
        if self._control is None:
            from grpcflow.control import Control

            self._control = Control(self)
        return self._control

    def set_current(self) -> None:
        """Use this app where none is named."""
        state.set_current_app(self)

    def __repr__(self) -> str:
        return f"<Grpcflow {self.main or '(no name)'}>"
