"""Which ports a component needs open on the machines, as data; ``machine`` builds the firewall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from provision.site import Address


@dataclass(frozen=True)
class Opening:
    """A way into a machine through its firewall.

    ``source`` says who may come in: ``control_plane`` and ``machines`` are
    the addresses of those machines, ``cluster`` is all machines and the pods
    on the same machine, ``any`` is everyone. Others are named by their addresses.
    """

    ports: str
    """One port or a range, ``2379-2380``; empty for a protocol without ports."""
    why: str
    """What listens there, in a word or two; stands beside the rule."""
    source: Literal["control_plane", "machines", "cluster", "any"] | tuple[Address, ...]
    on: Literal["control_plane", "all"] | tuple[str, ...] = "all"
    """Machines that are opened; by name where neither word fits."""
    protocol: Literal["tcp", "udp", "vrrp"] = "tcp"

    def is_on(self, host: str, *, control_plane: bool) -> bool:
        """Whether the machine ``host`` is opened."""
        match self.on:
            case "all":
                return True
            case "control_plane":
                return control_plane
            case names:
                return host in names
