"""Whom a command is for, and how its replies are taken. Plain data; it may not import grpc or protobuf."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["EVERYBODY", "Targets", "targets_of"]

#: Takes one reply, as Celery gives it: ``{worker: value}``.
Callback = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Targets:
    """Whom a command is for, besides a list of names: all that is given must agree.

    Attributes:
        patterns: Patterns of workers' names, any of them.
        regex: True: these are regular expressions for the whole name; False: with * and ? as in a shell.
        queues: Only workers that serve one of these.
        labels: Only workers that bear all of these.
        upcoming: Of what the coordinator adds to a worker's answer: so many at most; 0: as it likes, 100.
        most: Replies after which the others are not waited for; None: all are.
    """

    patterns: tuple[str, ...] = ()
    regex: bool = False
    queues: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    upcoming: int = 0
    most: int | None = None


#: No narrowing at all.
EVERYBODY = Targets()


def targets_of(
    pattern: str | Collection[str] | None = None,
    matcher: Literal["glob", "pcre", "regex"] | None = None,
    queues: str | Collection[str] | None = None,
    labels: str | Collection[str] | None = None,
    upcoming: int | None = None,
    limit: int | None = None,
) -> Targets:
    """Return targets as they are given to ``app.control.inspect``.

    Raises:
        ValueError: There is no such matcher, or a number is below 1.
    """
    if matcher not in {None, "glob", "pcre", "regex"}:
        raise ValueError(f"matcher is {matcher!r}; use 'glob', or 'regex' for regular expressions.")
    for name, number in (("upcoming", upcoming), ("limit", limit)):
        if number is not None and number < 1:
            raise ValueError(f"{name} is {number!r}; give 1 or more.")
    regex = matcher in {"pcre", "regex"}
    return Targets(_texts(pattern), regex, _texts(queues), _texts(labels), upcoming or 0, limit)


def _texts(given: str | Collection[str] | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)
