"""`grpcflow-coordinator --dashboard`: a process beside it that is replaced where it dies, and never outlives it."""

from __future__ import annotations

import json
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import psutil
from tests.cluster.harness import Cluster, alive, wait_for
from tests.coordinator.security.token_files import give
from tests.support.certificates import Authority

from grpcflow_coordinator.security.token_file import Role


class Shown:
    """The dashboard of a cluster, as its log and its processes tell of it.

    Args:
        cluster: its coordinator was started.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._log = cluster.folder / "coordinator.log"

    def log(self) -> str:
        return self._log.read_text()

    def address(self, number: int) -> str:
        """Returns where the first, the second one is."""
        found: list[str] = wait_for(
            f"dashboard {number}", lambda: re.findall(r"Dashboard: (\S+)/\n", self.log())[number - 1 :]
        )
        return found[0].replace("0.0.0.0", "127.0.0.1")

    def process(self) -> psutil.Process:
        assert self._cluster.coordinator is not None
        [found] = [one for one in self._cluster.coordinator.children() if "grpcflow.dashboard" in one.cmdline()]
        return found


def asked(address: str, authority: Path, **sent: str) -> tuple[int, Any]:
    """Logs in there; returns the status and what is said."""
    body = urllib.parse.urlencode(sent).encode()
    request = urllib.request.Request(f"{address}/login", body)
    try:
        with urllib.request.urlopen(request, timeout=60, context=ssl.create_default_context(cafile=authority)) as found:
            return found.status, json.load(found)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_it_lets_in_by_the_coordinators_tokens_is_replaced_and_does_not_outlive_it(cluster: Cluster) -> None:
    authority = Authority(cluster.folder / "authority")
    pair, tokens = authority.vouch(), cluster.folder / "tokens.json"
    token = give(tokens, [Role.INSPECT], name="looks")
    cluster.start_coordinator(
        *("--memory", "--tokens", str(tokens), "--tls-cert", str(pair.cert), "--tls-key", str(pair.key)),
        *("--dashboard", "0.0.0.0:0"),
    )
    shown = Shown(cluster)
    address = shown.address(1)
    assert address.startswith("https://")
    assert asked(address, authority.cert, token=token) == (200, {"ok": True})
    status, refusal = asked(address, authority.cert, token="wrong")
    assert (status, "does not take this token" in refusal["error"]) == (401, True)

    host, _, port = address.removeprefix("https://").partition(":")
    before = ssl.get_server_certificate((host, int(port)))
    renewed = authority.vouch()
    pair.key.write_bytes(renewed.key.read_bytes())
    pair.cert.write_bytes(renewed.cert.read_bytes())
    assert ssl.get_server_certificate((host, int(port))) != before, "a new certificate is shown without a restart"

    first = shown.process()
    assert token not in " ".join([*first.cmdline(), *first.environ().values()])
    first.kill()
    assert asked(shown.address(2), authority.cert, token=token) == (200, {"ok": True})
    assert "the dashboard was ended by signal 9; another one starts in 1 s" in shown.log()

    second = shown.process()
    assert cluster.coordinator is not None
    cluster.coordinator.kill()
    wait_for("the dashboard to end with the coordinator", lambda: not alive([second]))


def test_it_ends_with_a_coordinator_that_is_asked_to_stop(cluster: Cluster) -> None:
    cluster.start_coordinator("--memory", "--dashboard", "127.0.0.1:0")
    shown = Shown(cluster)
    shown.address(1)
    process = shown.process()
    assert cluster.coordinator is not None
    assert cluster.coordinator.terminate() == 0
    assert not alive([process])
    assert shown.log().endswith("stopped\n")
    assert "another one starts" not in shown.log()
