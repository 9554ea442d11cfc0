"""The commands `grpcflow-coordinator token ...`: they write the token file, which a running coordinator reads again.

A token is printed once, when it is made; the file holds its SHA-256 only.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.namespaces import check_namespace
from grpcflow_coordinator.security.token_file import (
    Role,
    RoleLimits,
    Token,
    TokenFile,
    change_file,
    new_token,
    read_file,
)

F = TypeVar("F", bound=Callable[..., Any])

_LENGTH: Final = re.compile(r"(\d+)([smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

#: What `--role` takes.
_ROLES: Final = click.Choice([role.value for role in Role])


@click.group()
def token() -> None:
    """Make, list and revoke the tokens that callers show; a running coordinator heeds them within a second."""


def _file_option(command: F) -> F:
    return click.option(
        "--tokens",
        "path",
        required=True,
        envvar="GRPCFLOW_COORDINATOR_TOKENS",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The token file; else GRPCFLOW_COORDINATOR_TOKENS.",
    )(command)


def _read(path: Path) -> TokenFile:
    try:
        return read_file(path)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error


def _change(path: Path, change: Callable[[TokenFile], TokenFile]) -> None:
    try:
        change_file(path, change)
    except ConfigurationError as error:
        raise click.ClickException(str(error)) from error


def _length(_context: click.Context, _parameter: click.Parameter, text: str | None) -> timedelta | None:
    """Read a length of time such as 90d."""
    if text is None:
        return None
    found = _LENGTH.fullmatch(text)
    if found is None or not int(found[1]):
        raise click.BadParameter(f"{text!r} is no length of time: write one such as 12h, 90d or 52w.")
    try:
        return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
    except OverflowError as error:
        raise click.BadParameter(f"{text!r} is longer than time can be told: leave it out for no end.") from error


def _namespace(_context: click.Context, _parameter: click.Parameter, name: str | None) -> str:
    """Take the name of a namespace."""
    try:
        if name is not None:
            check_namespace(name)
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from error
    return name or ""


@token.command("add")
@click.argument("name")
@click.option("--role", "roles", multiple=True, required=True, type=_ROLES, help="What it may do; repeatable.")
@click.option("--queue", "queues", multiple=True, metavar="PATTERN", help="Queues it may use, as 'web.*'; repeatable.")
@click.option("--namespace", callback=_namespace, metavar="NAME", help="Namespace that it is in [the default one].")
@click.option("--expires", callback=_length, metavar="LENGTH", help="How long it holds, as 90d [until it is revoked].")
@_file_option
def add(
    name: str, roles: tuple[str, ...], queues: tuple[str, ...], namespace: str, expires: timedelta | None, path: Path
) -> None:
    """Make a token and print it, this once; NAME says whose it is."""
    until = None if expires is None else datetime.now(UTC).replace(microsecond=0) + expires
    made, text = new_token(name, [Role(role) for role in dict.fromkeys(roles)], queues, until, namespace)
    _change(path, lambda content: msgspec.structs.replace(content, tokens=(*content.tokens, made)))
    click.echo(f"token {made.id} of {name}: keep it in a file that its user alone may read", err=True)
    click.echo(text)


@token.command("list")
@click.option("-j", "--json", "as_json", is_flag=True, help="Print JSON.")
@_file_option
def list_tokens(as_json: bool, path: Path) -> None:
    """List the tokens; none can be had back from here."""
    content = _read(path)
    if as_json:
        rows = [{**msgspec.to_builtins(one), "sha256": None} for one in content.tokens]
        told = {"tokens": [{key: value for key, value in row.items() if key != "sha256"} for row in rows]}
        told["limits"] = msgspec.to_builtins(content.limits)
        click.echo(msgspec.json.encode(told).decode())
        return
    for one in content.tokens:
        until = f"until {one.expires:%Y-%m-%d %H:%M}" if one.expires else "until revoked"
        namespace = f"  namespace {one.namespace}" if one.namespace else ""
        queues = f"  queues {', '.join(one.queues)}" if one.queues else ""
        click.echo(f"{one.id}  {one.name}  {', '.join(one.roles)}  {until}{namespace}{queues}")
    for role, limits in content.limits.items():
        click.echo(f"limit of {role}: payload {limits.payload or 'any'}, nodes {limits.nodes or 'any'}")


@token.command("revoke")
@click.argument("wanted", metavar="ID|NAME")
@_file_option
def revoke(wanted: str, path: Path) -> None:
    """Take a token out, or all tokens of a name."""
    gone: list[Token] = []

    def without(content: TokenFile) -> TokenFile:
        gone.extend(one for one in content.tokens if wanted in (one.id, one.name))
        if not gone:
            raise click.ClickException(f"there is no token {wanted!r} in {path}: see token list")
        return msgspec.structs.replace(content, tokens=tuple(one for one in content.tokens if one not in gone))

    _change(path, without)
    click.echo(f"revoked: {len(gone)}")


@token.command("limit")
@click.argument("role", type=_ROLES)
@click.option("--payload", type=click.IntRange(min=0), default=0, metavar="BYTES", help="Largest payload; 0: any.")
@click.option("--nodes", type=click.IntRange(min=0), default=0, metavar="N", help="Most nodes of a graph; 0: any.")
@_file_option
def limit(role: str, payload: int, nodes: int, path: Path) -> None:
    """Say how much the holders of a role may submit; who has several roles has the widest limit of them."""

    def with_limit(content: TokenFile) -> TokenFile:
        limits = {**content.limits, Role(role): RoleLimits(payload=payload, nodes=nodes)}
        return msgspec.structs.replace(content, limits={key: one for key, one in limits.items() if one != RoleLimits()})

    _change(path, with_limit)
