"""The bytes of a connection through a WebSocket to a port of a pod."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from queue import SimpleQueue

import pytest

from provision.adapters.forwarding import carry


class Channel:
    """A WebSocket that answers what it is told to; ends when its socket is shut down."""

    def __init__(self) -> None:
        self.sock, self.other = socket.socketpair()
        self.told: SimpleQueue[bytes] = SimpleQueue()
        self.said: SimpleQueue[bytes] = SimpleQueue()
        self.ended: SimpleQueue[bool] = SimpleQueue()

    def recv(self) -> bytes:
        return self.told.get(timeout=5)

    def send_binary(self, payload: bytes) -> int:
        self.said.put(payload)
        return len(payload)

    def shutdown(self) -> None:
        self.ended.put(True)

    def close(self) -> None:
        self.sock.close()
        self.other.close()


@pytest.fixture
def channel() -> Iterator[Channel]:
    made = Channel()
    for begins in (b"\x00\x15\x38", b"\x01\x15\x38"):
        made.told.put(begins)
    yield made
    made.close()


def test_bytes_go_both_ways_and_the_ports_number_is_none_of_them(channel: Channel) -> None:
    with carry(channel) as connection:
        connection.settimeout(5)
        connection.sendall(b"question")
        assert channel.said.get(timeout=5) == b"\x00question"
        channel.told.put(b"\x00answer")
        assert connection.recv(100) == b"answer"
        channel.told.put(b"")
        assert connection.recv(100) == b""
    assert channel.ended.get(timeout=5)


def test_what_the_kubelet_complains_of_ends_it(channel: Channel) -> None:
    with carry(channel) as connection:
        connection.settimeout(5)
        channel.told.put(b"\x01nobody listens")
        assert connection.recv(100) == b""
    assert channel.ended.get(timeout=5)


def test_ending_it_with_bytes_unread_is_no_fault(channel: Channel) -> None:
    connection = carry(channel)
    channel.told.put(b"\x00unread")
    connection.settimeout(5)
    assert connection.recv(1) == b"u"
    connection.close()
    channel.other.settimeout(5)
    assert channel.other.recv(1) == b""
    channel.told.put(b"\x00more")
    assert channel.ended.get(timeout=5)
