"""A folder that another process has open."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from grpcflow_coordinator.storage.lmdb import LmdbStore
from grpcflow_coordinator.storage.lmdb_reading import LmdbSnapshot


@contextmanager
def holding(kind: type[LmdbStore | LmdbSnapshot], folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Have another process open a folder until its input ends; then it prints how many records it still sees."""
    code = (
        "import pathlib, sys\n"
        f"from {kind.__module__} import {kind.__name__}\n"
        f"opened = {kind.__name__}(pathlib.Path(sys.argv[1]))\n"
        "print('open', flush=True)\n"
        "sys.stdin.read()\n"
        "print(len(opened.scan(b'', b'\\xff' * 8, 1 << 30)))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        yield holder
