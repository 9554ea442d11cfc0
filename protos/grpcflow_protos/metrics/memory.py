"""How much memory a process has to itself, as the system tells it. Reads /proc, and nothing else."""

from __future__ import annotations


def anonymous_bytes(process_id: int) -> int | None:
    """Return the bytes of memory that a process has and that stand for no file; None where that is not known.

    What is mapped from a file, as LMDB's map is, counts among what `ps` shows, and the system takes it back whenever it
    needs room. This does not count it.

    Args:
        process_id: number of the process.
    """
    try:
        with open(f"/proc/{process_id}/status", "rb") as file:
            found = next((line for line in file if line.startswith(b"RssAnon:")), None)
    except OSError:  # it has ended, or there is no /proc
        return None
    return None if found is None else int(found.split()[1]) * 1024
