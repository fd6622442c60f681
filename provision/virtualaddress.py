"""Addresses that one of several machines holds at a time, by VRRP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from provision.site import Address, Site

HIGHEST_PRIORITY = 200
"""VRRP allows 1 to 254; at most five machines hold an address."""


def address_problems(site: Site, key: str, address: Address) -> Iterator[str]:
    """Why no machine can hold the address at ``key`` of the site file."""
    networks = [network for network in site.network.machines if address in network]
    if not networks:
        listed = ", ".join(map(str, site.network.machines))
        yield f"{key} {address} is outside network.machines ({listed})"
    for network in networks:
        if address in (network.network_address, network.broadcast_address):
            yield f"{key} {address} is not a machine's address in {network}"
    for name, host in site.hosts.items():
        if host.address == address:
            yield (
                f"{key} {address} is the address of hosts.{name}; the virtual address must be a"
                " free one"
            )


def router_id(address: Address) -> int:
    """The address's last byte: two virtual addresses in one network get different numbers."""
    return (int(address) & 0xFF) or 255


def priority(hosts: Sequence[str], host: str) -> int:
    """The first machine's is the highest."""
    return HIGHEST_PRIORITY - hosts.index(host)
