"""Exceptions as data and back: what a worker writes when a task raises, and what ``get()`` raises from it.

``capture`` never raises, whatever the exception does. ``rebuild`` never imports or calls a name because it
was sent: it builds an exception only where its class is already there and is a subclass of Exception, and
gives a ``RemoteError`` that tells everything else. Imports protobuf at first use only, and never grpc.
"""

import importlib
import sys
import traceback as traceback_module
import types
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from grpcflow import codec, errors
from grpcflow_protos import limits

if TYPE_CHECKING:
    from grpcflow_protos.v1 import value_pb2

__all__ = ["CAUSE_DEPTH", "GROUP_MEMBERS", "capture", "rebuild"]

#: How deep a chain of causes, and of groups in groups, is followed.
CAUSE_DEPTH: Final = 8

#: Most members of one exception group that travel.
GROUP_MEMBERS: Final = 100

#: Bytes that a whole failure may take; the rest of the payload limit is room for the message around it.
_BUDGET: Final = limits.PAYLOAD_LIMIT - 64 * 1024

_CUT: Final = "\n  ... the middle is left out ...\n"

#: What stands for an exception that this side or the coordinator made up itself, by its stable code.
_REASONS: Final[Mapping[str, type[errors.GrpcflowError]]] = {
    "CHORD": errors.ChordError,
    "EXPIRED": errors.TaskRevokedError,
    "INPUTS_TOO_LARGE": errors.PayloadTooLarge,
    "REVOKED": errors.TaskRevokedError,
    "SOFT_TIME_LIMIT": errors.SoftTimeLimitExceeded,
    "TIME_LIMIT": errors.TimeLimitExceeded,
    "TOO_LARGE": errors.PayloadTooLarge,
    "UNREGISTERED": errors.NotRegistered,
    "WORKER_LOST": errors.WorkerLostError,
}


# --- capture ---------------------------------------------------------------------------------------------


class _Capture:
    """One capture: what has been seen already and how many bytes are left for the whole failure."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.left = _BUDGET

    def failure(self, error: BaseException, depth: int) -> "value_pb2.Failure":
        """Return the failure for one exception, its cause and its members."""
        from grpcflow_protos.v1 import value_pb2

        self.seen.add(id(error))
        failure = value_pb2.Failure()
        if isinstance(error, errors.RemoteError):
            failure.type_name, failure.module = _text(error.type_name), _text(error.module)
            failure.message = _cut_end(_text(error.message), limits.FAILURE_MESSAGE_LIMIT)
            failure.traceback = _cut_middle(_text(error.traceback), limits.TRACEBACK_LIMIT)
        else:
            failure.type_name, failure.module = _names(error)
            failure.message = _cut_end(_safely(lambda: str(error), error), limits.FAILURE_MESSAGE_LIMIT)
            failure.traceback = _cut_middle(_traceback(error, whole=depth == 0), limits.TRACEBACK_LIMIT)
        self.left -= len(failure.traceback.encode()) + len(failure.message.encode()) + 1024
        self._add_args(failure, error)
        if depth < CAUSE_DEPTH:
            self._add_relatives(failure, error, depth + 1)
        return failure

    def _add_args(self, failure: "value_pb2.Failure", error: BaseException) -> None:
        """Write the args where they can travel and there is room; a group's are its message alone."""
        try:
            args = list(error.args)
            if isinstance(error, BaseExceptionGroup):
                args = [error.message]
            written = codec.encode_exact(args, path="args")
        except BaseException:  # noqa: BLE001 - args may be any code at all; without them the failure still tells all
            return
        # At most half of what is left: a cause and its traceback are worth more than huge arguments.
        if len(written) <= self.left // 2:
            failure.args = written
            self.left -= len(written)

    def _add_relatives(self, failure: "value_pb2.Failure", error: BaseException, depth: int) -> None:
        """Add the cause and, for a group, its members, each once and while there is room."""
        cause = _attribute(error, "__cause__")
        if self._wanted(cause):
            failure.cause.CopyFrom(self.failure(cause, depth))
        members = _attribute(error, "exceptions") if isinstance(error, BaseExceptionGroup | errors.RemoteError) else ()
        if not isinstance(members, tuple):
            return
        for member in members[:GROUP_MEMBERS]:
            if self._wanted(member):
                failure.exceptions.append(self.failure(member, depth))
        if len(failure.exceptions) < len(members):
            # Without all members the group cannot be rebuilt as it was: say so by leaving its args out.
            failure.args = b""

    def _wanted(self, error: object) -> bool:
        return isinstance(error, BaseException) and id(error) not in self.seen and self.left > 0


def capture(error: BaseException, *, reason: str = "", origin: str = "") -> "value_pb2.Failure":
    """Return an exception as data. Never raises, whatever the exception does.

    Args:
        error: The exception; also one that is no subclass of Exception, such as SystemExit.
        reason: Stable code where grpcflow made the failure itself, such as ``UNREGISTERED``; default none.
        origin: Id of the node that failed first, where that is another one; default none.

    Returns:
        The failure: names, args where they can travel, message and traceback cut to their limits, causes
        and group members to a depth of 8, all together within the payload limit.
    """
    failure = _Capture().failure(error, 0)
    failure.reason = reason
    failure.origin = origin
    return failure


def _safely(make: Callable[[], object], error: BaseException) -> str:
    """Return the text that ``make`` gives, or words that say that it raised."""
    try:
        return _text(make())
    except BaseException as second:  # noqa: BLE001 - a broken __str__ may raise anything, also SystemExit
        return f"<{type(error).__name__} whose text could not be made: its str() raised {type(second).__name__}>"


def _text(value: object) -> str:
    """Return text that protobuf takes: lone surrogates are written as their escapes."""
    text = str.__str__(value) if isinstance(value, str) else f"<{type(value).__name__}>"
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _names(error: BaseException) -> tuple[str, str]:
    """Return the qualified name and the module of the exception's class."""
    kind = type(error)
    return _cut_end(_text(kind.__qualname__), 1024), _cut_end(_text(_attribute(kind, "__module__")), 1024)


def _attribute(value: object, name: str) -> Any:
    """Return an attribute, or None where reading it raises."""
    try:
        return getattr(value, name, None)
    except BaseException:  # noqa: BLE001 - a property of a user's class may raise anything
        return None


def _traceback(error: BaseException, *, whole: bool) -> str:
    """Return the formatted traceback; ``whole``: with the exceptions it came from."""
    try:
        return _text("".join(traceback_module.format_exception(type(error), error, error.__traceback__, chain=whole)))
    except BaseException:  # noqa: BLE001 - formatting calls the exception's own code
        return _safely(lambda: "".join(traceback_module.format_tb(error.__traceback__)), error)


def _cut_end(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _cut_middle(text: str, limit: int) -> str:
    """Return text of at most ``limit`` characters: its beginning and, longer, its end."""
    if len(text) <= limit:
        return text
    head = (limit - len(_CUT)) // 3
    return f"{text[:head]}{_CUT}{text[len(text) - (limit - len(_CUT) - head) :]}"


# --- rebuild ---------------------------------------------------------------------------------------------


def rebuild(failure: "value_pb2.Failure", exception_modules: Collection[str] = ()) -> BaseException:
    """Return the exception that a failure tells of. Never raises.

    It is of the task's own class where that class is in a module that is imported here already (or listed
    in ``exception_modules``), is a subclass of Exception, and can be built again with equal ``args``. It is one
    of grpcflow's own classes where the failure carries a known reason. Otherwise it is a ``RemoteError``.

    Args:
        failure: The failure.
        exception_modules: Names of modules that may be imported to find the class; default none.

    Returns:
        The exception, with ``__cause__`` and ``remote_traceback`` (text) set.
    """
    return _rebuild(failure, exception_modules, 0)


def _rebuild(failure: "value_pb2.Failure", modules: Collection[str], depth: int) -> BaseException:
    """Return the exception for one failure, its cause and its members."""
    cause: BaseException | None = None
    members: list[BaseException] = []
    if depth < CAUSE_DEPTH:
        cause = _rebuild(failure.cause, modules, depth + 1) if failure.HasField("cause") else None
        members = [_rebuild(member, modules, depth + 1) for member in failure.exceptions]
    error = _own(failure) or _original(failure, modules, members)
    if error is None:
        error = errors.RemoteError(
            failure.type_name or failure.reason or "unknown failure",
            failure.module,
            _args(failure) or (),
            failure.traceback,
            cause,
            message=failure.message,
            exceptions=members,
        )
    try:
        error.__cause__ = cause
        error.remote_traceback = failure.traceback  # type: ignore[attr-defined]
    except Exception:  # noqa: BLE001 - a class may forbid attributes; the error itself is what matters
        return error
    return error


def _own(failure: "value_pb2.Failure") -> errors.GrpcflowError | None:
    """Return grpcflow's own exception for a failure with a known reason."""
    kind = _REASONS.get(failure.reason)
    return None if kind is None else kind(failure.message, code=failure.reason)


def _args(failure: "value_pb2.Failure") -> tuple[Any, ...] | None:
    """Return the args, or None where they did not travel or cannot be read."""
    if not failure.args:
        return None
    try:
        # Never pickle, whatever the app accepts: args are written as JSON by every worker.
        args = codec.decode(failure.args, failure.args_content_type)
    except errors.SerializationError:
        return None
    return tuple(args) if isinstance(args, list) else None


def _original(
    failure: "value_pb2.Failure", modules: Collection[str], members: list[BaseException]
) -> BaseException | None:
    """Return an exception of the task's own class, or None where that would not be the same exception."""
    kind = _exception_class(failure.module, failure.type_name, modules)
    args = None if kind is None else _args(failure)
    if kind is None or args is None:
        return None
    try:
        wanted = (*args, members) if issubclass(kind, ExceptionGroup) else args
        build = cast("Callable[..., BaseException]", kind)
        error = build(*wanted)
        same = error.args == wanted
        return error if same and type(error) is kind else None
    except (Exception, SystemExit, GeneratorExit):  # noqa: BLE001 - the class's own code may raise anything
        return None


def _exception_class(module_name: str, type_name: str, modules: Collection[str]) -> type[Exception] | None:
    """Return the exception class of this name, or None. Looks into dictionaries only: runs no code of others."""
    module = sys.modules.get(module_name)
    if module is None and module_name in modules:
        try:
            module = importlib.import_module(module_name)
        except Exception:  # noqa: BLE001 - a listed module that cannot be imported here leaves a RemoteError
            return None
    if not isinstance(module, types.ModuleType):
        return None
    found: object = module
    for part in type_name.split("."):
        if found is not module and not isinstance(found, type):
            return None
        found = vars(found).get(part)
    if isinstance(found, type) and Exception in type.mro(found):
        return found
    return None
