"""The listener of metrics: what it answers, whom it leaves, and that it shows a new certificate without a restart."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import threading
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import pytest
from tests.support.certificates import Authority
from tests.support.scraping import answered

from grpcflow_protos.metrics import listener as module
from grpcflow_protos.metrics.listener import MOST_CONNECTIONS, Answer, Asked, Listener, Page, refusal
from grpcflow_protos.metrics.tls import Certificate

BOUND = 30.0


def hello(asked: Asked) -> Page:
    return Page(f"{asked.authorization} {asked.accept} {asked.encodings}".encode(), {"Content-Type": "text/plain"})


@contextmanager
def listening(answer: Answer = hello, certificate: Certificate | None = None) -> Iterator[Listener]:
    made = Listener("127.0.0.1", 0, answer, certificate)
    try:
        yield made
    finally:
        made.close()


def spoken(listener: Listener, request: bytes) -> bytes:
    """Returns all that a peer hears who says something and listens to the end, however rudely that comes."""
    heard = bytearray()
    peer = socket.create_connection(("127.0.0.1", port_of(listener)), BOUND)
    with peer, contextlib.suppress(ConnectionError):
        peer.sendall(request)
        while data := peer.recv(65536):
            heard += data
    return bytes(heard)


def port_of(listener: Listener) -> int:
    return int(listener.url.rpartition(":")[2].partition("/")[0])


def test_who_asks_is_heard_and_answered() -> None:
    with listening() as listener:
        status, body, headers = answered(listener.url, "secret", headers={"Accept": "a", "Accept-Encoding": "b"})
    assert (status, body) == (200, b"Bearer secret a b")
    assert headers["Server"] == "grpcflow"


def test_a_head_has_no_body() -> None:
    with listening() as listener:
        head = spoken(listener, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200")
    assert b"Content-Length: 2\r\n" in head
    assert head.endswith(b"\r\n\r\n")


def test_a_query_is_passed_over_and_another_path_is_not_there() -> None:
    with listening() as listener:
        assert answered(f"{listener.url}?name[]=x")[0] == 200
        status, body, _ = answered(listener.url.replace("/metrics", "/"))
    assert (status, body) == (404, b"the metrics are at /metrics\n")


@pytest.mark.parametrize(
    "request_line", [b"POST /metrics HTTP/1.1", b"nonsense", b"GET " + b"x" * 70_000 + b" HTTP/1.1"]
)
def test_what_is_no_question_is_refused_and_the_next_one_is_answered(request_line: bytes) -> None:
    with listening() as listener:
        heard = spoken(listener, request_line + b"\r\n\r\n")
        assert b" 200 " not in heard
        assert answered(listener.url)[0] == 200


def test_a_refusal_says_why_and_how_to_prove_oneself() -> None:
    with listening(lambda _: refusal(HTTPStatus.UNAUTHORIZED, "show a token")) as listener:
        status, body, headers = answered(listener.url)
    assert (status, body) == (401, b"show a token\n")
    assert headers["WWW-Authenticate"].startswith("Bearer")


def test_a_defect_is_told_without_its_particulars_and_logged_with_them(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Asked) -> Page:
        raise LookupError("a secret of the process")

    with listening(fail) as listener:
        status, body, _ = answered(listener.url)
    assert (status, body) == (500, b"the metrics could not be gathered: see the log\n")
    assert "a secret of the process" in caplog.text


def test_who_comes_when_many_are_being_answered_is_sent_away_and_the_next_one_is_not() -> None:
    entered = threading.Semaphore(0)
    go_on = threading.Event()

    def wait(asked: Asked) -> Page:
        entered.release()
        assert go_on.wait(BOUND)
        return hello(asked)

    with listening(wait) as listener:
        threads = [in_thread(lambda: answered(listener.url)) for _ in range(MOST_CONNECTIONS)]
        for _ in threads:
            assert entered.acquire(timeout=BOUND)
        try:
            with pytest.raises((urllib.error.URLError, OSError)):
                answered(listener.url)
        finally:
            go_on.set()
        for thread in threads:
            thread.join(BOUND)
            assert not thread.is_alive()
        released(listener)
        assert answered(listener.url)[0] == 200


def released(listener: Listener) -> None:
    """Waits until every connection was let go: its answer may arrive before."""
    for _ in range(MOST_CONNECTIONS):
        assert listener._room.acquire(timeout=BOUND)
    for _ in range(MOST_CONNECTIONS):
        listener._room.release()


def in_thread(call: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def test_who_says_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.01)
    monkeypatch.setattr(module._Handler, "timeout", 0.01)
    with listening() as listener:
        assert spoken(listener, b"") == b""


def test_a_closed_one_leaves_its_port() -> None:
    with listening() as listener:
        port = port_of(listener)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), BOUND)


def test_a_port_that_is_taken_is_an_error() -> None:
    with listening() as listener, pytest.raises(OSError, match="in use"):
        Listener("127.0.0.1", port_of(listener), hello)


def has_ipv6() -> bool:
    """Returns whether this machine has a loopback address of the sixth version."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="needs IPv6")
def test_an_address_of_the_sixth_version_stands_in_brackets() -> None:
    listener = Listener("::1", 0, hello)
    try:
        assert listener.url.startswith("http://[::1]:")
        assert answered(listener.url)[0] == 200
    finally:
        listener.close()


def shown(listener: Listener) -> bytes:
    """Returns the certificate that a listener shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    peer = socket.create_connection(("127.0.0.1", port_of(listener)), BOUND)
    with peer, context.wrap_socket(peer) as wrapped:
        return wrapped.getpeercert(binary_form=True) or b""


def test_it_speaks_tls_and_takes_a_new_certificate_when_both_files_are_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    first, second = authority.vouch(), authority.vouch()
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    shutil.copy(first.cert, cert)
    shutil.copy(first.key, key)
    with listening(certificate=Certificate(cert, key)) as listener:
        assert listener.url.startswith("https://127.0.0.1:")
        assert answered(listener.url, context=ssl.create_default_context(cafile=str(authority.cert)))[0] == 200
        before = shown(listener)
        shutil.copy(second.cert, cert)
        assert shown(listener) == before
        assert "stays as it was" in caplog.text
        shutil.copy(second.key, key)
        assert shown(listener) != before


def test_without_tls_on_the_other_side_nothing_is_told(tmp_path: Path) -> None:
    pair = Authority(tmp_path).vouch()
    with listening(certificate=Certificate(pair.cert, pair.key)) as listener:
        assert b"200" not in spoken(listener, b"GET /metrics HTTP/1.0\r\n\r\n")


def test_a_client_whose_certificate_nobody_vouches_for_is_not_let_in(tmp_path: Path) -> None:
    authority, stranger = Authority(tmp_path / "own"), Authority(tmp_path / "other")
    pair = authority.vouch()
    with listening(certificate=Certificate(pair.cert, pair.key, authority.cert)) as listener:
        for vouching, welcome in ((authority, True), (stranger, False), (None, False)):
            context = ssl.create_default_context(cafile=str(authority.cert))
            if vouching is not None:
                own = vouching.vouch("client")
                context.load_cert_chain(own.cert, own.key)
            if welcome:
                assert answered(listener.url, context=context)[0] == 200
            else:
                with pytest.raises(OSError):
                    answered(listener.url, context=context)


def test_a_certificate_without_its_key_is_an_error(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.vouch(), authority.vouch()
    with pytest.raises(OSError, match="MISMATCH"):
        Certificate(one.cert, other.key)
