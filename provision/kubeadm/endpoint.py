"""Where the Kubernetes API is reached: the site's virtual address, or the only machine's own."""

from __future__ import annotations

from provision.kubeadm.config import API_PORT
from provision.site import Address, Site


def api_endpoint(site: Site) -> tuple[Address, int]:
    """Address and TCP port of the API for machines and people.

    A site without a virtual address is reached at its first control-plane
    machine.
    """
    settings = getattr(site, "api_endpoint", None)
    address: Address | None = getattr(settings, "address", None)
    if address is None:
        return site.hosts[site.control_plane[0]].address, API_PORT
    return address, int(getattr(settings, "port", API_PORT))


def joined(address: Address, port: int) -> str:
    """``address:port``, with brackets around an IPv6 address."""
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
