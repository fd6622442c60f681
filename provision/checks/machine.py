"""Judgements on one machine by itself."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from provision.checks.finding import Finding, error, warning
from provision.checks.needs import (
    CONTROL_PLANE_CPUS,
    CONTROL_PLANE_MEMORY,
    DEBIAN_RELEASES,
    DISK_FREE,
    DISK_FREE_LATER,
    ETCD_FREE,
    GIB,
    KERNEL,
    MEMORY,
    MIB,
    PYTHON,
    Needs,
)
from provision.site import Site

System = Mapping[str, Any]
"""The ``system`` part of what was read of a machine."""


@dataclass(frozen=True)
class Machine:
    """What was read of one machine, and what it is judged by."""

    site: Site
    needs: Needs
    host: str
    system: System

    @property
    def is_ours(self) -> bool:
        """Whether the machine carries the mark of this site."""
        return is_ours(self.site, self.system)

    @property
    def debian_kernel(self) -> str:
        """Name of Debian's kernel package for the machine."""
        return f"linux-image-{self.site.hosts[self.host].architecture}"


def is_ours(site: Site, system: System) -> bool:
    """Whether the machine carries the mark of this site."""
    return bool(system["site"] == site.name)


def operating_system(machine: Machine) -> Iterator[Finding]:
    """Debian of a supported release."""
    found = machine.system["os"]
    if found["id"] != "debian" or found["version_id"] not in DEBIAN_RELEASES:
        yield error(
            machine.host,
            "the operating system is not supported",
            found=found["pretty_name"] or found["id"] or "unknown",
            wanted=f"Debian {' or '.join(DEBIAN_RELEASES)}",
            fix="install Debian 12 or 13 on the machine",
        )


def os_packages(machine: Machine) -> Iterator[Finding]:
    """A bundle with all Debian packages for the release, where they come from there."""
    needs, release = machine.needs, machine.system["os"]["version_id"]
    lacking = needs.packages - needs.bundled.get(release, frozenset())
    if not lacking or release not in DEBIAN_RELEASES:
        return
    kubernetes = getattr(getattr(machine.site, "kubernetes", None), "version", None)
    fix = " ".join(
        [
            "provision bundle build",
            *([f"--kubernetes {kubernetes}"] if kubernetes else []),
            *(f"--os-packages {one}" for one in sorted({*needs.bundled, release})),
            *(f"--package {name}" for name in sorted(needs.own_packages)),
        ]
    )
    if release not in needs.bundled:
        releases = " and ".join(sorted(needs.bundled))
        yield error(
            machine.host,
            f"the bundle does not hold the Debian packages that Debian {release} needs",
            found=f"those for Debian {releases}" if releases else "no Debian packages",
            wanted=f"those for Debian {release}, since the site says os_packages: bundle",
            fix=fix,
        )
        return
    yield error(
        machine.host,
        "the bundle does not hold all Debian packages that the site needs",
        found=f"no {', '.join(sorted(lacking))}",
        wanted="every package, with what it depends on",
        fix=fix,
    )


def architecture(machine: Machine) -> Iterator[Finding]:
    """The architecture that the site file says, since the bundle is chosen by it."""
    wanted = machine.site.hosts[machine.host].architecture.value
    if machine.system["architecture"] != wanted:
        yield error(
            machine.host,
            "the processor architecture is not what the site file says",
            found=machine.system["architecture"],
            wanted=wanted,
            fix=f"set hosts.{machine.host}.architecture: {machine.system['architecture']}",
        )


def python(machine: Machine) -> Iterator[Finding]:
    """A Python that Ansible's modules run on."""
    version = tuple(int(part) for part in machine.system["python"].split(".")[:2])
    if version < PYTHON:
        yield error(
            machine.host,
            "Python is too old",
            found=machine.system["python"],
            wanted=".".join(map(str, PYTHON)) + " or newer",
            fix=f"on {machine.host}: apt-get install python3",
        )


def memory(machine: Machine) -> Iterator[Finding]:
    """Enough memory."""
    found = machine.system["memory_bytes"]
    if machine.site.hosts[machine.host].is_control_plane and found < CONTROL_PLANE_MEMORY:
        yield error(
            machine.host,
            "too little memory for a control-plane machine",
            found=_mib(found),
            wanted=f"at least {_mib(CONTROL_PLANE_MEMORY)}",
            fix="give the machine more memory, or make it a worker",
        )
    elif found < MEMORY * 9 // 10:
        # Firmware and kernel keep some of what is built in.
        yield warning(
            machine.host,
            "little memory",
            found=_mib(found),
            wanted=f"{_mib(MEMORY)}",
            fix="give the machine more memory",
        )


def processors(machine: Machine) -> Iterator[Finding]:
    """Enough processors for a control plane."""
    if (
        machine.site.hosts[machine.host].is_control_plane
        and machine.system["cpus"] < CONTROL_PLANE_CPUS
    ):
        yield error(
            machine.host,
            "too few processors for a control-plane machine",
            found=str(machine.system["cpus"]),
            wanted=f"at least {CONTROL_PLANE_CPUS}",
            fix="give the machine more processors, or make it a worker",
        )


def disk(machine: Machine) -> Iterator[Finding]:
    """Room where it will be used; what shares a file system shares its room."""
    wanted = dict(DISK_FREE)
    if machine.site.hosts[machine.host].is_control_plane:
        wanted["/var/lib/etcd"] = ETCD_FREE
    mounts: dict[str, dict[str, int]] = defaultdict(dict)
    for path, size in wanted.items():
        mounts[machine.system["disks"][path]["mount"]][path] = size
    for mount, sizes in mounts.items():
        free = min(machine.system["disks"][path]["free_bytes"] for path in sizes)
        least = DISK_FREE_LATER if machine.is_ours else sum(sizes.values())
        if free < least:
            yield error(
                machine.host,
                f"too little room on {mount}",
                found=f"{free / GIB:.1f} GiB free",
                wanted=f"{least / GIB:.0f} GiB free, for {', '.join(sizes)}",
                fix=f"on {machine.host}: see what fills it: du -xh {mount} | sort -h | tail;"
                " or enlarge it",
            )


def kernel(machine: Machine) -> Iterator[Finding]:
    """A kernel that Cilium and containerd can work with."""
    release = machine.system["kernel"]["release"]
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is None or tuple(map(int, numbers.groups())) < KERNEL:
        yield error(
            machine.host,
            "the kernel is too old",
            found=release,
            wanted=".".join(map(str, KERNEL)) + " or newer",
            fix=f"on {machine.host}: apt-get install {machine.debian_kernel}; reboot",
        )
    features = machine.system["kernel"]["features"]
    lacking = [name for name, there in features.items() if there is False]
    if lacking:
        yield error(
            machine.host,
            "the kernel lacks what the pod network needs",
            found=f"{release} without {', '.join(lacking)}",
            wanted=", ".join(features),
            fix=f"boot Debian's own kernel: apt-get install {machine.debian_kernel}; reboot",
        )
    unknown = [name for name, there in features.items() if there is None]
    if unknown:
        yield warning(
            machine.host,
            "it cannot be told whether the kernel has all that the pod network needs",
            found=f"nothing says whether {release} has {', '.join(unknown)}",
            fix="boot a kernel with CONFIG_IKCONFIG_PROC, or whose options lie in /boot",
        )


def cgroup(machine: Machine) -> Iterator[Finding]:
    """Cgroup version 2, which the kubelet asks for since Kubernetes 1.35."""
    if machine.system["cgroup"] < 2 and not machine.needs.cgroup_v1:
        yield error(
            machine.host,
            "control groups are of version 1, on which the kubelet refuses to start",
            found="version 1",
            wanted="version 2 alone",
            fix=f"on {machine.host}: take systemd.unified_cgroup_hierarchy=0 off the kernel's"
            " command line; or set kubernetes.kubelet.failCgroupV1: false",
        )


def swap(machine: Machine) -> Iterator[Finding]:
    """No swap, unless the site allows it; ``up`` switches it off."""
    if machine.system["swap"] and not machine.needs.swap:
        yield warning(
            machine.host,
            "swap is on, and will be switched off",
            found=", ".join(entry["name"] for entry in machine.system["swap"]),
            wanted="no swap, or machine.swap: true",
            fix="provision up, or set machine.swap: true",
        )


def names(machine: Machine) -> Iterator[Finding]:
    """Name servers that answer, and none on the machine itself that pods could not ask."""
    resolver = machine.system["resolver"]
    servers = resolver["servers"]
    if not any(answer is True for answer in servers.values()):
        reasons = ", ".join(f"{server}: {answer}" for server, answer in servers.items())
        yield warning(
            machine.host,
            "no name server answers, so pods will not resolve names outside the cluster",
            found=reasons or "no nameserver in /etc/resolv.conf",
            wanted="a name server that answers",
            fix=f"on {machine.host}: correct /etc/resolv.conf",
        )
    local = [server for server in servers if server.startswith("127.") or server == "::1"]
    if local and len(local) == len(servers) and not resolver["upstream"]:
        yield error(
            machine.host,
            "the only name server is the machine itself, so the cluster's DNS would ask itself",
            found=f"/etc/resolv.conf names {', '.join(local)}",
            wanted="the real name server, in /etc/resolv.conf or as systemd-resolved's upstream",
            fix="name it in a file of its own, and set kubernetes.kubelet.resolvConf to that file",
        )
    if resolver["own_name"] is not True:
        yield warning(
            machine.host,
            "the machine cannot resolve its own host name",
            found=f"{machine.system['hostname']}: {resolver['own_name']}",
            wanted="an address",
            fix="provision up writes it to /etc/hosts",
        )


def ports(machine: Machine) -> Iterator[Finding]:
    """Ports free that our components will listen on; on a machine of ours they hold them."""
    if machine.is_ours:
        return
    for opening, numbers in machine.needs.openings_on(machine.site, machine.host):
        for entry in machine.system["listening"]:
            if entry["protocol"] == opening.protocol and entry["port"] in numbers:
                yield error(
                    machine.host,
                    f"port {entry['port']} is taken, which {opening.why} needs",
                    found=f"{entry['process'] or 'a process'} (pid {entry['pid']})"
                    f" on {entry['address']}",
                    wanted=f"nothing on {opening.protocol} {opening.ports}",
                    fix=f"on {machine.host}: stop it, or have it listen elsewhere:"
                    f" ps -fp {entry['pid']}",
                )


def leftovers(machine: Machine) -> Iterator[Finding]:
    """Nothing of another cluster."""
    if machine.is_ours:
        return
    if machine.system["site"]:
        yield error(
            machine.host,
            "the machine belongs to another site",
            found=f"/var/lib/provision/site says {machine.system['site']}",
            wanted=f"no mark, or {machine.site.name}",
            fix=f"take it out of {machine.system['site']} with that site's file: provision reset",
        )
        return
    found = machine.system["leftovers"]
    if found["paths"] or found["interfaces"]:
        yield error(
            machine.host,
            "there are leftovers of another cluster",
            found=", ".join([*found["paths"], *found["interfaces"]]),
            wanted="a machine without Kubernetes",
            fix=f"on {machine.host}, if nothing there is needed: kubeadm reset --force,"
            " then remove what is listed and reboot",
        )
    if found["runtimes"]:
        yield error(
            machine.host,
            "another container runtime runs here",
            found=", ".join(found["runtimes"]),
            wanted="none; containerd comes from the bundle",
            fix=f"on {machine.host}, if nothing there is needed:"
            " apt-get purge docker.io docker-ce containerd containerd.io cri-o",
        )


def unfinished(machine: Machine) -> Iterator[Finding]:
    """No process of an interrupted run."""
    if machine.system["unfinished"]:
        yield warning(
            machine.host,
            "processes of an earlier run are still at work",
            found="; ".join(
                f"pid {entry['pid']}: {entry['command']}" for entry in machine.system["unfinished"]
            ),
            wanted="none",
            fix="wait until they end, or see that no other run is at work: provision runs",
        )


def identity(machine: Machine) -> Iterator[Finding]:
    """A machine-id, and the address that the site file gives."""
    if not machine.system["machine_id"]:
        yield error(
            machine.host,
            "the machine has no machine-id",
            found="/etc/machine-id is empty or missing",
            wanted="32 hexadecimal digits",
            fix=f"on {machine.host}: systemd-machine-id-setup; reboot",
        )
    if not machine.system["interfaces"]:
        yield error(
            machine.host,
            "the machine's addresses cannot be read",
            found="ip address show fails",
            wanted="iproute2, as Debian installs it",
            fix=f"on {machine.host}: apt-get install iproute2",
        )
        return
    address = str(machine.site.hosts[machine.host].address)
    if interface_with(machine.system, address) is None:
        own = [
            entry.partition("/")[0]
            for link in machine.system["interfaces"].values()
            for entry in link["addresses"]
            if not entry.startswith(("127.", "::1/", "fe80:"))
        ]
        yield error(
            machine.host,
            "the machine does not have the address that the site file gives",
            found=", ".join(own) or "no address",
            wanted=address,
            fix=f"correct hosts.{machine.host}.address: it must be the machine's own,"
            " not one in front of it",
        )


def interface_with(system: System, address: str) -> str | None:
    """Name of the interface that has ``address``."""
    for name, link in system["interfaces"].items():
        if any(entry.partition("/")[0] == address for entry in link["addresses"]):
            return str(name)
    return None


def _mib(size: int) -> str:
    return f"{size // MIB} MiB"


CHECKS = (
    operating_system,
    os_packages,
    architecture,
    python,
    memory,
    processors,
    disk,
    kernel,
    cgroup,
    swap,
    names,
    identity,
    ports,
    leftovers,
    unfinished,
)
"""Every judgement on one machine, in the order of a report."""
