"""What components have to say about names, as data; ``dns`` and ``kubernetes`` make use of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from provision.site import Address


@dataclass(frozen=True)
class Name:
    """A name in the site's zone that stands for addresses of a component."""

    label: str
    """Relative to the zone, such as ``api``."""
    addresses: Sequence[Address]


@dataclass(frozen=True)
class Forward:
    """A zone that cluster DNS asks other servers for."""

    zone: str
    """Without a dot at its end."""
    servers: Sequence[str]
    """``address:port``, an IPv6 address in brackets."""


@dataclass(frozen=True)
class UpdateAccess:
    """What it takes to change records of the site's own zones (RFC 2136, signed with TSIG)."""

    server: str
    """``address:port`` of the server that takes changes, an IPv6 address in brackets."""
    key: str
    """Name of the key."""
    algorithm: str
    """As TSIG names it, such as ``hmac-sha256``."""
    secret: str
    """Name of the site's secret that is the key, in base64."""
