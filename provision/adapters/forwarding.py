"""Carries the bytes of one connection to a port of a pod, through the Kubernetes API.

The ``kubernetes`` package has this too; it dies with a traceback where a connection is ended with
bytes unread, as TLS ends them.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Thread
from typing import Protocol

BYTES = 65536
DATA = 0
"""Channel of the bytes; the other one is for what the kubelet complains of."""


class Frames(Protocol):
    """A WebSocket whose messages are a channel's number and bytes."""

    sock: socket.socket

    def recv(self) -> str | bytes:
        """The next message; nothing once the other side has closed it."""

    def send_binary(self, payload: bytes) -> int:
        """Send a message."""

    def shutdown(self) -> None:
        """Close it at once."""


def carry(frames: Frames) -> socket.socket:
    """A connection whose bytes go through ``frames`` until either side ends it."""
    ours, theirs = socket.socketpair()
    carrier = frames.sock
    for work in (_inwards, _outwards):
        Thread(target=work, args=(frames, theirs, carrier), daemon=True).start()
    return ours


def _inwards(frames: Frames, end: socket.socket, carrier: socket.socket) -> None:
    """What the pod says; each channel's first message is the port's number."""
    from websocket import WebSocketException

    del carrier
    begun: set[int] = set()
    with end, suppress(OSError, WebSocketException):
        while message := frames.recv():
            channel, content = _parts(message)
            if channel in begun and channel != DATA:
                break
            if channel in begun:
                end.sendall(content)
            begun.add(channel)
        end.shutdown(socket.SHUT_RDWR)
    frames.shutdown()


def _outwards(frames: Frames, end: socket.socket, carrier: socket.socket) -> None:
    """What is said to the pod."""
    from websocket import WebSocketException

    with suppress(OSError, WebSocketException):
        while content := end.recv(BYTES):
            frames.send_binary(bytes((DATA,)) + content)
    # The other thread waits at it, and ends then.
    with suppress(OSError):
        carrier.shutdown(socket.SHUT_RDWR)


def _parts(message: str | bytes) -> tuple[int, bytes]:
    data = message.encode() if isinstance(message, str) else message
    return data[0], data[1:]
