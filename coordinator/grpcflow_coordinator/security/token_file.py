"""The token file: what it holds, how it is read, and how it is changed so that nothing of it is lost.

It holds the SHA-256 of each token's secret. A secret is 32 random bytes, so nothing slower than that is needed against
guessing. A token reads ``gft_ID_SECRET``; its id is no secret. Nothing here may log or raise a secret.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import msgspec

from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.namespaces import check_namespace
from grpcflow_coordinator.storage.ground import sync

#: How tokens begin, so that people and scanners of secrets know one when they see it.
PREFIX: Final = "gft"

#: What others than the owner may be allowed to do with the file: to read it, where its owner says so.
_ALLOWED: Final = 0o644


class Role(StrEnum):
    """What a caller may do. `CONTROL` takes in `INSPECT`, and `ADMIN` all of them. `METRICS` is for no call at all."""

    SUBMIT = "submit"
    WORK = "work"
    INSPECT = "inspect"
    CONTROL = "control"
    METRICS = "metrics"
    ADMIN = "admin"


class RoleLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """How much the holders of a role may submit; 0: as the coordinator says."""

    #: Largest payload in bytes.
    payload: int = 0
    #: Most nodes of one graph.
    nodes: int = 0


class Token(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One token, as the file has it."""

    #: Names it; no secret.
    id: Annotated[str, msgspec.Meta(pattern=r"\A[^_\s]+\Z")]
    #: Whose it is, for people.
    name: str
    #: SHA-256 of the secret, in hexadecimal digits.
    sha256: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    #: What its holder may do.
    roles: tuple[Role, ...]
    #: The namespace that its holder is in; "": the default one.
    namespace: str = ""
    #: Patterns such as "web.*" of the queues that it may submit to and work for; none: all.
    queues: tuple[str, ...] = ()
    #: From when on it holds no more; None: it holds until it is revoked.
    expires: datetime | None = None

    def __post_init__(self) -> None:
        """Check what types cannot say."""
        if self.namespace:
            check_namespace(self.namespace)


class TokenFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """All of the file."""

    tokens: tuple[Token, ...] = ()
    #: How much the holders of roles may submit.
    limits: dict[Role, RoleLimits] = {}


def read_file(path: Path, *, must_exist: bool = False) -> TokenFile:
    """Return what a token file holds.

    Args:
        path: the file.
        must_exist: False: where there is none it holds nothing.

    Raises:
        ConfigurationError: it cannot be read, or others than its owner may write it.
    """
    try:
        if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ConfigurationError(f"others than its owner may write the token file {path}: chmod go-w {path}")
        found = msgspec.json.decode(path.read_bytes(), type=TokenFile)
    except FileNotFoundError as error:
        if must_exist:
            told = f"the token file {path} is gone: write one, without tokens in it to revoke all of them"
            raise ConfigurationError(told) from error
        return TokenFile()
    except OSError as error:
        raise ConfigurationError(f"the token file {path} cannot be read: {error.strerror}") from error
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"the token file {path} is not one: {error}") from error
    if len({token.id for token in found.tokens}) != len(found.tokens):
        raise ConfigurationError(f"two tokens of {path} have the same id: take one of them out")
    return found


def change_file(path: Path, change: Callable[[TokenFile], TokenFile]) -> None:
    """Change a token file; who changes it at the same time waits, so that no revocation is undone by it.

    Args:
        path: the file; made where there is none.
        change: returns what it is to hold instead; what it raises leaves the file as it was.

    Raises:
        ConfigurationError: it cannot be read or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(path.resolve().parent, os.O_RDONLY)
    except OSError as error:
        raise _not_written(path, error) from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        write_file(path, change(read_file(path)))
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        os.close(folder)


def write_file(path: Path, content: TokenFile) -> None:
    """Put a new token file in the place of the old one, whole and durably.

    It keeps the owner, the group and who else may read it, lest a coordinator of another user can read it no longer; a
    new one can be read by its owner alone.

    Raises:
        ConfigurationError: it cannot be written.
    """
    text = msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"
    try:
        target = path.resolve()  # of a link the file that it leads to is replaced
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{path.name}.")  # mode 0600
        try:
            with os.fdopen(handle, "wb") as file:
                _make_alike(file.fileno(), target)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        sync(target.parent)  # what was revoked stays so when the power fails
    except OSError as error:
        raise _not_written(path, error) from error


def _make_alike(handle: int, path: Path) -> None:
    """Give an open file the owner and the rights of the file that it is to replace."""
    try:
        old = path.stat()
    except FileNotFoundError:
        return
    new = os.fstat(handle)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.fchown(handle, old.st_uid, old.st_gid)
    os.fchmod(handle, stat.S_IMODE(old.st_mode) & _ALLOWED)


def _not_written(path: Path, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"the token file {path} cannot be written: {error.strerror}")


def new_token(
    name: str,
    roles: Sequence[Role],
    queues: Sequence[str] = (),
    expires: datetime | None = None,
    namespace: str = "",
) -> tuple[Token, str]:
    """Make a token; its parts are those of `Token`.

    Returns:
        What the file holds of it, and the token itself, which is to be seen this once.

    Raises:
        ValueError: there can be no such namespace.
    """
    identity, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    made = Token(
        id=identity,
        name=name,
        sha256=digest(secret),
        roles=tuple(roles),
        namespace=namespace,
        queues=tuple(queues),
        expires=expires,
    )
    return made, f"{PREFIX}_{identity}_{secret}"


def digest(secret: str) -> str:
    """Return what the file holds of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()
