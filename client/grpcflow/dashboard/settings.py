"""How a dashboard is run: where it listens, who is let in, whose coordinator it asks. Pure; reads no file."""

import ipaddress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from grpcflow.credentials import Credentials
from grpcflow.errors import ImproperlyConfigured
from grpcflow_protos.addresses import is_loopback, split

__all__ = ["CONTROL", "EVERYTHING", "INSPECT", "Network", "Settings", "listen_of", "networks_of"]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What somebody may do: look; act on what goes on and submit what a schedule calls; say what is kept, too.
INSPECT: Final = frozenset({"inspect"})
CONTROL: Final = frozenset({"inspect", "control", "submit"})
EVERYTHING: Final = CONTROL | {"admin"}

#: Proxies that are believed where none is named: those of this machine.
_NEAR: Final = ("127.0.0.0/8", "::1/128")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options say.

    Attributes:
        host: Name or number to listen on.
        port: Port; 0: any free one.
        addresses: ``HOST:PORT`` of the coordinators.
        credentials: What is shown to them where nobody logs in with a token of his own.
        proxy_header: Header in which a proxy names who has logged in there; "": people log in here.
        proxy_role: What they may do: ``inspect`` or ``control``.
        proxies: Networks that the header is believed from.
        tls_cert: File of the certificate shown to browsers; "": plain HTTP.
        tls_key: File of its key.
        insecure: True: where the coordinator asks for no token, let everybody in who can reach the dashboard.
        session_time: Seconds that a login holds without being used.
        interval: Seconds between two looks at the cluster while somebody watches.
    """

    host: str
    port: int
    addresses: tuple[str, ...]
    credentials: Credentials = field(default_factory=Credentials)
    proxy_header: str = ""
    proxy_role: str = "inspect"
    proxies: tuple[Network, ...] = ()
    tls_cert: str = ""
    tls_key: str = ""
    insecure: bool = False
    session_time: float = 12 * 3600.0
    interval: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ImproperlyConfigured("a certificate and its key belong together: give --certificate and --key.")
        if self.proxy_role not in ("inspect", "control"):
            raise ImproperlyConfigured(f"--proxy-role is {self.proxy_role!r}; it is inspect or control.")

    @property
    def is_near(self) -> bool:
        """True where only this machine can reach it."""
        return is_loopback(self.host)

    @property
    def proxied_may(self) -> frozenset[str]:
        """What people may do whom a proxy has let in."""
        return CONTROL if self.proxy_role == "control" else INSPECT

    def believes(self, peer: str) -> bool:
        """Return whether a proxy at this address says who has logged in.

        Args:
            peer: Number of the other end of a connection; "": it has none, as a socket in the file system.
        """
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return any((mapped or address) in network for network in self.proxies or networks_of(_NEAR))


def networks_of(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Return networks by their text, such as ``10.0.0.0/8``; a single address is a network of one.

    Raises:
        ImproperlyConfigured: One is none.
    """
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise ImproperlyConfigured(f"--proxy {text!r} is no address or network; for example 10.1.0.0/16.") from None
    return tuple(found)


def listen_of(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``.

    Raises:
        ImproperlyConfigured: It is something else.
    """
    found = split(text)
    if found is None:
        raise ImproperlyConfigured(f"--listen is {text!r}; write HOST:PORT, for example 127.0.0.1:8080.")
    return found
