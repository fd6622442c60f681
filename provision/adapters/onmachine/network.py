"""Reachability as this machine sees it, and its own interfaces and sockets."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Union

from provision.adapters.reader import run

SECONDS = 2.0
"""How long one probe waits; machines of one site are milliseconds apart."""

_IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE = 10, 3
_IPV6_MTU_DISCOVER, _IPV6_PMTUDISC_PROBE = 23, 3
_IP_MTU, _IPV6_MTU = 14, 24
"""From <linux/in.h> and <linux/in6.h>; Python's socket module does not name them."""
_ARP, _MAC_BYTES = 0x0806, 6

Result = Union[bool, str]


def connect(targets: list[str]) -> dict[str, Result]:
    """Try every target at the same time; True, or the reason why not.

    ``address:port`` is a TCP connection, where a refusal counts as reached;
    ``address`` is a ping, or an answer to ARP; ``address#mtu`` is a ping as
    large as the route's first hop takes, never fragmented; ``https://name`` or
    ``https://name:port`` is a registry that answers, whatever it says to one who
    has not logged in.
    """
    with ThreadPoolExecutor(max_workers=min(64, len(targets))) as pool:
        return dict(zip(targets, pool.map(_try, targets)))


def _try(target: str) -> Result:
    try:
        if target.startswith("https://"):
            from provision.adapters.onmachine.registry import answers

            return answers(target[len("https://") :])
        if target.endswith("#mtu"):
            return _full_size(target[: -len("#mtu")])
        address, port = _split(target)
        return _present(address) if port is None else _tcp(address, port)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    except UnicodeError:
        # What Python says of a label that is empty or too long depends on its version.
        return "no name that DNS could have"


def _split(target: str) -> tuple[str, int | None]:
    match = re.fullmatch(r"\[(.+)\]:(\d+)|([^:]+):(\d+)", target)
    if match is None:
        return target.strip("[]"), None
    return match[1] or match[3], int(match[2] or match[4])


def _tcp(address: str, port: int) -> Result:
    try:
        socket.create_connection((address, port), timeout=SECONDS).close()
    except ConnectionRefusedError:
        return True
    except socket.timeout:
        return f"no answer within {SECONDS:g} s"
    return True


def _present(address: str) -> Result:
    beside = _is_known_neighbour if ":" in address else _answers_arp
    return True if _ping(address) or beside(address) else f"no answer within {SECONDS:g} s"


def _is_known_neighbour(address: str) -> bool:
    """Whether the ping before made the kernel find the address.

    What it found earlier it remembers for as long as it has room, whoever went meanwhile.
    """
    shown = run(["ip", "-json", "neighbour", "show", "to", address])
    entries = json.loads(shown.stdout or "[]")
    return any("REACHABLE" in entry["state"] for entry in entries)


def _answers_arp(address: str) -> bool:
    """Ask by ARP; the kernel's own table would also name who had the address before."""
    shown = run(["ip", "-json", "route", "get", address])
    way: dict[str, Any] = next(iter(json.loads(shown.stdout or "[]")), {})
    if "gateway" in way or "prefsrc" not in way:
        return False
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ARP)) as raw:
        raw.bind((way["dev"], _ARP))
        hardware = raw.getsockname()[4]
        if len(hardware) != _MAC_BYTES:
            return False
        raw.send(arp_request(hardware, way["prefsrc"], address))
        deadline = time.monotonic() + SECONDS
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not select.select([raw], [], [], remaining)[0]:
                return False
            if is_arp_reply(raw.recv(65535), address):
                return True


def arp_request(hardware: bytes, source: str, target: str) -> bytes:
    """An Ethernet frame that asks everyone who has ``target`` (RFC 826)."""
    sender = hardware + socket.inet_aton(source)
    asked = bytes(_MAC_BYTES) + socket.inet_aton(target)
    ethernet = b"\xff" * _MAC_BYTES + hardware + struct.pack("!H", _ARP)
    return ethernet + struct.pack("!HHBBH", 1, 0x0800, _MAC_BYTES, 4, 1) + sender + asked


def is_arp_reply(frame: bytes, address: str) -> bool:
    """Whether an Ethernet frame with ARP says who has ``address``."""
    return frame[20:22] == b"\0\2" and frame[28:32] == socket.inet_aton(address)


def _full_size(address: str) -> Result:
    size = _route_mtu(address)
    if _ping(address, size):
        return True
    if not _ping(address):
        return "no answer to ping"
    return f"packets of {size} bytes are lost, small ones are not"


def _route_mtu(address: str) -> int:
    six = ":" in address
    family = socket.AF_INET6 if six else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((address, 9))
        if six:
            return int(probe.getsockopt(socket.IPPROTO_IPV6, _IPV6_MTU))
        return int(probe.getsockopt(socket.IPPROTO_IP, _IP_MTU))


def _ping(address: str, size: int = 64) -> bool:
    """Send one echo request of ``size`` bytes, IP header included, and wait for its reply."""
    six = ":" in address
    family, protocol = (
        (socket.AF_INET6, socket.IPPROTO_ICMPV6) if six else (socket.AF_INET, socket.IPPROTO_ICMP)
    )
    with socket.socket(family, socket.SOCK_RAW, protocol) as raw:
        if six:
            raw.setsockopt(socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _IPV6_PMTUDISC_PROBE)
        else:
            raw.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
        mark = os.urandom(size - (48 if six else 28))
        identifier, sequence = struct.unpack("!HH", os.urandom(4))
        request, reply = (128, 129) if six else (8, 0)
        header = struct.pack("!BBHHH", request, 0, 0, identifier, sequence)
        # The kernel fills in the checksum of ICMPv6 itself.
        checksum = 0 if six else _checksum(header + mark)
        header = struct.pack("!BBHHH", request, 0, checksum, identifier, sequence)
        raw.sendto(header + mark, (address, 0))
        deadline = time.monotonic() + SECONDS
        while True:
            remaining = deadline - time.monotonic()
            if remaining <= 0 or not select.select([raw], [], [], remaining)[0]:
                return False
            packet, (sender, *_) = raw.recvfrom(65535)
            body = packet if six else packet[(packet[0] & 15) * 4 :]
            if sender == address and body[0] == reply and body[8:] == mark:
                return True


def _checksum(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def interfaces() -> dict[str, dict[str, Any]]:
    """Interfaces by name: mac, mtu in bytes, whether up, and addresses with prefix length."""
    shown = run(["ip", "-json", "address", "show"])
    found = {}
    for link in json.loads(shown.stdout or "[]"):
        found[link["ifname"]] = {
            "mac": link.get("address", ""),
            "mtu": link["mtu"],
            "up": "UP" in link["flags"],
            "physical": Path("/sys/class/net", link["ifname"], "device").exists(),
            "addresses": [
                f"{item['local']}/{item['prefixlen']}"
                for item in link.get("addr_info", [])
                if "local" in item
            ],
        }
    return found


def default_route() -> dict[str, str] | None:
    """The default route's interface and gateway."""
    for family in ("-4", "-6"):
        shown = run(["ip", "-json", family, "route", "show", "default"])
        for route in json.loads(shown.stdout or "[]"):
            return {"interface": route.get("dev", ""), "gateway": route.get("gateway", "")}
    return None


def resolver() -> dict[str, Any]:
    """Name servers, and for each whether it answers a question at all."""
    servers = [
        line.split()[1]
        for line in _lines("/etc/resolv.conf")
        if line.startswith("nameserver") and len(line.split()) > 1
    ]
    with ThreadPoolExecutor(max_workers=max(1, len(servers))) as pool:
        answers = dict(zip(servers, pool.map(_answers, servers)))
    return {
        "servers": answers,
        "upstream": Path("/run/systemd/resolve/resolv.conf").exists(),
        "own_name": _resolves(socket.gethostname()),
    }


def _answers(server: str) -> Result:
    """Ask for the root's name servers; any answer, a refusal too, shows a server."""
    question = struct.pack("!HHHHHH", struct.unpack("!H", os.urandom(2))[0], 0x0100, 1, 0, 0, 0)
    question += b"\0" + struct.pack("!HH", 2, 1)
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.settimeout(SECONDS)
            probe.connect((server.partition("%")[0], 53))
            probe.send(question)
            return probe.recv(512)[:2] == question[:2] or "an answer to another question"
    except socket.timeout:
        return f"no answer within {SECONDS:g} s"
    except OSError as error:
        return (error.strerror or str(error)).lower()


def _resolves(name: str) -> Result:
    try:
        socket.getaddrinfo(name, None)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return True


def listening() -> list[dict[str, Any]]:
    """Sockets that wait for others, with the process that holds each."""
    waiting = list(_waiting())
    holders = _holders({entry["inode"] for entry in waiting})
    found = []
    for entry in waiting:
        identifier, name = holders.get(entry.pop("inode"), (0, ""))
        found.append({**entry, "process": name, "pid": identifier})
    return found


def _waiting() -> Iterator[dict[str, Any]]:
    # State 0A is TCP's LISTEN; 07 is how an unconnected UDP socket shows.
    for protocol, state in (("tcp", "0A"), ("udp", "07")):
        for suffix in ("", "6"):
            for line in _lines(f"/proc/net/{protocol}{suffix}")[1:]:
                fields = line.split()
                if fields[3] == state:
                    address, port = fields[1].split(":")
                    yield {
                        "protocol": protocol,
                        "address": _address(address),
                        "port": int(port, 16),
                        "inode": fields[9],
                    }


def _address(text: str) -> str:
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    # The kernel prints each 32-bit word in the machine's own byte order.
    packed = b"".join(struct.pack("=I", word) for word in words)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _holders(inodes: set[str]) -> dict[str, tuple[int, str]]:
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[str, tuple[int, str]] = {}
    for process in os.listdir("/proc"):  # noqa: PTH208 - names suffice
        if not process.isdigit():
            continue
        try:
            for descriptor in os.listdir(f"/proc/{process}/fd"):  # noqa: PTH208
                target = os.readlink(f"/proc/{process}/fd/{descriptor}")  # noqa: PTH115
                if target in wanted:
                    name = Path(f"/proc/{process}/comm").read_text("utf-8").strip()
                    found.setdefault(wanted[target], (int(process), name))
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            # It ended while it was looked at, or is shielded even from root.
            continue
    return found


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
