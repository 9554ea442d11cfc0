"""Which workers a command is for: by name, pattern, queue and label. Chooses; asks nobody."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import translate
from typing import Final

from grpcflow_coordinator.core.presence import Session
from grpcflow_coordinator.errors import Refusal
from grpcflow_protos.v1 import control_service_pb2

#: Most names, patterns, queues and labels of one request, each, and characters of a pattern: matching is not free.
NAMES_LIMIT: Final = 10_000
PATTERNS_LIMIT: Final = 100
PATTERN_LENGTH: Final = 1_000

#: Names that a refusal lists.
_LISTED: Final = 20

#: What a regular expression may have of quantifiers without an upper bound, and of choices: with more of them, or with
#: a group that is repeated, one text can be matched in more ways than anybody can wait for.
_UNBOUNDED: Final = 3
_CHOICES: Final = 10

#: Escaped characters, sets, and the beginnings of groups, which are none of these.
_PLAIN: Final = re.compile(r"\\\D|\[\^?\]?[^\]]*\]|(?<=\()\?(?::|P<\w+>|[=!]|<[=!])")


def chosen(
    request: control_service_pb2.InspectRequest | control_service_pb2.ControlRequest, sessions: Iterable[Session]
) -> list[Session]:
    """Return the sessions that a request is for, by name; all of them where it names nothing.

    Raises:
        Refusal: UNKNOWN_DESTINATION where nobody is meant, with the nearest name or all that fit an ambiguous one.
            BAD_ARGUMENTS for a pattern that cannot be used.
    """
    found = known = sorted(sessions, key=lambda session: session.name)
    if max(len(request.destination), len(request.queues), len(request.labels)) > NAMES_LIMIT:
        raise Refusal("BAD_ARGUMENTS", f"more than {NAMES_LIMIT} workers, queues or labels are named: use patterns")
    if request.destination:
        found = _named(request.destination, known)
    if request.patterns:
        tests = [_compiled(pattern, regex=request.regex) for pattern in _few(request.patterns)]
        found = [session for session in found if any(test.fullmatch(session.name) for test in tests)]
        _check(found, f"no worker's name fits {' or '.join(map(repr, request.patterns))}", known)
    if request.queues:
        queues = set(request.queues)
        found = [session for session in found if queues.intersection(session.queues)]
        _check(found, f"no worker of those meant serves {' or '.join(map(repr, request.queues))}", known)
    if request.labels:
        labels = set(request.labels)
        found = [session for session in found if labels <= set(session.facts.labels)]
        _check(found, f"no worker of those meant has the labels {' and '.join(map(repr, request.labels))}", known)
    return found


def _named(names: Sequence[str], known: list[Session]) -> list[Session]:
    by_name: dict[str, list[Session]] = {}
    by_short: dict[str, list[Session]] = {}
    for session in known:
        by_name.setdefault(session.name, []).append(session)
        by_short.setdefault(session.name.split("@")[0], []).append(session)
    chosen: dict[bytes, Session] = {}
    for name in names:
        found = by_name.get(name) or by_short.get(name) or []
        if not found:
            raise Refusal("UNKNOWN_DESTINATION", _unknown(name, by_name, by_short))
        full = sorted({session.name for session in found})
        if len(full) > 1:
            text = f"{name[:80]!r} is short for several workers, say which one: {_list(full)}"
            raise Refusal("UNKNOWN_DESTINATION", text)
        # One that leaves and its successor may have the same name for a while.
        session = next((one for one in found if not one.draining), found[0])
        chosen[session.id] = session
    return list(chosen.values())


def _unknown(name: str, by_name: dict[str, list[Session]], by_short: dict[str, list[Session]]) -> str:
    what = f"no worker has the name {name[:80]!r}"
    near = get_close_matches(name, [*by_name, *by_short], n=1)
    if near:
        full = (by_name.get(near[0]) or by_short[near[0]])[0].name
        what += f"; did you mean {full}?"
    return f"{what}; connected: {_list(sorted(by_name)) or 'none'}"


def _check(found: list[Session], text: str, known: list[Session]) -> None:
    if not found:
        names = sorted({session.name for session in known})
        raise Refusal("UNKNOWN_DESTINATION", f"{text}; connected: {_list(names) or 'none'}")


def _list(names: Sequence[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _few(patterns: Sequence[str]) -> Sequence[str]:
    if len(patterns) > PATTERNS_LIMIT or any(len(pattern) > PATTERN_LENGTH for pattern in patterns):
        text = f"give at most {PATTERNS_LIMIT} patterns of at most {PATTERN_LENGTH} characters each"
        raise Refusal("BAD_ARGUMENTS", text)
    return patterns


def _compiled(pattern: str, *, regex: bool) -> re.Pattern[str]:
    """Return a pattern ready to match; one that could keep the coordinator busy for long is refused."""
    if regex and _is_costly(pattern):
        text = f"{pattern[:80]!r} could take for ever: repeat no groups, and give fewer of * + ? |, or name the workers"
        raise Refusal("BAD_ARGUMENTS", text)
    try:
        return re.compile(pattern if regex else translate(pattern))
    except (re.error, RecursionError, OverflowError) as error:
        raise Refusal("BAD_ARGUMENTS", f"{pattern[:80]!r} is no regular expression: {error}") from None


def _is_costly(pattern: str) -> bool:
    bare = _PLAIN.sub("x", pattern)
    repeats = sum(bare.count(one) for one in "*+{")
    choices = sum(bare.count(one) for one in "?|")
    return (
        repeats > _UNBOUNDED
        or choices > _CHOICES
        or re.search(r"\)[*+{]", bare) is not None
        or re.search(r"\\\d|\(\?P=", pattern) is not None
    )
