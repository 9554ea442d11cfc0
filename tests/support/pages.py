"""The pages of docs/ as programs: which of their blocks are modules, which are run, and what they claim to give.

A Python block that begins with `# NAME.py` is a module; all others of a page are one program, in their order. A line
`EXPRESSION  #> VALUE` claims a value, and `EXPRESSION  #! TypeError: words` an exception whose text has these words.
May not run anything itself.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["Page", "claim", "claimed"]

_BLOCK: Final = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MODULE: Final = re.compile(r"# (\w+\.py)\n")
_CLAIM: Final = re.compile(r"^(?P<indent> *)(?P<said>[^\s#].*?)\s+#(?P<kind>[>!]) (?P<told>.+)$", re.MULTILINE)

#: What a program needs to check that an exception is raised. Workers have longer to answer than what the pages say:
#: where none has a processor for a second, that is no fault of the page.
_PRELUDE: Final = """from grpcflow import commands as _commands

_commands._SLACK, _asked = 40.0, _commands._request
_commands._request = lambda name, args, to, seconds, of: _asked(name, args, to, max(seconds, 40.0), of)


def raised(call, kind, words):
    try:
        value = call()
    except Exception as error:
        assert (type(error).__name__, words in str(error)) == (kind, True), repr(error)
    else:
        raise AssertionError(f"gave {value!r} where {kind} was to be raised")


"""


@dataclass(frozen=True)
class Page:
    """One page: its modules by file name, and its program; empty where no block is run."""

    path: Path
    modules: dict[str, str]
    program: str

    @classmethod
    def read(cls, path: Path) -> "Page":
        """Returns the page in a file."""
        modules: dict[str, str] = {}
        programs: list[str] = []
        for language, text in _BLOCK.findall(path.read_text(encoding="utf-8")):
            named = _MODULE.match(text)
            if language == "python" and named:
                modules[named[1]] = text
            elif language == "python":
                programs.append(claimed(text))
        return cls(path, modules, _PRELUDE + "\n".join(programs) if programs else "")


def claimed(text: str) -> str:
    """Returns a program with its claims as assertions."""
    return _CLAIM.sub(claim, text)


def claim(match: re.Match[str]) -> str:
    """Turns a line that claims something into one that checks it."""
    indent, said, told = match["indent"], match["said"], match["told"]
    if match["kind"] == ">":
        return f"{indent}assert (got := ({said})) == {told}, got"
    kind, _, words = told.partition(": ")
    return f"{indent}raised(lambda: ({said}), {kind!r}, {words!r})"
