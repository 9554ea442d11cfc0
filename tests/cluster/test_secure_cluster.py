"""A real cluster with TLS, tokens and a namespace: it works from end to end, and no secret of it is to be seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner
from tests.cluster import cluster_tasks as tasks
from tests.cluster.harness import LIMIT, Cluster, wait_for
from tests.support.certificates import Authority

from grpcflow import errors
from grpcflow_coordinator.__main__ import command

SOON = 60.0


def test_a_cluster_with_certificates_and_tokens_works_and_shows_no_secret(cluster: Cluster) -> None:
    authority = Authority(cluster.folder / "authority")
    pair = authority.vouch()
    book = cluster.folder / "tokens.json"
    secrets = {name: given(book, name, *words) for name, words in TOKENS.items()}
    files = {name: keep(cluster.folder / f"{name}.token", secret) for name, secret in secrets.items()}
    audit = cluster.folder / "audit.jsonl"
    cluster.start_coordinator(
        *("--tls-cert", str(pair.cert), "--tls-key", str(pair.key), "--tls-client-ca", str(authority.cert)),
        *("--tokens", str(book), "--audit-log", str(audit), "-l", "DEBUG"),
    )
    mine = authority.vouch("client")
    reach = {"coordinator_tls_ca": str(authority.cert), "coordinator_tls_cert": str(mine.cert)}
    reach |= {"coordinator_tls_key": str(mine.key), "coordinator_token_file": str(files["operator"])}
    cluster.app.conf.update({**reach, "namespace": "shop"})
    options = ("--tls-ca", str(authority.cert), "--tls-cert", str(mine.cert), "--tls-key", str(mine.key))
    cluster.start_worker("secure", *options, "--token-file", str(files["worker"]), "-l", "DEBUG")
    tasks.app.conf.update({**reach, "coordinator": cluster.address, "coordinator_token_file": str(files["web"])})
    try:
        assert tasks.add.delay(2, 2).get(timeout=SOON) == 4
        inner = tasks.submit.delay(3, 4).get(timeout=SOON)  # a task calls with its worker's certificate and token
        assert tasks.app.AsyncResult(inner).get(timeout=SOON) == 7
        with pytest.raises(errors.GrpcflowError) as denied:
            tasks.app.control.pause_queue("nothing")
        told = [str(denied.value), repr(denied.value), run_command(cluster, "web", "status", files, options)]
        assert "is for the role" in told[-1], told[-1]
        told += [run_command(cluster, "operator", one, files, options) for one in COMMANDS]
        assert all("secure" in text for text in told[-len(COMMANDS) : -2]), "they were let in and saw the worker"
        cluster.app.control.pause_queue("nothing")
        told += [json.dumps(cluster.app.control.inspect(timeout=30).conf(with_defaults=True), default=repr)]
        told += [
            repr(list(cluster.app.events.read())),
            repr(tasks.app.conf),
            tasks.app.conf.humanize(with_defaults=True),
        ]
        told += [title for process in processes(cluster) for title in process.cmdline()]
        wait_for("a line in the audit log", lambda: "PauseQueue" in audit.read_text())
        told += [path.read_text(errors="replace") for path in cluster.folder.glob("*.log")] + [audit.read_text()]
        assert (cluster.folder / "data" / "namespaces" / "shop" / "data.mdb").is_file()
        told += [path.read_bytes().decode("latin-1") for path in (cluster.folder / "data").rglob("*") if path.is_file()]
        told.append(book.read_text())
        for name, token in secrets.items():
            secret = token.split("_", 2)[2]
            assert not [text for text in told if secret in text], f"the token of {name} can be seen"
        assert "ROLE_FORBIDDEN" in audit.read_text(), "what was refused is written down"
        rotate(cluster, book, files["worker"])
    finally:
        tasks.app.connection.close()
        tasks.app.conf.update(dict.fromkeys(reach))


def rotate(cluster: Cluster, book: Path, file: Path) -> None:
    """Give the worker another token, take the old one away, and see it come back with the new one by itself."""
    old = file.read_text().strip()
    keep(file, given(book, "rotated", *TOKENS["worker"]))
    CliRunner().invoke(command, ["token", "revoke", old.split("_")[1], "--tokens", str(book)])
    log = cluster.workers["secure"].log
    wait_for("the worker to come back", lambda: "again after" in log.read_text())
    assert "the token was changed or revoked" in log.read_text()
    assert tasks.add.delay(5, 5).get(timeout=SOON) == 10
    assert old not in log.read_text()


_SHOP = ("--namespace", "shop")

#: Whoever is in the shop says no word of it; the operator is outside and acts there.
TOKENS = {
    "operator": ("--role", "admin"),
    "worker": ("--role", "work", "--role", "submit", *_SHOP),
    "web": ("--role", "submit", *_SHOP),
}

#: What people type who look around.
COMMANDS = ("status", "inspect report", "inspect stats", "inspect conf --with-defaults", "events", "graph list")


def given(book: Path, name: str, *words: str) -> str:
    """Return a new token."""
    return CliRunner().invoke(command, ["token", "add", name, *words, "--tokens", str(book)]).stdout.strip()


def keep(path: Path, token: str) -> Path:
    path.write_text(token + "\n")
    path.chmod(0o600)
    return path


def run_command(cluster: Cluster, name: str, words: str, files: dict[str, Path], options: tuple[str, ...]) -> str:
    """Return all that a command says."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from grpcflow.cli import main; sys.exit(main())",
            *options,
            "--token-file",
            str(files[name]),
            *(_SHOP if name == "operator" else ()),
            *words.split(),
        ],
        env=cluster.environment() | {"PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
        cwd=cluster.folder,
    )
    return done.stdout + done.stderr


def processes(cluster: Cluster) -> list[psutil.Process]:
    found = [psutil.Process(os.getpid())]
    for one in (cluster.coordinator, *cluster.workers.values()):
        assert one is not None
        found += [psutil.Process(one.pid), *one.children()]
    return found
