"""Signals: what user code connects to, to be told of what happens in the client and in the worker.

Names and arguments are Celery's. A receiver can never break its sender: the exceptions that it raises are logged.
Nothing is sent from here; the parts that send check ``receivers`` first, so that a signal nobody listens to costs one
look. It may not import grpc, protobuf, the codec or any other part of grpcflow.
"""

import inspect
import logging
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, overload

__all__ = [
    "Signal",
    "after_setup_logger",
    "after_setup_task_logger",
    "after_task_publish",
    "before_task_publish",
    "celeryd_after_setup",
    "celeryd_init",
    "heartbeat_sent",
    "import_modules",
    "setup_logging",
    "task_failure",
    "task_internal_error",
    "task_postrun",
    "task_prerun",
    "task_received",
    "task_rejected",
    "task_retry",
    "task_revoked",
    "task_success",
    "task_unknown",
    "user_preload_options",
    "worker_before_create_process",
    "worker_init",
    "worker_process_init",
    "worker_process_shutdown",
    "worker_ready",
    "worker_shutdown",
    "worker_shutting_down",
]

Receiver = TypeVar("Receiver", bound=Callable[..., Any])

_log: Final = logging.getLogger("grpcflow.signals")


class Signal:
    """One kind of happening, and who wants to be told of it.

    Args:
        name: Its name, for the log.

    Attributes:
        name: The same.
        receivers: Who listens, in the order of connecting; empty, and so false, where nobody does.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.receivers: dict[Hashable, _Listener] = {}

    @overload
    def connect(
        self, receiver: Receiver, sender: Any = ..., weak: bool = ..., dispatch_uid: Hashable = ...
    ) -> Receiver: ...
    @overload
    def connect(
        self, receiver: None = ..., sender: Any = ..., weak: bool = ..., dispatch_uid: Hashable = ...
    ) -> Callable[[Receiver], Receiver]: ...
    def connect(
        self,
        receiver: Callable[..., Any] | None = None,
        sender: Any = None,
        weak: bool = True,
        dispatch_uid: Hashable = None,
    ) -> Any:
        """Tell ``receiver`` from now on; also a decorator, with and without arguments.

        Connecting the same receiver with the same sender again changes nothing.

        Args:
            receiver: Called with ``signal``, ``sender`` and the arguments of the signal, all by keyword; it must take
                ``**kwargs``, since signals may get more arguments.
            sender: Only of this sender: a task, the name of a task, or any object. None: of all.
            weak: True: a receiver that nobody else holds is forgotten. False: it is held. Default True.
            dispatch_uid: A name for this connection; a second one with the same name and sender changes nothing.

        Returns:
            The receiver; a decorator where none was given.

        Raises:
            TypeError: The receiver cannot be called.
            ValueError: It does not take ``**kwargs``.
        """
        if receiver is None:

            def decorate(function: Receiver) -> Receiver:
                return self.connect(function, sender, weak, dispatch_uid)

            return decorate
        _check(receiver, self.name)
        place = _place(receiver, sender, dispatch_uid)
        self.receivers.setdefault(place, _Listener(_sender(sender), self._held(receiver, place, weak)))
        return receiver

    def _held(self, receiver: Callable[..., Any], place: Hashable, weak: bool) -> "_Held":
        """Return a call that gives the receiver; once it is gone, its place is empty."""
        if not weak:
            return lambda: receiver

        def forget(gone: object) -> None:
            listener = self.receivers.get(place)
            if listener is not None and listener.receiver is gone:  # the place may be another's by now
                del self.receivers[place]

        return weakref.WeakMethod(receiver, forget) if inspect.ismethod(receiver) else weakref.ref(receiver, forget)

    def disconnect(
        self, receiver: Callable[..., Any] | None = None, sender: Any = None, dispatch_uid: Hashable = None
    ) -> bool:
        """Tell ``receiver`` no more; returns False where it was not connected in this way.

        Args:
            receiver: The receiver; not needed where ``dispatch_uid`` says which.
            sender: The sender that it was connected with.
            dispatch_uid: The name that it was connected under.

        Raises:
            ValueError: Neither a receiver nor a ``dispatch_uid`` is given.
        """
        if receiver is None and dispatch_uid is None:
            raise ValueError(f"{self.name}.disconnect() needs the receiver, or the dispatch_uid it was connected with")
        return self.receivers.pop(_place(receiver, sender, dispatch_uid), None) is not None

    def send(self, sender: Any, **arguments: Any) -> list[tuple[Callable[..., Any], Any]]:
        """Tell all who listen, in the order in which they connected.

        Args:
            sender: Who sends it.
            **arguments: What they are told.

        Returns:
            Each receiver with what it returned, or with the exception that it raised, which is logged.

        Raises:
            BaseException: SystemExit, KeyboardInterrupt and the like, which a receiver raises for the whole process:
                they go to the sender, as in Celery, and further receivers are not told. A worker goes on all the same.
        """
        if not self.receivers:
            return []
        answers: list[tuple[Callable[..., Any], Any]] = []
        for receiver in self._listening(sender):
            try:
                answer = receiver(signal=self, sender=sender, **arguments)
            except Exception as error:  # noqa: BLE001 - a receiver is a guest: what it breaks is its own
                _log.exception("%r failed as a receiver of the signal %s", receiver, self.name)
                answer = error
            answers.append((receiver, answer))
        return answers

    def has_listeners(self, sender: Any = None) -> bool:
        """Return True where somebody listens; with a sender, where somebody is told of that one."""
        return bool(self.receivers) and (sender is None or bool(self._listening(sender)))

    def _listening(self, sender: Any) -> list[Callable[..., Any]]:
        """Return who is told of a sender."""
        key = _sender(sender)
        wanted = [listener.receiver() for listener in list(self.receivers.values()) if listener.sender in (None, key)]
        return [receiver for receiver in wanted if receiver is not None]

    def __repr__(self) -> str:
        return f"<Signal {self.name} with {len(self.receivers)} receivers>"


_Held = Callable[[], Callable[..., Any] | None]


@dataclass(frozen=True, slots=True)
class _Listener:
    """A receiver, and the sender that it wants to hear of; None: of all."""

    sender: Hashable
    receiver: _Held


@dataclass(frozen=True, slots=True)
class _Object:
    """An object as a sender: the same object, and not an equal one."""

    sender: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Object) and self.sender is other.sender

    def __hash__(self) -> int:
        return id(self.sender)


def _check(receiver: Callable[..., Any], name: str) -> None:
    """Refuse what could not be called when the signal is sent."""
    if not callable(receiver):
        raise TypeError(f"{name}.connect() needs something to call, not {receiver!r}")
    try:
        parameters = inspect.signature(receiver).parameters.values()
    except ValueError:  # some callables of C do not tell what they take; they are trusted
        return
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        raise ValueError(
            f"{receiver!r} must take **kwargs to be a receiver of {name}: write def receiver(sender=None, **kwargs)"
        )


def _sender(sender: Any) -> Hashable:
    """Return what stands for a sender: a task and its name are the same, and None is any."""
    if sender is None or isinstance(sender, str):
        return sender
    name = getattr(sender, "name", None)
    return name if isinstance(name, str) and hasattr(sender, "apply_async") else _Object(sender)


def _place(receiver: Callable[..., Any] | None, sender: Any, dispatch_uid: Hashable) -> Hashable:
    """Return the key of a connection among the receivers."""
    if dispatch_uid is not None:
        return "named", dispatch_uid, _sender(sender)
    if inspect.ismethod(receiver):  # a bound method is made anew at every look, its two parts are not
        return id(receiver.__func__), id(receiver.__self__), _sender(sender)
    return id(receiver), _sender(sender)


#: In the process that sends; sender: the name of the task.
before_task_publish: Final = Signal("before_task_publish")
after_task_publish: Final = Signal("after_task_publish")

#: In the worker; sender: the task (task_received, task_unknown, task_rejected: the worker).
task_received: Final = Signal("task_received")
task_prerun: Final = Signal("task_prerun")
task_postrun: Final = Signal("task_postrun")
task_success: Final = Signal("task_success")
task_retry: Final = Signal("task_retry")
task_failure: Final = Signal("task_failure")
task_internal_error: Final = Signal("task_internal_error")
task_revoked: Final = Signal("task_revoked")
task_rejected: Final = Signal("task_rejected")
task_unknown: Final = Signal("task_unknown")

#: Of the worker itself and its processes.
celeryd_init: Final = Signal("celeryd_init")
celeryd_after_setup: Final = Signal("celeryd_after_setup")
worker_init: Final = Signal("worker_init")
worker_ready: Final = Signal("worker_ready")
worker_shutting_down: Final = Signal("worker_shutting_down")
worker_shutdown: Final = Signal("worker_shutdown")
worker_before_create_process: Final = Signal("worker_before_create_process")
worker_process_init: Final = Signal("worker_process_init")
worker_process_shutdown: Final = Signal("worker_process_shutdown")
heartbeat_sent: Final = Signal("heartbeat_sent")
import_modules: Final = Signal("import_modules")

#: Of logging: a receiver of setup_logging does it all itself, the others change what was set up.
setup_logging: Final = Signal("setup_logging")
after_setup_logger: Final = Signal("after_setup_logger")
after_setup_task_logger: Final = Signal("after_setup_task_logger")

#: Of the command line.
user_preload_options: Final = Signal("user_preload_options")
