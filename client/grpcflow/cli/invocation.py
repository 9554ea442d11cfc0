"""What all commands share: the options said once, the connection, and how errors become exit codes.

The exit codes of all commands are here, and docs/commands.md has them in one table.

An `Invocation` travels as click's context object, so that an option may stand before or after a
subcommand. grpc, protobuf and rich are imported by the functions that need them: `--help` stays quick.
"""

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

from grpcflow import errors
from grpcflow.addresses import COORDINATOR_VARIABLE, addresses_of
from grpcflow.credentials import OPTIONS, credentials_of
from grpcflow.targets import EVERYBODY, Targets

if TYPE_CHECKING:
    from grpcflow.app import Grpcflow
    from grpcflow.connection import Connection
    from grpcflow.control import Control

_Command = TypeVar("_Command", bound=Callable[..., Any])

#: A task failed, or a worker answered with an error.
EXIT_FAILED: Final = 1
#: The coordinator does not know the id (EX_NOINPUT of sysexits.h).
EXIT_UNKNOWN: Final = 66
#: No coordinator, no such worker, or nobody answered (EX_UNAVAILABLE).
EXIT_UNAVAILABLE: Final = 69
#: The task has not settled in the time given (EX_TEMPFAIL).
EXIT_NOT_SETTLED: Final = 75
#: A setting is wrong, or the app cannot be found (EX_CONFIG).
EXIT_CONFIG: Final = 78
#: Ctrl-C: 128 and the number of SIGINT, as shells do.
EXIT_INTERRUPTED: Final = 130
#: Who read the output, `head` for one, has gone: 128 and the number of SIGPIPE, as programs end that it kills.
EXIT_NO_READER: Final = 141

#: Seconds that a worker has to answer, unless `--timeout` says otherwise.
REPLY_TIMEOUT: Final = 1.0


@dataclass(slots=True)
class Invocation:
    """What the options of one call of the program have said so far.

    Attributes:
        app: Name of the app as given with `-A`; None: not given.
        coordinator: `HOST:PORT[,HOST:PORT]` as given with `--coordinator`; None: not given.
        destination: Names of workers; None: all.
        waits: Seconds to wait for each worker, as given with `--timeout`; None: not given.
        as_json: True: one JSON object on stdout and nothing else there.
        targets: Which workers else to leave out.
        credentials: Settings of certificates and token as given by options; see ``grpcflow.credentials``.
        connect: Opens a connection to a list of addresses; None: the real one. Tests put theirs here.
    """

    app: str | None = None
    coordinator: str | None = None
    destination: tuple[str, ...] | None = None
    waits: float | None = None
    as_json: bool = False
    targets: Targets = EVERYBODY
    credentials: dict[str, str] = field(default_factory=dict)
    connect: "Callable[[Sequence[str]], Connection] | None" = None
    _connection: "Connection | None" = field(default=None, repr=False)
    _told: bool = field(default=False, repr=False)

    @property
    def timeout(self) -> float:
        """Seconds to wait for each worker."""
        return REPLY_TIMEOUT if self.waits is None else self.waits

    def load_app(self) -> "Grpcflow":
        """Import the app that `-A`, the environment or pyproject.toml names, and tell it of the options.

        `--coordinator` wins over the address that the app has.

        Raises:
            ImproperlyConfigured: No app is named, or it is not there.
        """
        from grpcflow.loading import find_app

        app = find_app(self.app)
        self._reach(app)
        self._tell(app)
        return app

    def _tell(self, app: "Grpcflow") -> None:
        """Send `user_preload_options`, once, to those who connected to it while the app was imported."""
        from grpcflow.signals import user_preload_options

        if self._told or not user_preload_options.receivers:
            return
        self._told = True
        context = click.get_current_context(silent=True)
        options = {"app": self.app, "coordinator": self.coordinator, "json": self.as_json}
        user_preload_options.send(context.command.name if context else None, app=app, options=options)

    def app_or_plain(self) -> "Grpcflow":
        """Return the app that is named somewhere, or else one without tasks and with default settings."""
        from grpcflow.app import Grpcflow
        from grpcflow.loading import app_name

        if app_name(self.app) is not None:
            return self.load_app()
        app = Grpcflow("grpcflow.cli", set_as_current=False)
        self._reach(app)
        return app

    def _reach(self, app: "Grpcflow") -> None:
        """Tell an app where the coordinator is, and what to show there, where options said it."""
        said = {"coordinator": self.coordinator} if self.coordinator else {}
        if said or self.credentials:
            app.conf.update({**said, **self.credentials})

    @property
    def connection(self) -> "Connection":
        """The connection to the coordinator; needs an app only where `-A` was given.

        The address is that of `--coordinator`, else of the app named with `-A`, else of
        `GRPCFLOW_COORDINATOR`, else of an app named elsewhere, else 127.0.0.1:50551.
        """
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    @property
    def is_connected(self) -> bool:
        """True where a connection is there already, or a test's is to be opened."""
        return self._connection is not None or self.connect is not None

    def use_connection(self, connection: "Connection") -> None:
        """Ask over this connection from now on, in place of one found from the options."""
        self._connection = connection

    def _connect(self) -> "Connection":
        """Find the address and open the connection; imports an app only where nothing else names an address."""
        if not self.coordinator and (self.app or (not os.environ.get(COORDINATOR_VARIABLE) and _names_app())):
            return self.load_app().connection
        addresses = addresses_of(self.coordinator)
        if self.connect is not None:
            return self.connect(addresses)
        from grpcflow.connection import connection_for

        return connection_for(addresses, credentials_of(self.credentials))

    @property
    def control(self) -> "Control":
        """Remote control over this connection."""
        from grpcflow.control import Control

        return Control(self)


def _names_app() -> bool:
    """Return whether the surroundings name an app."""
    from grpcflow.loading import app_name

    return app_name() is not None


class Bounded(click.FloatRange):
    """A number with bounds; what is no number, as "nan", lies beyond all of them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        found = float(super().convert(value, param, ctx))
        if math.isnan(found):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return found


class Failed(click.ClickException):
    """Ends the program with a message on stderr: something failed."""

    exit_code = EXIT_FAILED


class Unknown(Failed):
    """Ends the program: the coordinator does not know what was asked for."""

    exit_code = EXIT_UNKNOWN


class Unavailable(Failed):
    """Ends the program: nobody is there to do it."""

    exit_code = EXIT_UNAVAILABLE


class Misconfigured(Failed):
    """Ends the program: a setting is wrong, or there is no such app."""

    exit_code = EXIT_CONFIG


class NotSettled(Failed):
    """Ends the program: it takes longer than there was time."""

    exit_code = EXIT_NOT_SETTLED


class Program(click.Group):
    """The outermost group: turns what commands raise into a message and an exit code."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Read the options; `--help` and `--version` print here."""
        with _reader_may_go():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; no error that has a meaning leaves this as a traceback."""
        try:
            with _reader_may_go():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise click.exceptions.Exit(EXIT_INTERRUPTED) from None
        except errors.GrpcflowError as error:
            fail(error)


@contextlib.contextmanager
def _reader_may_go() -> Iterator[None]:
    """End the program without a word where nobody reads its output any more."""
    try:
        yield
    except BrokenPipeError:
        # What Python still holds for the reader would raise once more at its exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        with contextlib.suppress(OSError):  # a stdout that is no file holds nothing back
            os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        raise click.exceptions.Exit(EXIT_NO_READER) from None


def fail(error: errors.GrpcflowError) -> NoReturn:
    """End the program for one of our own errors."""
    message = str(error)
    if isinstance(error, errors.UnknownDestination):
        if any(name not in message for name in error.known):
            message += f" Connected workers: {', '.join(error.known)}."
    elif error.cure and error.cure not in message:
        message += f" {error.cure}"
    ends: tuple[tuple[type[errors.GrpcflowError], type[Failed]], ...] = (
        (errors.UnknownDestination, Unavailable),
        (errors.CoordinatorUnavailable, Unavailable),
        (errors.TimeoutError, NotSettled),
        (errors.NotFound, Unknown),
        (errors.ImproperlyConfigured, Misconfigured),
    )
    for kind, end in ends:
        if isinstance(error, kind):
            raise end(message) from error
    raise Failed(message) from error


def agreed(question: str, option: str) -> None:
    """Ask on stderr before something is done; the program ends unless the answer is yes, and says how not to be asked.

    Args:
        question: What would be done.
        option: The option with which nothing is asked.

    Raises:
        Exit: The answer is no: exit code 1. Nobody answered, be it for Ctrl-C or an empty keyboard: 130.
    """
    try:
        yes = click.confirm(question, err=True)
    except click.Abort:
        click.echo(f"\nNothing was done; {option} does it without a question.", err=True)
        raise click.exceptions.Exit(EXIT_INTERRUPTED) from None
    if not yes:
        click.echo("Nothing was done.", err=True)
        raise click.exceptions.Exit(EXIT_FAILED)


def invocation() -> Invocation:
    """Return what the options of this call have said."""
    return click.get_current_context().ensure_object(Invocation)


def _remember(attribute: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Return a callback that notes an option's value, if it was given, for this command and those below."""

    def callback(ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:
        if value is not None and value is not False:
            setattr(ctx.ensure_object(Invocation), attribute, value)

    return callback


def _split_names(_ctx: click.Context, _parameter: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...] | None:
    """Cut comma lists into names and note them."""
    if not value:
        return None
    names = tuple(name.strip() for part in value for name in part.split(",") if name.strip())
    if not names:
        raise click.BadParameter("names no worker; leave the option out to reach all of them.")
    _ctx.ensure_object(Invocation).destination = names
    return names


def _no_color(_ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    """Switch colours off for whatever draws here, and for what is started from here."""
    if wanted:
        os.environ["NO_COLOR"] = "1"


def _take_addresses(ctx: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    """Note addresses that can be meant; other schemes than HOST:PORT, such as `unix:`, are gRPC's to read."""
    for address in (value or "").split(","):
        if value is not None and ":" not in address:
            raise click.BadParameter(f"{address.strip()!r} has no port; for example {address.strip() or 'HOST'}:50551.")
    if value is not None:
        ctx.ensure_object(Invocation).coordinator = value


def reach_options(command: _Command) -> _Command:
    """Add the options that say where the coordinator is, `-A` and `--coordinator`, and `--no-color`."""
    plain = click.option(
        "--no-color",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_no_color,
        hidden=True,
        help="No colours; as NO_COLOR in the environment, or where the output is no terminal.",
    )
    app = click.option(
        "-A",
        "--app",
        metavar="MODULE[:APP]",
        expose_value=False,
        callback=_remember("app"),
        help="The app; else GRPCFLOW_APP, else [tool.grpcflow] app in pyproject.toml.",
    )
    coordinator = click.option(
        "--coordinator",
        metavar="HOST:PORT",
        expose_value=False,
        callback=_take_addresses,
        help="The coordinator; else the app's, else GRPCFLOW_COORDINATOR, else 127.0.0.1:50551.",
    )
    return app(coordinator(_credential_options(plain(command))))


def _credential_options(command: _Command) -> _Command:
    """Add the options of certificates and the token, which the help of the program itself tells."""

    def note(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value:
            setting = OPTIONS[parameter.opts[0]][0]
            ctx.ensure_object(Invocation).credentials[setting] = value

    for name, (_, letters, told) in reversed(list(OPTIONS.items())):
        option = click.option(name, metavar=letters, hidden=True, expose_value=False, callback=note, help=told)
        command = option(command)
    return command


def yes_option(command: _Command) -> _Command:
    """Add `--yes`, for commands that ask before they act."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(command)


def json_option(command: _Command) -> _Command:
    """Add `--json`."""
    option = click.option(
        "-j",
        "--json",
        is_flag=True,
        expose_value=False,
        callback=_remember("as_json"),
        help="Print one JSON object on stdout and nothing else there.",
    )
    return option(command)


def worker_options(command: _Command) -> _Command:
    """Add the options of commands that ask workers: `--destination`, `--timeout`, `--json` and where to ask."""
    from grpcflow.cli.live_names import WORKERS  # which needs what stands above

    destination = click.option(
        "-d",
        "--destination",
        metavar="W1,W2",
        type=WORKERS,
        multiple=True,
        expose_value=False,
        callback=_split_names,
        help="Only these workers; the part before @ is enough.",
    )
    timeout = click.option(
        "-t",
        "--timeout",
        metavar="SECONDS",
        type=Bounded(min=0, min_open=True, max=3600),
        expose_value=False,
        callback=_remember("waits"),
        help="How long each worker has to answer. Default 1.",
    )
    return destination(timeout(json_option(reach_options(command))))
