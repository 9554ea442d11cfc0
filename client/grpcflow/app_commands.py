"""Commands of remote control that an app defines: ``@app.control_command`` and ``@app.inspect_command``.

Holds what was defined; workers run it. It may not import grpc or protobuf.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypedDict, TypeVar, Unpack, cast, overload

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow

__all__ = ["AppCommand", "AppCommands", "CommandOptions", "CommandState"]

#: What `control_command` returns is the handler itself.
Handler = TypeVar("Handler", bound=Callable[..., Any])

#: Longest name of a command in bytes, and longest help in characters.
_NAME_LIMIT: Final = 255
_HELP_LIMIT: Final = 1024

#: Longest time in seconds that a caller waits.
_LONGEST: Final = 3_600.0

#: Names of the types that arguments can have; anything else callable turns a text into a value.
_TYPES: Final[Mapping[Any, str]] = {int: "int", float: "float", bool: "bool", str: "str"}


@dataclass(slots=True)
class CommandState:
    """What a handler gets first.

    Attributes:
        app: The app.
        hostname: Name of the worker.
        consumer: None; a worker has no consumer as Celery's have.
    """

    app: "Grpcflow"
    hostname: str
    consumer: None = None

    @staticmethod
    def tset(values: Iterable[Any]) -> set[Any]:
        """Return a set of values, as Celery's state does."""
        return set(values)


@dataclass(frozen=True, slots=True)
class AppCommand:
    """A command that an app defines.

    Attributes:
        name: Its name.
        function: The handler: takes the state and the arguments by name.
        control: True: it changes something; False: it only tells.
        args: Name and type of each argument, in order.
        signature: How people write the arguments, for help; empty: made of ``args``.
        variadic: Name of the argument that takes all that are left; empty: none.
        default_timeout: Seconds that a caller waits who says nothing.
        visible: False: no help lists it.
        help: What it does.
    """

    name: str
    function: Callable[..., Any]
    control: bool
    args: tuple[tuple[str, Any], ...] = ()
    signature: str = ""
    variadic: str = ""
    default_timeout: float = 1.0
    visible: bool = True
    help: str = ""
    _optional: frozenset[str] = field(default=frozenset())

    def described(self) -> dict[str, Any]:
        """Return what others need to know of it, as plain data."""
        arguments = [[name, type_name(kind), name in self._optional] for name, kind in self.args]
        told = " ".join(part for part in (self.signature, self.help) if part) or "Defined by the app."
        return {
            "name": self.name,
            "control": self.control,
            "help": told[:_HELP_LIMIT],
            "arguments": arguments,
            "variadic": self.variadic,
            "default_timeout_ms": max(1, round(1_000 * self.default_timeout)),
            "hidden": not self.visible,
        }


class CommandOptions(TypedDict, total=False):
    """What can be said of a command where it is defined; ``control_command`` tells what each means."""

    name: str | None
    args: Iterable[tuple[str, Any]]
    signature: str | None
    variadic: str | None
    alias: str | None
    default_timeout: float
    visible: bool
    help: str | None


class AppCommands:
    """The part of an app that holds its commands."""

    _commands: dict[str, AppCommand] | None = None

    @property
    def commands(self) -> dict[str, AppCommand]:
        """The commands that this app defines, by name; aliases included."""
        if self._commands is None:
            self._commands = {}
        return self._commands

    @overload
    def control_command(self, function: Handler) -> Handler: ...
    @overload
    def control_command(self, **options: Unpack[CommandOptions]) -> Callable[[Handler], Handler]: ...
    def control_command(self, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Define a command that changes something in each worker: ``app.control.broadcast(NAME, arguments=...)``.

        The handler runs beside the tasks, in a process or thread of its own; it gets a ``CommandState`` and the
        arguments by name. What it returns, as plain data, is the worker's reply; what it raises is its error.

        Args:
            function: The handler, where the decorator is used without arguments.
            **options: ``name`` (the function's), ``args`` (list of (name, type)), ``signature`` (text for help),
                ``variadic`` (name of the argument that takes the rest, as a list), ``alias``, ``default_timeout``
                (seconds), ``visible``, ``help`` (the first line of its docstring).

        Raises:
            TypeError: An option that there is not, or an argument that the handler does not take.
            ValueError: The name cannot be used, or nobody can wait for so long.
        """
        return self._defining(True, function, options)

    @overload
    def inspect_command(self, function: Handler) -> Handler: ...
    @overload
    def inspect_command(self, **options: Unpack[CommandOptions]) -> Callable[[Handler], Handler]: ...
    def inspect_command(self, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Define a question that changes nothing: ``app.control.inspect().ask(NAME, arguments)``.

        Arguments, handler and errors are those of ``control_command``.
        """
        return self._defining(False, function, options)

    def _defining(self, control: bool, function: Callable[..., Any] | None, options: Mapping[str, Any]) -> Any:
        def define(handler: Handler) -> Handler:
            self._define(handler, control, **options)
            return handler

        return define if function is None else define(cast("Any", function))

    def _define(
        self,
        handler: Callable[..., Any],
        control: bool,
        *,
        name: str | None = None,
        args: Iterable[tuple[str, Any]] = (),
        signature: str | None = None,
        variadic: str | None = None,
        alias: str | None = None,
        default_timeout: float = 1.0,
        visible: bool = True,
        help: str | None = None,  # noqa: A002 - Celery's name, which apps write
    ) -> None:
        if not 0 < default_timeout <= _LONGEST:
            raise ValueError(f"default_timeout is {default_timeout!r}; give seconds above 0, at most {_LONGEST:g}")
        told = (inspect.getdoc(handler) or "").partition("\n")[0] if help is None else help
        known = tuple((each, kind) for each, kind in args)
        optional = _check_handler(handler, [each for each, _ in known] + ([variadic] if variadic else []))
        for called in (name or handler.__name__, alias):
            if called is None:
                continue
            if not called or len(called.encode()) > _NAME_LIMIT:
                raise ValueError(f"the name of a command has 1 to {_NAME_LIMIT} bytes, not {called[:40]!r}")
            shown = visible and called != alias
            self.commands[called] = AppCommand(
                called,
                handler,
                control,
                known,
                signature or "",
                variadic or "",
                default_timeout,
                shown,
                told,
                optional,
            )


def type_name(kind: Any) -> str:
    """Return the name of an argument's type: "int", "float", "bool", "str", or "json" for anything else."""
    return _TYPES.get(kind, "json")


def _check_handler(handler: Callable[..., Any], names: list[str]) -> frozenset[str]:
    """Return which arguments may be left out; refuse those that the handler does not take."""
    found = inspect.signature(handler).parameters
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in found.values())
    missing = [name for name in names if name not in found and not takes_any]
    if missing or not found:
        what = f"no argument {missing[0]!r}" if missing else "no state, which comes first"
        raise TypeError(f"{handler.__name__} takes {what}: write def {handler.__name__}(state, {', '.join(names)})")
    return frozenset(name for name in names if name in found and found[name].default is not inspect.Parameter.empty)
