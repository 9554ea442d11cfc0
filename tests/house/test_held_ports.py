"""A port that a test holds is refused to all others, and open to who names it, again and again."""

import socket

import pytest
from tests.support.ports import HeldPort, WatchedSockets


def test_a_held_port_refuses_connections_and_serves_whoever_names_it_as_often_as_he_likes() -> None:
    port = HeldPort()
    place = ("127.0.0.1", port.number)
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(place, 20)
        with socket.create_server(place) as server, socket.create_connection(place, 20) as near:
            far, _ = server.accept()
            with far:
                assert far.getpeername() == near.getsockname()
    port.close()


def test_a_held_port_is_given_to_nobody_who_asks_for_any() -> None:
    port = HeldPort()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port.number))  # as the system asks for one that nobody has
    port.close()


def test_a_socket_that_is_left_is_named_with_the_test_that_made_it(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = WatchedSockets(monkeypatch)
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
    port = HeldPort()
    [left] = watched.left()
    assert str(port.number) in left
    assert "test_a_socket_that_is_left_is_named" in left
    port.close()
    assert watched.left() == []
