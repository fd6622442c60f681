"""What machines must offer, in figures, and where each figure comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from provision.kubeadm.endpoint import api_endpoint
from provision.openings import Opening
from provision.site import Address, Site

MIB = 1 << 20
GIB = 1 << 30

DEBIAN_RELEASES = ("12", "13")
"""Debian releases that the roles are tested on."""

PYTHON = (3, 9)
"""Oldest Python on machines: what ansible-core 2.19 and later need there."""

CONTROL_PLANE_CPUS = 2
"""kubeadm's preflight check NumCPU."""

CONTROL_PLANE_MEMORY = 1700 * MIB
"""kubeadm's preflight check Mem, in bytes."""

MEMORY = 2 * GIB
"""Kubernetes' documentation, "Installing kubeadm": 2 GB or more for any machine."""

DISK_FREE: Mapping[str, int] = {
    "/": 1 * GIB,
    "/var": 1 * GIB,
    "/var/lib/containerd": 5 * GIB,
    "/var/lib/kubelet": 1 * GIB,
}
"""Bytes free before an installation: images of the bundle unpacked once and packed once."""

ETCD_FREE = 4 * GIB
"""Bytes for /var/lib/etcd: twice etcd's default quota of 2 GiB, as it is rewritten whole."""

DISK_FREE_LATER = 1 * GIB
"""Bytes that must be free on machines that have the site's software already."""

CLOCK_SECONDS = 1.0
"""How far machines' clocks may be apart: etcd and Raft's leases warn from there on."""

CONTROLLER_CLOCK_SECONDS = 60.0
"""How far the controller's clock may be off: certificates begin to hold when it says."""

KERNEL = (5, 10)
"""Cilium's system requirements: Linux 5.10 or newer."""

WIDEST_PROBED_RANGE = 16
"""Ranges of more ports are for services to come; nothing is to be learnt from them now."""


@dataclass(frozen=True)
class Needs:
    """What a site asks of its machines besides what always holds."""

    openings: Sequence[Opening] = ()
    """Ports that the components listen on."""
    virtual_addresses: Sequence[Address] = ()
    """Addresses that the site moves between its machines."""
    swap: bool = False
    """Whether swap may stay on."""
    cgroup_v1: bool = False
    """Whether the kubelet is told to run on cgroup version 1."""
    sets_host_names: bool = True
    """Whether host names will be set to those of the site file."""
    packages: frozenset[str] = frozenset()
    """Debian packages that must be in the bundle; none where machines have a mirror."""
    own_packages: frozenset[str] = frozenset()
    """Those among them that the site file names."""
    bundled: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Names of the bundle's Debian packages by release."""

    registries: frozenset[str] = frozenset()
    """Registries of images that the bundle lacks, as images name them."""

    @classmethod
    def of(cls, site: Site, openings: Sequence[Opening] = ()) -> Needs:
        """The needs of ``site``, whose components open ``openings``."""
        address, _ = api_endpoint(site)
        machines = {host.address for host in site.hosts.values()}
        machine: Any = getattr(site, "machine", None)
        kubelet = getattr(getattr(site, "kubernetes", None), "kubelet", {})
        return cls(
            openings=tuple(openings),
            virtual_addresses=() if address in machines else (address,),
            swap=bool(getattr(machine, "swap", False)),
            cgroup_v1=kubelet.get("failCgroupV1") is False,
            sets_host_names=bool(getattr(machine, "set_hostname", True)),
        )

    def from_bundle(
        self, site: Site, packages: Iterable[str], bundled: Mapping[str, frozenset[str]]
    ) -> Needs:
        """The same for a site that takes Debian packages from its bundle.

        Parameters
        ----------
        packages
            Those of the components' roles; the site's own are added.
        bundled
            Names of those that the bundle has, by release.
        """
        machine: Any = getattr(site, "machine", None)
        own = frozenset(getattr(machine, "packages", ()))
        return replace(self, packages=own.union(packages), own_packages=own, bundled=bundled)

    def openings_on(self, site: Site, host: str) -> list[tuple[Opening, range]]:
        """Openings on one machine with their ports."""
        control_plane = site.hosts[host].is_control_plane
        return [
            (opening, ports_of(opening))
            for opening in self.openings
            if opening.ports and opening.is_on(host, control_plane=control_plane)
        ]

    def probes(self, site: Site, source: str, target: str) -> list[tuple[Opening, int]]:
        """TCP ports of ``target`` that ``source`` must reach."""
        control_plane = site.hosts[source].is_control_plane
        return [
            (opening, port)
            for opening, ports in self.openings_on(site, target)
            if opening.protocol == "tcp"
            and len(ports) <= WIDEST_PROBED_RANGE
            and (opening.source != "control_plane" or control_plane)
            and not isinstance(opening.source, tuple)
            for port in ports
        ]


def ports_of(opening: Opening) -> range:
    """The ports of an opening."""
    first, _, last = opening.ports.partition("-")
    return range(int(first), int(last or first) + 1)
