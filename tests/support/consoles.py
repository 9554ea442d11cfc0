"""What a page shows of a shell: commands and what they print, compared as far as it is the same on every machine.

Ids, numbers, times and the name of the host may differ, and how wide a column is; all words must agree. May not run
anything itself.
"""

import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Shown", "as_anywhere", "ids_in", "shown_in"]

_BLOCK: Final = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME: Final = re.compile(r"\b\d+(?:\.\d+)? (?:s|min|h|d)\b(?: \d+ (?:s|min|h)\b)?")

#: The host of all pages.
_HOST: Final = "green"


@dataclass(frozen=True)
class Shown:
    """A command, and what the page says that it prints."""

    command: str
    output: str


def shown_in(page: Path) -> list[Shown]:
    """Returns the commands in the blocks of a page, in their order."""
    shown: list[Shown] = []
    for block in _BLOCK.findall(page.read_text(encoding="utf-8")):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            shown.append(Shown(command, output))
    return shown


def ids_in(text: str) -> list[str]:
    """Returns the ids in a text, in their order."""
    return _ID.findall(text)


def as_anywhere(text: str) -> list[str]:
    """Returns the lines of a text without what differs from run to run."""
    text = _TIME.sub("TIME", _ID.sub("ID", text))
    text = re.sub(rf"\b(?:{re.escape(socket.gethostname())}|{_HOST})\b", "HOST", text)
    lines = [" ".join(re.sub(r"\d+", "N", line).split()) for line in text.splitlines()]
    return [line for line in lines if line]
