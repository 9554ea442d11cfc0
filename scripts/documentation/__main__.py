"""Builds the documentation as a static site, or serves it while it is written.

    scripts/docs build [--out DIR]     the site; build/docs/site where no folder is named
    scripts/docs serve [--port PORT]   the site on 127.0.0.1, built anew when a page changes

A link that leads nowhere, a page that is not in the navigation and a name that does not exist are errors.
"""

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from documentation.gather import gather
from documentation.pages import ROOT, SETTINGS

WORK = ROOT / "build" / "docs"
#: Seconds between two looks at the pages while they are served.
LOOK = 1.0


def main() -> int:
    """Does what the command line says and returns the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/docs", description="Build or serve the documentation.")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="write the site into a folder")
    build.add_argument("--out", type=Path, default=WORK / "site", help="the folder (default: build/docs/site)")
    serve = commands.add_parser("serve", help="serve it on 127.0.0.1, built anew when a page changes")
    serve.add_argument("--port", type=int, default=8000, help="port to listen on (default: 8000)")
    arguments = parser.parse_args()
    pages = WORK / "pages"
    count = gather(pages)
    if arguments.command == "build":
        return build_site(pages, arguments.out.resolve(), count)
    threading.Thread(target=gather_again, args=(pages,), daemon=True).start()
    return mkdocs("serve", settings(pages, WORK / "site"), "--dev-addr", f"127.0.0.1:{arguments.port}")


def build_site(pages: Path, out: Path, count: int) -> int:
    """Has MkDocs build the pages, and says what there is."""
    started = time.monotonic()
    # Not --quiet: what it does not say it does not count, and it would take a warning for nothing.
    code = mkdocs("build", settings(pages, out), "--strict", "--clean")
    if code == 0:
        print(f"{count} pages in {out} ({time.monotonic() - started:.1f} s); open {out / 'index.html'}")
    return code


def settings(pages: Path, out: Path) -> Path:
    """Writes the settings of one run, which are the committed ones with this run's folders; returns the file."""
    path = WORK / "mkdocs.yml"
    path.write_text(f"INHERIT: {SETTINGS}\ndocs_dir: {pages}\nsite_dir: {out}\n", encoding="utf-8")
    return path


def mkdocs(command: str, file: Path, *arguments: str) -> int:
    """Runs MkDocs to its end; the advertisements that its theme writes for other programs are left out."""
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "true", "DISABLE_MKDOCS_2_WARNING": "true"}
    run = [sys.executable, "-m", "mkdocs", command, "--config-file", str(file), *arguments]
    try:
        return subprocess.run(run, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL).returncode
    except KeyboardInterrupt:
        return 130


def gather_again(pages: Path) -> None:
    """Gathers the pages again whenever a source has changed; MkDocs sees what is new in its folder."""
    seen = newest()
    while True:
        time.sleep(LOOK)
        now = newest()
        if now != seen:
            seen = now
            try:
                gather(pages)
            except (OSError, ValueError) as error:
                print(error, file=sys.stderr)


def newest() -> float:
    """Returns when the last of the sources was changed."""
    sources = [*ROOT.glob("*.md"), *(path for folder in ("docs", "protos", "examples") for path in scan(ROOT / folder))]
    return max(path.stat().st_mtime for path in sources if path.exists())


def scan(folder: Path) -> list[Path]:
    """Returns the pages and pictures below a folder."""
    return [path for suffix in ("md", "svg", "png", "proto") for path in folder.rglob(f"*.{suffix}")]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ValueError as error:
        print(f"scripts/docs: {error}", file=sys.stderr)
        sys.exit(1)
