"""Find out who answers for addresses of this machine's own network.

Whoever uses an address must answer ARP or neighbour solicitation for it, also
behind a packet filter; so a datagram is sent to each, and then the kernel
knows.
"""

from __future__ import annotations

import ipaddress
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
BATCH = 128
"""Addresses at a time: the kernel's table of neighbours is small."""
SECONDS = 3.2
"""The kernel asks three times, a second apart."""
DISCARD = 9
"""UDP port of a service that nobody runs any more."""


class ProbeError(Exception):
    """Addresses that cannot be probed; the message says why."""


def expanded(ranges: Iterable[str]) -> Iterator[Address]:
    """Every address of ranges ``FIRST-LAST`` and of networks."""
    for text in ranges:
        if "-" in text:
            first, last = (ipaddress.ip_address(part.strip()) for part in text.split("-", 1))
        else:
            network = ipaddress.ip_network(text)
            first, last = network[0], network[-1]
        for number in range(int(first), int(last) + 1):
            yield type(first)(number)


def answering(addresses: Iterable[Address]) -> dict[str, str]:
    """Hardware address by address, of those that somebody answers for."""
    listed = list(addresses)
    found: dict[str, str] = {}
    for start in range(0, len(listed), BATCH):
        found.update(_answering(listed[start : start + BATCH]))
    return found


def _answering(batch: list[Address]) -> dict[str, str]:
    wanted = {str(address) for address in batch}
    for entry in _neighbours(wanted):
        # What was known before may be gone since.
        _run("ip", "neighbour", "delete", entry["dst"], "dev", entry["dev"])
    for address in batch:
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.sendto(b"", (str(address), DISCARD))
            except OSError as error:
                raise ProbeError(f"{address} cannot be probed: {error.strerror}") from error
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and any(
        "INCOMPLETE" in entry["state"] for entry in _neighbours(wanted)
    ):
        time.sleep(0.1)
    return {
        entry["dst"]: entry["lladdr"]
        for entry in _neighbours(wanted)
        if entry.get("lladdr") and "FAILED" not in entry["state"]
    }


def _neighbours(wanted: set[str]) -> list[dict[str, str]]:
    listed = json.loads(_run("ip", "-json", "neighbour", "show") or "[]")
    return [entry for entry in listed if entry["dst"] in wanted]


def _run(*command: str) -> str:
    done = subprocess.run(
        list(command),
        capture_output=True,
        env={**os.environ, "PATH": PATH, "LC_ALL": "C"},
        text=True,
        check=False,
    )
    return done.stdout
