"""Asks name servers, in the words of RFC 1035: standard library only, nothing is written."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

SECONDS = 2.0
"""How long one attempt waits."""
ATTEMPTS = 2
"""A datagram may be lost."""
RESOLVER = "resolver"
"""Stands for the servers of the machine's own /etc/resolv.conf, asked one after the other."""

_TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "TXT": 16, "AAAA": 28}
_STATUS = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
_TRUNCATED = 0x0200


def ask(questions: list[str]) -> dict[str, Any]:
    """Ask every question, ``SERVER NAME TYPE``, at the same time.

    ``SERVER`` is ``address:port``, an IPv6 address in brackets, or :data:`RESOLVER`. An answer
    has ``status`` (of DNS, or why there is none), ``values`` of the type, their ``ttl`` in
    seconds, and ``alias``: what the name is another name for, if it is.
    """
    with ThreadPoolExecutor(max_workers=max(1, min(32, len(questions)))) as pool:
        return dict(zip(questions, pool.map(_answer, questions)))


def _answer(question: str) -> dict[str, Any]:
    server, name, kind = question.split(" ")
    status = "no name server in /etc/resolv.conf"
    for address, port in _servers(server):
        found = _asked(address, port, name, kind)
        if isinstance(found, dict):
            return found
        status = found
    return {"status": status, "values": [], "ttl": 0, "alias": ""}


def _asked(address: str, port: int, name: str, kind: str) -> dict[str, Any] | str:
    """The answer, or why there is none."""
    try:
        return _parse(_exchange(address, port, _request(name, kind)), name, kind)
    except socket.timeout:
        return f"no answer within {SECONDS * ATTEMPTS:g} s"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    except (IndexError, struct.error, UnicodeDecodeError):
        return "an answer that is no DNS"


def _servers(server: str) -> Iterator[tuple[str, int]]:
    if server != RESOLVER:
        address, _, port = server.rpartition(":")
        yield address.strip("[]"), int(port)
        return
    for line in Path("/etc/resolv.conf").read_text("utf-8").splitlines():
        words = line.split()
        if words[:1] == ["nameserver"] and len(words) > 1:
            yield words[1], 53


def _request(name: str, kind: str) -> bytes:
    labels = [label.encode("ascii") for label in name.rstrip(".").split(".") if label]
    header = os.urandom(2) + struct.pack("!HHHHH", 0x0100, 1, 0, 0, 0)
    packed = b"".join(bytes([len(label)]) + label for label in labels)
    return header + packed + b"\0" + struct.pack("!HH", _TYPES[kind], 1)


def _exchange(address: str, port: int, request: bytes) -> bytes:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            reply = _datagram(address, port, request)
        except socket.timeout:
            if attempt == ATTEMPTS:
                raise
            continue
        flags = struct.unpack("!H", reply[2:4])[0]
        return _stream(address, port, request) if flags & _TRUNCATED else reply
    raise AssertionError("unreachable")


def _datagram(address: str, port: int, request: bytes) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.settimeout(SECONDS)
        probe.connect((address, port))
        probe.send(request)
        while True:
            reply = probe.recv(65535)
            if reply[:2] == request[:2]:
                return reply


def _stream(address: str, port: int, request: bytes) -> bytes:
    with socket.create_connection((address, port), timeout=SECONDS) as connection:
        connection.sendall(struct.pack("!H", len(request)) + request)
        with connection.makefile("rb") as answer:
            return answer.read(struct.unpack("!H", answer.read(2))[0])


def _parse(reply: bytes, name: str, kind: str) -> dict[str, Any]:
    flags, questions, answers, authorities = struct.unpack("!HHHH", reply[2:10])
    place = 12
    for _ in range(questions):
        place = _name(reply, place)[1] + 4
    values, ttl, alias = [], 0, ""
    for number in range(answers + authorities):
        owner, place = _name(reply, place)
        code, _, seconds, length = struct.unpack("!HHIH", reply[place : place + 10])
        place += 10
        own = owner == name.lower()
        # The servers of a zone below are told beside the answer, not in it.
        counts = number < answers or (own and kind == "NS")
        if code == _TYPES[kind] and counts:
            values.append(_value(reply, place, length, kind))
            ttl = seconds
        elif code == _TYPES["CNAME"] and own and number < answers:
            alias = _name(reply, place)[0]
        place += length
    status = _STATUS.get(flags & 15, f"RCODE {flags & 15}")
    return {"status": status, "values": values, "ttl": ttl, "alias": alias}


def _name(reply: bytes, place: int) -> tuple[str, int]:
    """The name at ``place``, absolute and in lower case, and where what follows it begins."""
    labels: list[str] = []
    end = 0
    for _ in range(128):
        length = reply[place]
        if length >= 0xC0:
            end = end or place + 2
            place = struct.unpack("!H", reply[place : place + 2])[0] & 0x3FFF
        elif length:
            labels.append(reply[place + 1 : place + 1 + length].decode("ascii").lower())
            place += 1 + length
        else:
            return ".".join(labels) + ".", end or place + 1
    raise IndexError("a name without an end")


def _value(reply: bytes, place: int, length: int, kind: str) -> str:
    data = reply[place : place + length]
    if kind in ("A", "AAAA"):
        return socket.inet_ntop(socket.AF_INET if kind == "A" else socket.AF_INET6, data)
    if kind == "TXT":
        return b"".join(_texts(data)).decode("utf-8", errors="replace")
    if kind == "SOA":
        _, after = _name(reply, place)
        _, after = _name(reply, after)
        return str(struct.unpack("!I", reply[after : after + 4])[0])
    return _name(reply, place)[0]


def _texts(data: bytes) -> Iterator[bytes]:
    while data:
        yield data[1 : 1 + data[0]]
        data = data[1 + data[0] :]
