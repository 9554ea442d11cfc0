"""How an app comes to be ready: its settings, the modules of its tasks, its own signals, its end.

The half of the app that sends nothing. It may not import grpc, protobuf or the codec.
"""

import importlib
import os
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from grpcflow import configuration, state
from grpcflow.conf import Settings
from grpcflow.discovery import Packages, checked_packages, discover
from grpcflow.errors import ImproperlyConfigured
from grpcflow.pending_settings import PendingSettings
from grpcflow.queues import Queues
from grpcflow.registration import prepare
from grpcflow.signals import Signal, import_modules
from grpcflow.task import Task

if TYPE_CHECKING:
    from typing import Self

__all__ = ["AppSetup", "check_arguments", "task_class"]

_NO_BROKER: Final = "there is no broker: give the address of the coordinator, as in coordinator='HOST:50551'"
_NO_BACKEND: Final = "the coordinator keeps the results: give its address, as in coordinator='HOST:50551'"
_NO_PART: Final = "the parts of an app cannot be replaced"
#: Arguments of Celery's app that have no place here, and why.
_REFUSED: Final[Mapping[str, str]] = {
    "broker": _NO_BROKER,
    "backend": _NO_BACKEND,
    "broker_url": _NO_BROKER,
    "result_backend": _NO_BACKEND,
    **dict.fromkeys(("loader", "amqp", "events", "log", "control", "tasks", "fixups", "backend_cls"), _NO_PART),
}


def check_arguments(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings among the arguments of an app, less those that None stands for as in Celery.

    Raises:
        ImproperlyConfigured: An argument of Celery's app has no place here; the message says what to write.
    """
    for name in settings.keys() & _REFUSED.keys():
        if settings[name] is not None:
            raise ImproperlyConfigured(f"Grpcflow() takes no {name!r}: {_REFUSED[name]}.", code="BAD_ARGUMENT")
    return {name: value for name, value in settings.items() if name not in _REFUSED}


def task_class(wanted: "type[Task[..., Any]] | str | None") -> "type[Task[..., Any]]":
    """Return the class of an app's tasks.

    Raises:
        ImproperlyConfigured: It is no class of tasks, or there is none of this name.
    """
    found: Any = configuration.imported(wanted) if isinstance(wanted, str) else wanted or Task
    if not (isinstance(found, type) and issubclass(found, Task)):
        raise ImproperlyConfigured(f"task_cls is {wanted!r}; it must be a class derived from grpcflow.Task.")
    return found


class AppSetup:
    """What an app needs before it can work.

    Args:
        config_source: Where settings are read at the first use of one; see ``config_from_object``.
        namespace: What the names of settings begin with there; None: nothing.
        autofinalize: False: the app must be finalized before its tasks are asked for.
        task_cls: Class of its tasks.

    Attributes:
        conf: The settings.
        on_configure: Sent before the configuration is read.
        on_after_configure: Sent after that, with ``source``, the settings.
        on_after_finalize: Sent once the app is finalized.
        on_after_fork: Sent in a child process, before it uses the app.
        finalized: True once the app is finalized.
    """

    def __init__(
        self, config_source: Any, namespace: str | None, autofinalize: bool, task_cls: type[Task[..., Any]]
    ) -> None:
        self.conf: Settings = PendingSettings(self._read_configuration, self._configured)
        self.namespace = namespace
        self.autofinalize = autofinalize
        self.task_cls = task_cls
        self.finalized = False
        self.configured = False
        self.on_configure: Signal = Signal("on_configure")
        self.on_after_configure: Signal = Signal("on_after_configure")
        self.on_after_finalize: Signal = Signal("on_after_finalize")
        self.on_after_fork: Signal = Signal("on_after_fork")
        self._tasks: dict[str, Task[..., Any]] = {}
        self._source = config_source
        self._silent = False
        self._defaults: list[Callable[[], Mapping[str, Any]]] = []
        self._discoveries: list[tuple[Packages, str | None]] = []
        self._finalizing = threading.RLock()

    @property
    def queues(self) -> Queues:
        """The queues that ``task_queues`` declares, by name; without any, the default one.

        Raises:
            ImproperlyConfigured: The configuration cannot be read.
        """
        return self.conf.queues

    # --- settings -----------------------------------------------------------------------------------------

    def config_from_object(
        self, obj: Any, silent: bool = False, force: bool = False, namespace: str | None = None
    ) -> Settings | None:
        """Take the settings of an object or a module; they are read at the first use of ``conf``.

        What the program sets itself, as by ``conf.update``, wins over them. Calling it again replaces them.

        Args:
            obj: A mapping, an object, a module, or the name of one as ``package.module`` or ``package.module:name``.
            silent: True: a module that does not exist is passed over.
            force: True: read it now.
            namespace: What the names begin with, such as ``CELERY`` for ``CELERY_TASK_ROUTES``.

        Returns:
            The settings where they were read, None where that is still to come.

        Raises:
            ImproperlyConfigured: When it is read: a name or a value is wrong, or there is no such module.
        """
        self._source, self._silent = obj, silent
        self.namespace = namespace or self.namespace
        if self.configured:
            self._read_source()
        elif not force:
            return None
        _ = self.conf.version
        return self.conf

    def config_from_envvar(self, variable_name: str, silent: bool = False, force: bool = False) -> bool:
        """Take the settings of the module that an environment variable names; returns False where it is not set.

        Args:
            variable_name: Name of the variable.
            silent: True: a variable that is not set, or a module that does not exist, is passed over.
            force: True: read it now.

        Raises:
            ImproperlyConfigured: The variable is not set; otherwise as for ``config_from_object``.
        """
        try:
            module = configuration.module_of_variable(variable_name)
        except ImproperlyConfigured:
            if silent:
                return False
            raise
        self.config_from_object(module, silent, force)
        return True

    def add_defaults(self, fun: Mapping[str, Any] | Callable[[], Mapping[str, Any]]) -> None:
        """Set settings that neither the program nor its configuration has set.

        Args:
            fun: Settings by name, or a call that gives them once the configuration is read.

        Raises:
            ImproperlyConfigured: A name is unknown or a value is wrong.
        """
        make = fun if callable(fun) else lambda: fun
        if self.configured:
            self.conf.add_defaults(make())
        else:
            self._defaults.append(make)

    def _read_configuration(self) -> None:
        """Read what was only named so far."""
        self.on_configure.send(self)
        self._read_source()
        for make in self._defaults:
            self.conf.add_defaults(make())

    def _read_source(self) -> None:
        """Put the settings of the configuration in place of those of the one before."""
        source = {} if self._source is None else self._source
        self.conf.replace_source(configuration.read_source(source, self.namespace, self._silent))

    def _configured(self) -> None:
        """Note that settings can be read."""
        self.configured = True
        self._defaults.clear()
        self.on_after_configure.send(self, source=self.conf)

    # --- modules of tasks ---------------------------------------------------------------------------------

    def autodiscover_tasks(
        self, packages: Packages | None = None, related_name: str | None = "tasks", force: bool = False
    ) -> list[str] | None:
        """Import the module of tasks of each package, once a worker imports the app's modules.

        A package without such a module is passed over; what a module raises while it is imported is not.

        Args:
            packages: The packages, or a call that gives them.
            related_name: Name of the module in each; None: the packages themselves.
            force: True: import them now.

        Returns:
            The names of what was imported, with ``force``; otherwise None.

        Raises:
            ImproperlyConfigured: No packages are named.
            TypeError: ``packages`` is one text.
        """
        wanted = checked_packages(packages)
        if force:
            return discover(wanted, related_name)
        self._discoveries.append((wanted, related_name))
        return None

    def load_includes(self) -> None:
        """Import the modules of ``imports`` and ``include`` and those that are looked for, so that tasks register.

        Raises:
            Exception: Whatever one of them raises.
        """
        for module in (*self.conf.imports, *self.conf.include):
            importlib.import_module(module)
        import_modules.send(self)
        for packages, related_name in self._discoveries:
            discover(packages, related_name)

    import_default_modules = load_includes

    def finalize(self, auto: bool = False) -> None:
        """Get ready to work: read the configuration and put its annotations on the tasks. Again it does nothing.

        Args:
            auto: True: nobody asked for it in so many words.

        Raises:
            RuntimeError: ``auto``, and the app was made with ``autofinalize=False``.
        """
        with self._finalizing:
            if self.finalized:
                return
            if auto and not self.autofinalize:
                raise RuntimeError(f"{self!r} has autofinalize=False: call its finalize() before its tasks are used")
            self.finalized = True
            try:
                _ = self.conf.router
                self._prepare_tasks()
            except BaseException:
                self.finalized = False  # so that the next use says the same
                raise
            self.on_after_finalize.send(self)

    @property
    def annotations(self) -> Any:
        """What ``task_annotations`` says, None as long as the configuration was not read; for registering tasks."""
        return self.conf.task_annotations if self.configured else None

    def _prepare_tasks(self) -> None:
        """Put annotations on the tasks that were registered before the configuration was read."""
        if self.conf.task_annotations:
            for task in list(self._tasks.values()):
                prepare(task.app, task)

    # --- its life -----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give the app up: it gets no shared tasks any more and is no longer current; the connection stays open."""
        state.forget_app(self)

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _after_fork() -> None:
    """Tell every app of a new process that it is one."""
    for app in state.apps:
        app.on_after_fork.send(app)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
