"""Addresses that somebody has typed: HOST:PORT, and who can reach them. Opens nothing."""

from __future__ import annotations

import ipaddress

__all__ = ["is_loopback", "split"]


def split(address: str) -> tuple[str, int] | None:
    """Return the host and the port of HOST:PORT, IPv6 hosts without their brackets; None: it is no such address."""
    host, colon, port = address.rpartition(":")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= 65_535):
        return None
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
