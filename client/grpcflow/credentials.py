"""What proves who is who between a client and the coordinator, and where it acts: certificates, tokens and a namespace.

Plain data: which files, and whether a token is there. It may not import grpc, and it may not read the files: they may
change while a process runs, so who opens a channel reads them (see ``channels``).
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from grpcflow.errors import ImproperlyConfigured
from grpcflow_protos.limits import NAMESPACE

__all__ = ["OPTIONS", "SYSTEM_ROOTS", "VARIABLES", "Credentials", "credentials_of", "is_namespace"]

#: In place of a file of authorities: those that gRPC brings along.
SYSTEM_ROOTS: Final = "system"

#: Setting -> the environment variable that names it where no setting does.
VARIABLES: Final[Mapping[str, str]] = {
    "coordinator_tls_ca": "GRPCFLOW_TLS_CA",
    "coordinator_tls_cert": "GRPCFLOW_TLS_CERT",
    "coordinator_tls_key": "GRPCFLOW_TLS_KEY",
    "coordinator_token_file": "GRPCFLOW_TOKEN_FILE",
    "namespace": "GRPCFLOW_NAMESPACE",
}

#: Option of the command lines -> the setting that it goes before, the letters for its value, and its help.
OPTIONS: Final[Mapping[str, tuple[str, str, str]]] = {
    "--tls-ca": ("coordinator_tls_ca", "FILE|system", "Authorities of the coordinator's certificate; turns TLS on."),
    "--tls-cert": ("coordinator_tls_cert", "FILE", "Our own certificate, where the coordinator asks for one."),
    "--tls-key": ("coordinator_tls_key", "FILE", "The key of our own certificate."),
    "--token-file": ("coordinator_token_file", "FILE", "File with our token; else GRPCFLOW_TOKEN holds it."),
    "--namespace": ("namespace", "NAME", "Namespace to act in, where it is not that of our token."),
}

#: Holds the token itself. There is no option for it: command lines can be read by everybody on the machine.
_TOKEN_VARIABLE: Final = "GRPCFLOW_TOKEN"

#: Set to 1: a token may be sent to another machine without TLS.
_INSECURE_VARIABLE: Final = "GRPCFLOW_INSECURE"


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one side shows and believes.

    Attributes:
        tls_ca: File of the authorities that vouch for the coordinator's certificate, or `SYSTEM_ROOTS`; "": no TLS.
        tls_cert: File of the own certificate; "": none.
        tls_key: File of its key.
        token_file: File that holds the token; "": none.
        token: The token where no file holds it; "": none. Never shown.
        insecure: True: the token may travel in the clear to another machine.
        namespace: The namespace that calls name; "": that of the token.
    """

    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    token_file: str = ""
    token: str = field(default="", repr=False)
    insecure: bool = False
    namespace: str = ""

    def __post_init__(self) -> None:
        """Refuse what cannot be meant."""
        if self.namespace and not is_namespace(self.namespace):
            raise ImproperlyConfigured(
                f"namespace is {self.namespace!r}, which is no name of one: write 1 to 63 of a to z, 0 to 9 and -, or "
                "leave it out (GRPCFLOW_NAMESPACE too) for the namespace of the token."
            )
        if bool(self.tls_cert) != bool(self.tls_key):
            given, lacking = ("cert", "key") if self.tls_cert else ("key", "cert")
            raise ImproperlyConfigured(
                f"coordinator_tls_{given} is set and coordinator_tls_{lacking} is not: a certificate and its key "
                f"belong together, in the settings, or as GRPCFLOW_TLS_CERT and GRPCFLOW_TLS_KEY."
            )
        if self.tls_cert and not self.tls_ca:
            raise ImproperlyConfigured(
                "a certificate of our own is named, and no authority for the coordinator's, so that TLS is off: set "
                "coordinator_tls_ca (or GRPCFLOW_TLS_CA), to a file or to 'system'."
            )

    def check(self, addresses: Sequence[str]) -> None:
        """See to it that no token is sent in the clear to another machine.

        Args:
            addresses: ``HOST:PORT`` of the coordinators.

        Raises:
            ImproperlyConfigured: It would be.
        """
        if self.tls_ca or self.insecure or not (self.token or self.token_file):
            return
        far = next((address for address in addresses if not _is_near(address)), None)
        if far is not None:
            raise ImproperlyConfigured(
                f"the token would travel to {far} where everybody on the way can read it: set coordinator_tls_ca (or "
                f"GRPCFLOW_TLS_CA), or {_INSECURE_VARIABLE}=1 where the network itself is trusted."
            )


def is_namespace(name: object) -> bool:
    """Return whether something may be the name of a namespace."""
    return isinstance(name, str) and re.fullmatch(NAMESPACE, name) is not None


def credentials_of(settings: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Credentials:
    """Return the credentials and the namespace that settings name, and the environment where they do not.

    Args:
        settings: Settings by name; others than those of `VARIABLES` are passed over.
        environment: Variables of the environment; None: those of this process.

    Raises:
        ImproperlyConfigured: A certificate without a key, or the other way round, or what is no namespace.
    """
    found = os.environ if environment is None else environment
    files = {name: str(settings.get(name) or found.get(variable) or "") for name, variable in VARIABLES.items()}
    token_file = files["coordinator_token_file"]
    return Credentials(
        tls_ca=files["coordinator_tls_ca"],
        tls_cert=files["coordinator_tls_cert"],
        tls_key=files["coordinator_tls_key"],
        token_file=token_file,
        token="" if token_file else found.get(_TOKEN_VARIABLE, "").strip(),
        namespace=files["namespace"],
        insecure=found.get(_INSECURE_VARIABLE, "").strip().lower() in {"1", "true", "yes"},
    )


def _is_near(address: str) -> bool:
    """Return whether what is sent to an address stays on this machine."""
    import ipaddress  # needed by few, and not for nothing

    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
