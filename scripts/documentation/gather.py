"""Puts all pages of the site into one folder, as plain Markdown: those that people wrote and those that are generated.

What is in the folder and not made any more is deleted. A file that would not change is not written, so that a server
which watches the folder draws nothing twice.
"""

import re
from pathlib import Path
from typing import Final

from documentation.commands_reference import command_pages
from documentation.drawing import page_style
from documentation.pages import ROOT, Links
from documentation.protocol_reference import protocol_pages
from documentation.python_reference import python_pages

__all__ = ["bars", "gather", "gathered"]

_STYLE: Final = Path(__file__).with_name("site.css")


def gather(folder: Path) -> int:
    """Writes all pages into a folder and returns how many there are.

    Args:
        folder: Is made where it is not there; nothing but the pages stays in it.

    Raises:
        ValueError: A link leads nowhere; says where it stands.
    """
    wanted = gathered()
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder).as_posix() not in wanted:
            path.unlink()
    for name, content in wanted.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return sum(name.endswith(".md") for name in wanted)


def gathered() -> dict[str, bytes]:
    """Returns the content of each file of the site's folder by its place there."""
    links = Links()
    texts = {place: (ROOT / source).read_text(encoding="utf-8") for source, place in links.pages.items()}
    made = {place: links.led_on(source, texts[place]) for source, place in links.pages.items()}
    waiting = list(links.files)
    while waiting:  # a folder's page leads to the pages of its files
        source = waiting.pop()
        made[links.files[source]] = links.page_of_file(source)
        waiting += [each for each in links.files if each not in waiting and links.files[each] not in made]
    made |= python_pages() | command_pages() | protocol_pages()
    found = {name: bars(text).encode() for name, text in made.items()}
    found |= {place: (ROOT / source).read_bytes() for source, place in links.pictures.items()}
    return found | {"site.css": f"{_STYLE.read_text(encoding='utf-8')}{page_style()}".encode()}


def bars(text: str) -> str:
    """Returns a page whose tables have bare bars within code, which the site takes and the repository does not."""
    row = re.compile(r"^\|.*$", re.MULTILINE)
    return row.sub(lambda line: re.sub(r"`[^`]+`", lambda code: code[0].replace("\\|", "|"), line[0]), text)
