"""The coordinator's settings: one frozen object, made once at the edge from options, environment and a TOML file.

Order of truth: an option on the command line, then GRPCFLOW_COORDINATOR_<NAME>, then the file, then the default.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from grpcflow_coordinator.core.cluster import Limits
from grpcflow_coordinator.errors import ConfigurationError
from grpcflow_coordinator.storage.file_room import ROOM
from grpcflow_coordinator.storage.journal import JOURNAL_BYTES, LARGEST_JOURNAL, SMALLEST_JOURNAL
from grpcflow_protos import addresses, limits
from grpcflow_protos.log_lines import LOG_FORMATS

#: Where the coordinator listens unless told otherwise.
DEFAULT_LISTEN: Final = "127.0.0.1:50551"

#: Seconds of the longest silence: peers are told of it in 32 bits of milliseconds.
LONGEST: Final = 4_294_967

#: Fewest bytes of events that can be kept on disk, where any are.
SMALLEST_EVENTS_ON_DISK: Final = 1024 * 1024

#: Bytes of the log of an attempt, where any is kept: at least a few lines, at most what a reader waits for.
SMALLEST_TASK_LOGS: Final = 4 * 1024
LARGEST_TASK_LOGS: Final = 64 * 1024 * 1024

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?)B?|B)?", re.IGNORECASE)

#: What the names of environment variables begin with.
ENVIRONMENT_PREFIX: Final = "GRPCFLOW_COORDINATOR_"


def default_data_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder for data where none is named: in the user's data directory."""
    base = environment.get("XDG_DATA_HOME") or str(Path(environment.get("HOME", "~")).expanduser() / ".local" / "share")
    return Path(base) / "grpcflow"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Everything that can be set."""

    #: Folder of the database; made where it does not exist.
    data: str
    #: HOST:PORT; port 0 takes a free one.
    listen: str = DEFAULT_LISTEN
    #: HOST:PORT at which metrics are told; "": nowhere, and nothing is counted.
    metrics: str = ""
    #: HOST:PORT of a `grpcflow dashboard` that runs beside the coordinator; "": none does.
    dashboard: str = ""
    #: HOST:PORT at which that reaches the coordinator; "": where it listens.
    dashboard_coordinator: str = ""
    #: True: listen beyond loopback without any protection.
    insecure: bool = False
    #: Files of the certificate to show and of its key, as PEM; "": no TLS.
    tls_cert: str = ""
    tls_key: str = ""
    #: File of the authorities that clients' certificates must come from; "": they need none.
    tls_client_ca: str = ""
    #: File of the tokens that callers must show one of; "": they need none.
    tokens: str = ""
    #: File to which is written who changed what; "": none.
    audit_log: str = ""
    #: True: use a folder on a file system that can lose what was committed, such as NFS.
    unsafe_filesystem: bool = False
    #: Keep everything in memory: for trying out; nothing survives.
    memory: bool = False
    #: Seconds for which results are kept after the end of their graph.
    result_expires: float = 86_400.0
    #: Seconds for which a worker whose stream broke may come back.
    grace: float = 10.0
    #: Seconds between two signs of life on an idle stream.
    heartbeat: float = 5.0
    #: Seconds of silence after which a peer is gone.
    silence: float = 15.0
    #: Lost attempts after which a task fails.
    max_deliveries: int = 3
    #: Largest payload in bytes.
    payload_limit: int = limits.PAYLOAD_LIMIT
    #: Most nodes of one graph.
    node_limit: int = limits.NODE_LIMIT
    #: Bytes of events that are kept on disk beside those in memory; 0: none.
    events_on_disk: int = 0
    #: Bytes of the data file that are written ahead of their use, so that commits need not make it longer; 0: none.
    preallocate: int = ROOM
    #: Bytes of the journal, which takes small commits and gives them to the data file a second later; 0: none.
    journal: int = JOURNAL_BYTES
    #: Bytes that are kept of what an attempt prints and logs, its last ones; 0: none.
    task_logs: int = 128 * 1024
    #: DEBUG, INFO, WARNING or ERROR.
    log_level: str = "INFO"
    #: Path of the log; "": standard error.
    log_file: str = ""
    #: text, or json.
    log_format: str = "text"

    def __post_init__(self) -> None:
        """Check what types cannot say; messages name the setting and the cure."""
        self._check_protection()
        if not self.data and not self.memory:
            raise ConfigurationError("data is empty: name a folder with --data, or leave it out for the default one")
        # NaN is neither more nor less than anything, and what never ends cannot be counted in milliseconds.
        seconds = (self.result_expires, self.grace, self.heartbeat, self.silence)
        if not all(math.isfinite(length) and length > 0 for length in seconds):
            raise ConfigurationError("result_expires, grace, heartbeat and silence are seconds, finite and more than 0")
        if max(self.heartbeat, self.silence) > LONGEST:
            raise ConfigurationError(f"heartbeat and silence are told in milliseconds: {LONGEST:,} s at most, 49 days")
        if self.heartbeat * 2 > self.silence:
            raise ConfigurationError(
                f"heartbeat ({self.heartbeat:g} s) is to be at most half of silence ({self.silence:g} s)"
            )
        if self.max_deliveries < 1 or self.node_limit < 1:
            raise ConfigurationError("max_deliveries and node_limit are at least 1")
        if not 1024 <= self.payload_limit <= limits.PAYLOAD_LIMIT:
            raise ConfigurationError(
                f"payload_limit lies between 1024 and {limits.PAYLOAD_LIMIT} bytes: what peers' transports take"
            )
        self._check_sizes()
        if self.log_level.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}:
            raise ConfigurationError(f"log_level {self.log_level!r} is not DEBUG, INFO, WARNING or ERROR")
        if self.log_format not in LOG_FORMATS:
            raise ConfigurationError(f"log_format {self.log_format!r} is not one of {', '.join(LOG_FORMATS)}")

    def _check_sizes(self) -> None:
        if self.events_on_disk and self.memory:
            raise ConfigurationError(
                "events_on_disk needs a folder, and with --memory there is none: leave one of the two out"
            )
        if self.events_on_disk and self.events_on_disk < SMALLEST_EVENTS_ON_DISK:
            raise ConfigurationError(
                f"events_on_disk is {self.events_on_disk} bytes: write a size of 1MiB or more, or 0 for none"
            )
        if self.preallocate < 0:
            raise ConfigurationError(f"preallocate is {self.preallocate} bytes: write a size such as 128MiB, or 0")
        if self.journal and not SMALLEST_JOURNAL <= self.journal <= LARGEST_JOURNAL:
            raise ConfigurationError(
                f"journal is {self.journal} bytes: write a size from 256KiB to 64MiB, or 0 for none"
            )
        if self.task_logs and not SMALLEST_TASK_LOGS <= self.task_logs <= LARGEST_TASK_LOGS:
            raise ConfigurationError(
                f"task_logs is {self.task_logs} bytes: write a size from 4KiB to 64MiB, or 0 for none"
            )

    def _check_protection(self) -> None:
        """Refuse to listen to strangers without TLS and tokens, unless that is said aloud."""
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ConfigurationError("tls_cert and tls_key belong together: name both files, or none")
        if self.tls_client_ca and not self.tls_cert:
            raise ConfigurationError("tls_client_ca needs TLS: name tls_cert and tls_key as well")
        self._check_reach("listen", self.listen)
        if self.metrics:
            self._check_reach("metrics", self.metrics)
        if self.dashboard:
            self._check_reach("dashboard", self.dashboard)
        if self.dashboard_coordinator:
            split_address(self.dashboard_coordinator)

    def _check_reach(self, setting: str, address: str) -> None:
        """Refuse an address that strangers can reach where TLS or tokens lack."""
        host, port = split_address(address)
        lacking = [name for name, there in (("TLS", self.tls_cert), ("tokens", self.tokens)) if not there]
        if lacking and not self.insecure and not addresses.is_loopback(host):
            options = " ".join({"TLS": "--tls-cert FILE --tls-key FILE", "tokens": "--tokens FILE"}[x] for x in lacking)
            raise ConfigurationError(
                f"{setting} {address}: {host!r} can be reached from other machines, and there is no authentication: "
                f"{' and '.join(lacking)} lack. Add {options}, listen on 127.0.0.1:{port}, or say --insecure where the "
                f"network itself is trusted"
            )

    def core_limits(self) -> Limits:
        """Return the numbers that rule the core."""
        return Limits(
            grace=self.grace,
            silence=self.silence,
            max_deliveries=self.max_deliveries,
            result_expires_ms=int(self.result_expires * 1000),
            node_limit=self.node_limit,
            log_limit=self.task_logs,
        )


def parse_size(text: str) -> int:
    """Return a size in bytes: `500MB` is 500,000,000 of them, `1GiB` 1,073,741,824, a number alone is bytes.

    Raises:
        ConfigurationError: The text is no size.
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(f"{text!r} is no size: write one such as 500MB, 2GiB, or a number of bytes")
    number, unit, binary = found.groups()
    power = "KMGT".index(unit.upper()) + 1 if unit else 0
    return round(float(number) * float((1024 if binary else 1000) ** power))


def split_address(address: str) -> tuple[str, int]:
    """Return the host and the port of HOST:PORT; IPv6 hosts stand in brackets."""
    found = addresses.split(address)
    if found is None:
        raise ConfigurationError(f"the address {address!r} is not HOST:PORT, such as {DEFAULT_LISTEN}")
    return found


def load(options: Mapping[str, Any], file: Path | None = None, environment: Mapping[str, str] = os.environ) -> Config:
    """Make the settings.

    Args:
        options: what the command line said; None for what it did not.
        file: a TOML file with the names of `Config`.
        environment: where GRPCFLOW_COORDINATOR_<NAME> is looked for.

    Raises:
        ConfigurationError: something cannot be used; the message names it.
    """
    merged: dict[str, Any] = {"data": str(default_data_folder(environment))}
    if file is not None:
        try:
            merged |= msgspec.toml.decode(file.read_bytes())
        except OSError as error:
            raise ConfigurationError(f"the settings file {file} cannot be read: {error.strerror}") from error
        except (msgspec.DecodeError, ValueError) as error:  # the latter: no UTF-8, or no name that a file can have
            raise ConfigurationError(f"the settings file {file} is not TOML: {error}") from error
    for name in Config.__struct_fields__:
        value = environment.get(ENVIRONMENT_PREFIX + name.upper())
        if value:
            merged[name] = value
    merged |= {name: value for name, value in options.items() if value is not None}
    for name in ("events_on_disk", "journal", "preallocate", "task_logs"):
        if isinstance(size := merged.get(name), str):
            merged[name] = parse_size(size)
    try:
        return msgspec.convert(merged, Config, strict=False)
    except msgspec.ValidationError as error:
        if isinstance(error.__cause__, ConfigurationError):
            raise error.__cause__ from None
        names = ", ".join(Config.__struct_fields__)
        raise ConfigurationError(f"a setting cannot be used: {error}. The settings are: {names}") from error
