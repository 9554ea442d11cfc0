"""Which files are pages of the site, where each of them stands there, and where a link in one of them leads.

A page is written to be read in the repository too, so that its links are paths of files. Here they become links of
the site: another page, a picture, or the text of a file on a page of its own. May not write anything.
"""

import html
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

__all__ = ["DRAWN", "PAGES", "ROOT", "SETTINGS", "Links", "anchors", "outside_code", "pages"]

ROOT: Final = Path(__file__).resolve().parents[2]
SETTINGS: Final = Path(__file__).with_name("mkdocs.yml")

#: Pages that stand elsewhere than in docs/, by their place in the repository.
PAGES: Final = {
    "README.md": "project/overview.md",
    "ARCHITECTURE.md": "project/architecture.md",
    "SECURITY.md": "project/threat-model.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "protos/PROTOCOL.md": "reference/protocol.md",
    "protos/SECURITY-WIRE.md": "reference/protocol-security.md",
}

#: Pictures that take the colours of the page that shows them: they become a part of it.
DRAWN: Final = "docs/pictures/drawn/"

LINK: Final = re.compile(r"(?P<picture>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^)\s]+)\)")
_FENCE: Final = re.compile(r"^( *)(```+|~~~+).*?^\1\2`*$\n?", re.MULTILINE | re.DOTALL)
_CODE: Final = r"(?<!`)(?P<ticks>`+)(?!`)(?:(?!\n\s*\n).)+?(?<!`)(?P=ticks)(?!`)"
#: Blocks of code, and code in lines.
_CODES: Final = re.compile(rf"(?:{_FENCE.pattern})|(?:{_CODE})", re.MULTILINE | re.DOTALL)
_HIDDEN: Final = re.compile("\x00(\\d+)\x00")
_HEADING: Final = re.compile(r"^#{1,6} (.+?)\s*#*$", re.MULTILINE)

_TONGUES: Final = {".py": "python", ".yml": "yaml", ".yaml": "yaml", ".json": "json", ".toml": "toml", ".js": "js"}
_TONGUES_OF_NAMES: Final = {".service": "ini", ".proto": "protobuf", ".sh": "sh", ".conf": "ini", ".env": "ini"}


def pages() -> dict[str, str]:
    """Returns the pages that people wrote: path in the repository, path in the site."""
    found = dict(PAGES)
    for path in sorted((ROOT / "docs").rglob("*.md")):
        found[path.relative_to(ROOT).as_posix()] = path.relative_to(ROOT / "docs").as_posix()
    for path in sorted((ROOT / "examples").glob("*.md")) + sorted((ROOT / "examples").glob("*/README.md")):
        place = path.relative_to(ROOT).as_posix()
        found[place] = place if path.parent.name == "examples" else f"examples/{path.parent.name}.md"
    return found


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Returns a page whose text is changed where it is no code; each piece of code is one sign meanwhile."""
    codes: list[str] = []
    parts: list[str] = []
    at = 0
    for code in _CODES.finditer(text):
        parts += [text[at : code.start()], f"\x00{len(codes)}\x00"]
        codes.append(code[0])
        at = code.end()
    changed = change("".join([*parts, text[at:]]))
    return _HIDDEN.sub(lambda sign: codes[int(sign[1])], changed)


def anchors(text: str) -> set[str]:
    """Returns the anchors of a page: its headings as links name them, and those that it sets itself."""
    bare = _FENCE.sub("", text)
    plain = (re.sub(r"!?\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in _HEADING.findall(bare))
    named = set(re.findall(r'<a id="([^"]+)"', bare)) | set(re.findall(r"\{ ?#([\w.-]+) ?\}", bare))
    without = (re.sub(r"\{ ?#[\w.-]+ ?\}", "", heading).strip() for heading in plain)
    return named | {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in without}


class Links:
    """Leads links of pages on, and remembers what the site needs for it beside the pages.

    Attributes:
        files: Files that pages link to and that are no pages: each gets a page with its text.
        pictures: Pictures that pages show: path in the repository, path in the site.
    """

    def __init__(self) -> None:
        self.pages = pages()
        self.files: dict[str, str] = {}
        self.pictures: dict[str, str] = {}

    def led_on(self, source: str, text: str) -> str:
        """Returns the text of a page with its links as the site has them.

        Raises:
            ValueError: A link leads nowhere.
        """
        return outside_code(text, lambda part: LINK.sub(lambda link: self._link(source, link), part))

    def _link(self, source: str, link: re.Match[str]) -> str:
        target, _, anchor = link["target"].partition("#")
        if not target or ":" in target:
            return link[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if link["picture"] and place.startswith(DRAWN):
            return drawn(place, link["text"])
        text = LINK.sub(lambda inner: self._link(source, inner), link["text"])
        there = posixpath.relpath(
            self._place(source, place, bool(link["picture"])), posixpath.dirname(self.place_of(source)) or "."
        )
        return f"{link['picture']}[{text}]({there}{'#' + anchor if anchor else ''})"

    def place_of(self, source: str) -> str:
        """Returns where a page or the text of a file stands in the site."""
        return self.pages.get(source) or self.files[source]

    def _place(self, source: str, place: str, is_picture: bool) -> str:
        if place in self.pages:
            return self.pages[place]
        if not (ROOT / place).exists():
            raise ValueError(f"{source} links to {place}, which is not there")
        if is_picture or place.endswith((".png", ".svg")):
            return self.pictures.setdefault(place, place.removeprefix("docs/"))
        return self.files.setdefault(place, f"files/{place}.md")

    def page_of_file(self, place: str) -> str:
        """Returns a page with the text of a file, or with what a folder holds."""
        path = ROOT / place
        if path.is_dir():
            inner = sorted(each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts)
            names = [each.relative_to(path).as_posix() for each in inner]
            listed = "\n".join(f"- [`{name}`]({posixpath.basename(place)}/{name})" for name in names)
            # The links of a list of files start from the folder's own place.
            return self.led_on(place, f"# {place}\n\nThe files of this folder of the repository:\n\n{listed}\n")
        tongue = _TONGUES.get(path.suffix) or _TONGUES_OF_NAMES.get(path.suffix, "text")
        text = path.read_text(encoding="utf-8")
        return f"# {path.name}\n\nThe file `{place}` of the repository:\n\n````{tongue}\n{text}````\n"


def drawn(place: str, told: str) -> str:
    """Returns a drawing as a part of its page, so that it takes the page's colours; scrolled where it is too wide."""
    text = (ROOT / place).read_text(encoding="utf-8").strip()
    text = re.sub(r"<style>.*?</style>\n?", "", text, flags=re.DOTALL)
    name = html.escape(told, quote=True)
    figure = re.sub(r"<svg ", f'<svg role="img" aria-label="{name}" ', text, count=1)
    return f'<div class="drawing" tabindex="0" role="group" aria-label="{name}">\n{figure}\n</div>'
