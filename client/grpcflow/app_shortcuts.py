"""Names that an app has for the user's convenience, as Celery's app has them; each is a line or two of others.

It may not import grpc, protobuf or the codec.
"""

from collections.abc import Collection, Iterator
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Any, Literal, cast, overload

from grpcflow import state
from grpcflow.app_setup import AppSetup
from grpcflow.batch import Batch
from grpcflow.batch import current as current_batch
from grpcflow.canvas.signature import Signature
from grpcflow.limits import checked_size
from grpcflow.task import Task

if TYPE_CHECKING:
    from grpcflow import canvas
    from grpcflow.app import Grpcflow
    from grpcflow.event_control import Events
    from grpcflow.failed_control import FailedControl
    from grpcflow.graph import Explanation, GraphView, Summary
    from grpcflow.task_makers import MakesBatchTask, MakesBoundBatchTask

__all__ = ["AppShortcuts"]

#: The class under a name that the app's own does not hide.
_Task = Task[..., Any]


class AppShortcuts(AppSetup):
    """The app's shorter ways to canvases, to the task that runs, and to what is known of the app."""

    _task_base: type[_Task] | None = None
    _failed: "FailedControl | None" = None
    _events: "Events | None" = None

    @property
    def Task(self) -> type[_Task]:  # noqa: N802 - Celery's name
        """The class to derive classes of tasks from that belong to this app."""
        if self._task_base is None:
            self._task_base = type("Task", (self.task_cls,), {"app": self, "abstract": True})
        return self._task_base

    @overload
    def batch_task(
        self,
        *,
        size: int,
        within: float = 0.5,
        bind: Literal[False] = False,
        name: str | None = None,
        base: type[_Task] | None = None,
        **options: Any,
    ) -> "MakesBatchTask": ...
    @overload
    def batch_task(
        self,
        *,
        size: int,
        within: float = 0.5,
        bind: Literal[True],
        name: str | None = None,
        base: type[_Task] | None = None,
        **options: Any,
    ) -> "MakesBoundBatchTask": ...
    def batch_task(
        self,
        *,
        size: int,
        within: float = 0.5,
        bind: bool = False,
        name: str | None = None,
        base: type[_Task] | None = None,
        **options: Any,
    ) -> Any:
        """Make a task of a function that takes many calls at once, as a list of ``BatchCall``, and register it.

        Calls are made as those of any task, each with a value or a failure of its own; their arguments are not checked.

        Args:
            size: How many calls the function gets at most; at least 1.
            within: Seconds that the first of them waits for others. Default 0.5; 0: for none.
            bind: True: the function gets the task itself as first argument. Default False.
            name: Name of the task; None: the module's and the function's.
            base: Class of the task; None: the app's ``task_cls``.
            **options: As for ``task``.

        Raises:
            ValueError: ``size`` or ``within`` cannot be.
            TypeError: There is no such option.
        """
        app = cast("Grpcflow", self)
        options = {"typing": False, **options, "batch_size": checked_size(size), "batch_within": within}
        return app.task(bind=bind, name=name, base=base, **options)

    def signature(self, varies: Any, *args: Any, **kwargs: Any) -> Signature:
        """Return a signature that this app sends; see ``grpcflow.signature``."""
        from grpcflow.canvas.signature import signature

        return signature(varies, *args, **{**kwargs, "app": self})

    def chain(self, *steps: Any, **options: Any) -> "canvas.chain[Any, Any]":
        """Return a chain that this app sends; see ``grpcflow.chain``."""
        from grpcflow.canvas import chain

        return chain(*steps, **{**options, "app": self})

    def group(self, *members: Any, **options: Any) -> "canvas.group[Any]":
        """Return a group that this app sends; see ``grpcflow.group``."""
        from grpcflow.canvas import group

        return group(*members, **{**options, "app": self})

    def chord(self, header: Any, *body: Any, **options: Any) -> "canvas.chord[Any, Any]":
        """Return a chord that this app sends; see ``grpcflow.chord``."""
        from grpcflow.canvas import chord

        return chord(header, *body, **{**options, "app": self})

    def graph(self, id: str) -> "GraphView":
        """Return a submitted graph as a thing: to look at, draw, cancel, retry. Asks nobody yet.

        Args:
            id: Id of any of its tasks, or its own 24 hexadecimal digits.
        """
        from grpcflow.graph import GraphView

        return GraphView(cast("Grpcflow", self), id)

    def graphs(
        self,
        states: Collection[str] | str = (),
        task: str = "",
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        *,
        attached: bool = False,
        unfinished: bool = False,
        oldest_first: bool = False,
    ) -> "Iterator[Summary]":
        """Yield the submitted graphs in short, the newest first; parameters and errors as in ``grpcflow.graph.view``.

        Args:
            states: Only graphs in one of these states.
            task: Only graphs that call this task; a pattern with ``*`` and ``?``.
            since: Only graphs submitted then or later, with a time zone.
            until: Only graphs submitted before, with a time zone.
            limit: Most graphs; None: all, page by page.
            attached: True: also graphs that run in place of a task of another one.
            unfinished: True: only graphs of which some call has not ended.
            oldest_first: True: the oldest first; with ``unfinished``, the one that takes longest.

        Raises:
            ValueError: There is no such state, or a moment has no time zone.
            CoordinatorUnavailable: It could not be reached.
        """
        from grpcflow.graph.view import graphs

        return graphs(
            cast("Grpcflow", self),
            states=states,
            task=task,
            since=since,
            until=until,
            limit=limit,
            attached=attached,
            unfinished=unfinished,
            oldest_first=oldest_first,
        )

    @property
    def failed(self) -> "FailedControl":
        """The calls that failed for good: list them, retry them, take them off the list."""
        if self._failed is None:
            from grpcflow.failed_control import FailedControl

            self._failed = FailedControl(cast("Grpcflow", self))
        return self._failed

    @property
    def events(self) -> "Events":
        """What happens in the cluster: read it, publish to it, and Celery's ``Receiver`` and ``State``."""
        if self._events is None:
            from grpcflow.event_control import Events

            self._events = Events(cast("Grpcflow", self))
        return self._events

    def explain(self, id: str) -> "Explanation":
        """Say why a task is where it is: ``str()`` of the answer is a sentence.

        Args:
            id: Its id.

        Raises:
            NotFound: The coordinator knows no such task, or it has expired.
            CoordinatorUnavailable: It could not be reached.
        """
        from grpcflow.graph.view import explain

        return explain(cast("Grpcflow", self), id)

    def batch(self) -> Batch:
        """Return a block that collects the submissions made in it and in what it calls, and sends them at its end.

        ``with app.batch():`` waits once, until all of them are durable; ``async with`` does so on the event loop. An
        exception in it submits nothing that was not sent. A block inside another one joins it. See docs/calling.md.
        """
        found = current_batch(cast("Grpcflow", self))
        return Batch(cast("Grpcflow", self)) if found is None else found

    def set_current(self) -> None:
        """Use this app where none is named."""
        state.set_current_app(cast("Grpcflow", self))

    def set_default(self) -> None:
        """The same as ``set_current``: there is one current app for all threads."""
        self.set_current()

    @property
    def current_task(self) -> _Task | None:
        """The task that runs here, None outside of one."""
        return state.get_current_task()

    @property
    def timezone(self) -> tzinfo:
        """The time zone of the settings."""
        return self.conf.tzinfo

    def now(self) -> datetime:
        """Return the time, in the time zone of the settings."""
        return datetime.now(self.conf.tzinfo)

    def bugreport(self) -> str:
        """Return the versions, the machine and the settings, for a report."""
        from grpcflow.bugreport import bugreport

        return bugreport(cast("Grpcflow", self))
