"""The peers' own environment: made once, outside of the project's, and made anew when the requirements change."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"

#: Where it lies: in the checkout, and git ignores it.
FOLDER = HERE.parents[2] / ".bench-peers"

#: Seconds in which pip must be done.
LIMIT = 900.0


def python(folder: Path = FOLDER, requirements: Path = REQUIREMENTS) -> Path:
    """Return the Python of the peers' environment; make the environment first where it is missing or stale.

    Args:
        folder: where it lies.
        requirements: what it holds.

    Raises:
        SystemExit: pip could not install the peers; what it said is in the message.
    """
    interpreter = folder / "bin" / "python"
    stamp = folder / "requirements.sha256"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if interpreter.exists() and stamp.exists() and stamp.read_text() == wanted:
        return interpreter
    print(f"installing the peers into {folder}, once", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    _run(sys.executable, "-m", "venv", str(folder))
    _run(str(interpreter), "-m", "pip", "install", "--quiet", "--upgrade", "-r", str(requirements))
    stamp.write_text(wanted)
    return interpreter


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL)
    if done.returncode:
        said = f"{done.stdout}{done.stderr}".strip()[-2_000:]
        raise SystemExit(f"the peers could not be installed: {' '.join(command)} said:\n{said}")
