"""Which queues a worker serves, and how much weight each of them has.

Texts of the command line in, names with weights out; and the choice between what the command line says and what the
app says. Pure: this file may NOT read the environment, log, or know sessions.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from grpcflow_protos import limits

#: The queue that a worker serves when neither it nor its app names one.
DEFAULT_QUEUE: Final = "default"

#: Least and greatest weight of a queue.
WEIGHTS: Final = (1, 100)

#: What is meant for a weight: behind the last colon, a number of any kind, or nothing.
_WEIGHT: Final = re.compile(r"[+-]?[\d.]*\Z")


class ConfigError(ValueError):
    """An option cannot be used; the text says which one and what to write instead."""


def parse_queues(texts: Sequence[str]) -> dict[str, int | None]:
    """Read ``a:3,b``: names of queues with their weights, in order; a name twice counts once, with its last weight.

    A colon belongs to the name unless a number stands behind it.

    Args:
        texts: comma separated queues, each with a weight or without one: then it is None, and up to the app.

    Raises:
        ConfigError: a name or a weight cannot be.
    """
    return dict(_parse_queue(part) for part in _parts(texts))


def parse_names(texts: Sequence[str], what: str) -> tuple[str, ...]:
    """Read ``a,b``: names, each once.

    Args:
        texts: comma separated names.
        what: what they name, for the message: ``"queue name"``.

    Raises:
        ConfigError: a name is longer than the wire allows.
    """
    names = tuple(dict.fromkeys(_parts(texts)))
    for name in names:
        check_name(name, what)
    return names


def check_name(name: str, what: str) -> None:
    """Raise ConfigError where a name is empty or longer than the wire allows.

    Args:
        name: the name.
        what: what it names, for the message: ``"queue name"``.
    """
    size = len(name.encode("utf-8", "surrogatepass"))
    if not name or size > limits.NAME_LIMIT:
        raise ConfigError(f"a {what} must have 1 to {limits.NAME_LIMIT} bytes, this one has {size}; choose another")


def check_weight(weight: object) -> int:
    """Return a weight that a queue can have.

    Raises:
        ConfigError: it is no whole number from 1 to 100.
    """
    least, greatest = WEIGHTS
    if isinstance(weight, int) and not isinstance(weight, bool) and least <= weight <= greatest:
        return weight
    raise ConfigError(f"the weight of a queue must be a whole number from {least} to {greatest}, not {weight!r}")


def served(asked: Mapping[str, int | None], excluded: Collection[str], settings: Mapping[str, Any]) -> dict[str, int]:
    """Say which queues a worker serves, with their weights.

    Args:
        asked: what ``--queues`` says; empty: all that the app defines, or its default queue.
        excluded: what ``--exclude-queues`` says.
        settings: the app's; read are ``queues`` (the weights of those it defines, by name) and
            ``task_create_missing_queues``.

    Raises:
        ConfigError: a queue is not defined that must be, or none is left.
    """
    defined: Mapping[str, int] = settings.get("queues") or {DEFAULT_QUEUE: 1}
    known = tuple(defined)
    if settings.get("task_create_missing_queues") is False:
        _check_known([name for name in asked if name not in known], known, "--queues")
    chosen = {name: weight or defined.get(name, 1) for name, weight in asked.items()} or dict(defined)
    _check_known([name for name in excluded if name not in chosen and name not in known], known, "--exclude-queues")
    left = {name: weight for name, weight in chosen.items() if name not in excluded}
    if not left:
        text = f"--exclude-queues leaves none of the queues {', '.join(chosen)}; a worker must serve one at its start"
        raise ConfigError(text)
    return left


def shown(queues: Mapping[str, int]) -> str:
    """Queues for people: ``a:3, b``."""
    return ", ".join(name if weight == 1 else f"{name}:{weight}" for name, weight in queues.items()) or "none"


def _parts(texts: Sequence[str]) -> list[str]:
    return [part for text in texts for each in text.split(",") if (part := each.strip())]


def _parse_queue(text: str) -> tuple[str, int | None]:
    name, colon, weight = text.rpartition(":")
    if not colon or not _WEIGHT.match(weight):
        check_name(text, "queue name")
        return text, None
    check_name(name, "queue name")
    if not (weight.isascii() and weight.isdigit()):
        least, greatest = WEIGHTS
        raise ConfigError(f"in {text!r} a weight from {least} to {greatest} must stand behind the colon")
    try:
        return name, check_weight(int(weight))
    except ConfigError as error:
        raise ConfigError(f"{error}, in {text!r}") from None


def _check_known(unknown: Sequence[str], known: Sequence[str], option: str) -> None:
    """Raise for the first queue that the app does not define."""
    if not unknown:
        return
    near = difflib.get_close_matches(unknown[0], known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else f" It defines: {', '.join(known)}."
    raise ConfigError(f"{option}: the app defines no queue {unknown[0]!r}.{hint}")
