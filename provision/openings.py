"""Which ports a component needs open on the machines, as data; ``machine`` builds the firewall."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Opening:
    """A way into a machine through its firewall.

    ``source`` says who may come in: ``control_plane`` and ``machines`` are
    the addresses of those machines, ``cluster`` is all machines and the pods
    on the same machine, ``any`` is everyone.
    """

    ports: str
    """One port or a range, ``2379-2380``; empty for a protocol without ports."""
    why: str
    """What listens there, in a word or two; stands beside the rule."""
    source: Literal["control_plane", "machines", "cluster", "any"]
    on: Literal["control_plane", "all"] = "all"
    """Machines that are opened."""
    protocol: Literal["tcp", "udp", "vrrp"] = "tcp"
