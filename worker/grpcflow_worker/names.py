"""Names and paths with ``%`` letters in them: of a worker, of its log, of its pid file.

Pure: this file may NOT ask the system for anything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from grpcflow_worker.subscription import ConfigError, check_name

if TYPE_CHECKING:
    from collections.abc import Mapping


def expand_name(pattern: str, host: str) -> str:
    """Expand a worker's name: ``%h`` is the host, ``%n`` its first label, ``%d`` its domain, ``%%`` a percent sign.

    Raises:
        ConfigError: the pattern holds another ``%`` letter, or the name is too long or empty.
    """
    label, _, domain = host.partition(".")
    name = _expand(pattern, {"h": host, "n": label, "d": domain}, "the name")
    check_name(name, "worker name")
    return name


def expand(pattern: str, worker: str, index: int = 0) -> str:
    """Expand a path: ``%p`` is the worker's name, ``%n`` what stands before its @ and ``%h`` what stands behind it,
    ``%d`` the domain of that, ``%i`` the index of the child process, ``%I`` the same with a dash before it.

    Args:
        pattern: the path.
        worker: the worker's name.
        index: which child process it is for, from 1; 0: for none, then ``%i`` is 0 and ``%I`` nothing.

    Raises:
        ConfigError: the pattern holds another ``%`` letter.
    """
    name, _, host = worker.partition("@")
    known = {"p": worker, "n": name, "h": host, "d": host.partition(".")[2]}
    known |= {"i": str(index), "I": f"-{index}" if index else ""}
    return _expand(pattern, known, "the path")


def _expand(pattern: str, known: Mapping[str, str], what: str) -> str:
    letters = {**known, "%": "%"}

    def expansion(match: re.Match[str]) -> str:
        letter = match.group(1)
        if letter not in letters:
            listed = ", ".join(f"%{each}" for each in known)
            raise ConfigError(f"{what} {pattern!r} holds %{letter}; only {listed} and %% are known")
        return letters[letter]

    return re.sub(r"%(.?)", expansion, pattern, flags=re.DOTALL)
