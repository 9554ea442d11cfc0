"""Certificates made for one test: an authority, and what it vouches for."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as files."""

    cert: Path
    key: Path


class Authority:
    """An authority of its own, in a folder.

    Args:
        folder: Where its files are; made where it is not.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.cert = folder / "ca.pem"
        self._key = folder / "ca.key"
        self._made = 0
        _openssl(
            "req", "-x509", *_KEY, "-keyout", self._key, "-out", self.cert, "-days", "2", "-subj", "/CN=test authority"
        )

    def vouch(self, name: str = "localhost") -> Pair:
        """Return a new certificate for a name and for 127.0.0.1."""
        self._made += 1
        pair = Pair(self._folder / f"{name}-{self._made}.pem", self._folder / f"{name}-{self._made}.key")
        names = f"subjectAltName=DNS:{name},IP:127.0.0.1"
        signed = ("-CA", self.cert, "-CAkey", self._key, "-addext", names)
        _openssl(
            "req", "-x509", *_KEY, *signed, "-keyout", pair.key, "-out", pair.cert, "-days", "2", "-subj", f"/CN={name}"
        )
        return pair


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def _openssl(*words: object) -> None:
    done = subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
