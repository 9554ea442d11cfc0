"""What files the project is made of, for tests that look at the project itself."""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "grpcflow_protos": ROOT / "protos" / "grpcflow_protos",
    "grpcflow": ROOT / "client" / "grpcflow",
    "grpcflow_worker": ROOT / "worker" / "grpcflow_worker",
    "grpcflow_coordinator": ROOT / "coordinator" / "grpcflow_coordinator",
}
GENERATED = PACKAGES["grpcflow_protos"] / "v1"
FOLDERS = ("client", "coordinator", "docs", "examples", "protos", "scripts", "tests", "worker", ".ci")


def files(*suffixes: str) -> Iterator[Path]:
    """Yields every file that people wrote, of these suffixes or of all; without git, which may not be there."""
    for path in [*ROOT.iterdir(), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))]:
        written = path.is_file() and "__pycache__" not in path.parts and GENERATED not in path.parents
        if written and (not suffixes or path.suffix in suffixes):
            yield path


def sources() -> list[Path]:
    """Returns every Python file that people wrote, sorted; scripts without a suffix are shell."""
    return sorted(files(".py"))


def relative(path: Path) -> str:
    """Returns the path as people name it."""
    return path.relative_to(ROOT).as_posix()
