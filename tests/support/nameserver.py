"""A name server on a loopback port: it answers with records it is given, over UDP and TCP."""

from __future__ import annotations

import socketserver
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "TXT": 16, "AAAA": 28}


@dataclass
class NameServer:
    """What the server knows, and where it is."""

    records: dict[str, tuple[int, Sequence[str]]] = field(default_factory=dict)
    """Seconds to live and values by ``NAME TYPE``."""
    truncated: bool = False
    """Whether datagrams say that the answer is too long for them."""
    referral: bool = False
    """Whether answers stand among the authorities, as those for a zone below do."""
    lost: int = 0
    """So many datagrams are not answered."""
    nonsense: bool = False
    """Whether answers are none that anybody understands."""
    socket: str = ""
    """``address:port``."""

    def answer(self, request: bytes, *, datagram: bool) -> bytes:
        """The reply to ``request``."""
        if self.nonsense:
            return request[:2] + b"\0\0"
        name, kind, question = _question(request)
        if datagram and self.truncated:
            return request[:2] + struct.pack("!HHHHH", 0x8200, 1, 0, 0, 0) + question
        found = [
            _packed(owner.split(" ")[1], ttl, value)
            for owner, (ttl, values) in self.records.items()
            if owner in (f"{name} {kind}", f"{name} CNAME")
            for value in values
        ]
        known = any(owner.startswith(f"{name} ") for owner in self.records)
        counts = (0, len(found), 0) if self.referral else (len(found), 0, 0)
        flags = 0x8400 | (0 if known else 3)
        header = request[:2] + struct.pack("!HHHHH", flags, 1, *counts)
        return header + question + b"".join(found)


@contextmanager
def name_server(records: Mapping[str, tuple[int, Sequence[str]]]) -> Iterator[NameServer]:
    """A server that answers while the block runs."""
    known = NameServer(dict(records))

    class Datagram(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            request, sock = self.request
            if known.lost:
                known.lost -= 1
                return
            sock.sendto(known.answer(request, datagram=True), self.client_address)

    class Stream(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            (length,) = struct.unpack("!H", self.rfile.read(2))
            reply = known.answer(self.rfile.read(length), datagram=False)
            self.wfile.write(struct.pack("!H", len(reply)) + reply)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Stream) as tcp:
        address = tcp.socket.getsockname()
        with socketserver.ThreadingUDPServer(address, Datagram) as udp:
            known.socket = f"127.0.0.1:{address[1]}"
            for server in (tcp, udp):
                threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            yield known
            udp.shutdown()
            tcp.shutdown()


def _question(request: bytes) -> tuple[str, str, bytes]:
    labels, place = [], 12
    while request[place]:
        labels.append(request[place + 1 : place + 1 + request[place]].decode())
        place += 1 + request[place]
    code = struct.unpack("!H", request[place + 1 : place + 3])[0]
    kind = next(name for name, number in TYPES.items() if number == code)
    return ".".join(labels) + ".", kind, request[12 : place + 5]


def _name(name: str) -> bytes:
    labels = [label.encode() for label in name.rstrip(".").split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _packed(kind: str, ttl: int, value: str) -> bytes:
    match kind:
        case "A" | "AAAA":
            data = ip_address(value).packed
        case "TXT":
            data = bytes([len(value)]) + value.encode()
        case _:
            data = _name(value)
    # The owner's name is that of the question, which stands at byte 12.
    return struct.pack("!HHHIH", 0xC00C, TYPES[kind], 1, ttl, len(data)) + data
