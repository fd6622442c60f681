"""``machine``: a Debian server made ready to be a Kubernetes machine."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from provision.facts import Facts, Query
from provision.openings import Opening
from provision.phase import AnsiblePhase, Context, Decision, Run, Skip
from provision.secretspec import Authority, SecretSpec
from provision.site import Address, Model, Network, Settings, Site

DebianPackage = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")]
ModuleName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
ServerName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.:-]*$")]
Line = Annotated[str, Field(pattern=r"^[^\r\n]+$")]
HostName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$", max_length=253)
]
Ports = Annotated[str, Field(pattern=r"^[0-9]{1,5}(-[0-9]{1,5})?$")]
SysctlName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_*/.-]+$")]

SWAP_IN_FSTAB = re.compile(r"^[^#\s]\S*\s+\S+\s+swap\s", re.MULTILINE)
ANYWHERE = (IPv4Network("0.0.0.0/0"), IPv6Network("::/0"))
DEFAULT_SSH_PORT = 22


class TimeSettings(Model):
    """Where the machines get the time from (chrony)."""

    servers: tuple[ServerName, ...] = ()
    """Time servers; without any, and without ``pools``, Debian's pool is asked."""
    pools: tuple[ServerName, ...] = ()
    """Names that stand for several time servers each."""
    set_clock: bool = True
    """Whether chrony may set the machine's clock; false where the host or hypervisor keeps it."""
    config: tuple[Line, ...] = ()
    """Further lines of chrony's configuration (chrony.conf(5))."""


class FirewallRule(Model):
    """A way in besides those that the components need."""

    ports: Ports
    """A port or a range, ``30000-32767``."""
    protocol: Literal["tcp", "udp"] = "tcp"
    """Transport protocol."""
    sources: tuple[Network, ...] = ()
    """Networks that may come in; everyone without any."""
    comment: Annotated[str, Field(pattern=r"^[^\"\r\n]*$", max_length=64)] = "from the site file"
    """Stands beside the rule."""

    @field_validator("ports", mode="before")
    @classmethod
    def _one_port_may_be_a_number(cls, value: object) -> object:
        return str(value) if isinstance(value, int) else value

    @field_validator("ports")
    @classmethod
    def _in_range(cls, value: str) -> str:
        first, _, last = value.partition("-")
        if not 1 <= int(first) <= int(last or first) <= 65535:
            raise ValueError(f"{value} is no port or range of ports between 1 and 65535")
        return value


class FirewallSettings(Model):
    """The machines' own firewall (nftables, table ``inet provision``)."""

    enabled: bool = True
    """Whether it runs. Other tables of nftables are never touched."""
    allow: tuple[FirewallRule, ...] = ()
    """Openings besides those that the components need."""


class MachineSettings(Settings):
    """What every machine gets before anything of the cluster does."""

    component = "machine"

    packages: tuple[DebianPackage, ...] = ()
    """Debian packages to install besides those that are needed."""
    nfs_client: bool = False
    """Whether the machines must be able to mount NFS (installs nfs-common)."""
    modules: tuple[ModuleName, ...] = ()
    """Kernel modules to load besides those that are needed."""
    sysctls: dict[SysctlName, int | str | None] = Field(default_factory=dict)
    """Kernel parameters by name; null leaves one alone that is set otherwise."""
    set_hostname: bool = True
    """Whether a machine's host name is set to its name in this file."""
    hosts: dict[Address, tuple[HostName, ...]] = Field(default_factory=dict)
    """Lines of /etc/hosts besides the machine itself and the control-plane machines."""
    swap: bool = False
    """Whether swap may stay on; Kubernetes' own settings must allow for it then."""
    open_files: Annotated[int, Field(ge=1024, le=1_073_741_816)] = 1_048_576
    """Hard limit of open files for each process that systemd starts."""
    time: TimeSettings = TimeSettings()
    """Where the machines get the time from."""
    firewall: FirewallSettings = FirewallSettings()
    """The machines' own firewall."""


class MachinePhase(AnsiblePhase):
    """Packages, kernel, time, names, swap, limits and firewall of every machine."""

    name = "machine"
    settings = MachineSettings

    def secrets(self, site: Site) -> Sequence[SecretSpec]:
        """The site's own authority, whose certificate every machine trusts."""
        return (Authority("site-ca", f"{site.name} site CA"),)

    def query(self, context: Context, host: str) -> Query:
        """The role's state, and what says whether swap is on."""
        query = super().query(context, host)
        if context.site.settings(MachineSettings).swap:
            return query
        return query | Query(texts=frozenset({"/proc/swaps", "/etc/fstab"}))

    def decide(self, context: Context, facts: Facts) -> Decision:
        """Run where the machine differs from the role's state or has swap on."""
        reasons = self.state_reasons(context, facts)
        if not context.site.settings(MachineSettings).swap:
            for host in facts.reachable:
                swap = list(_swap_reasons(facts.machines[host].observed["texts"]))
                if swap:
                    reasons[host] = [*reasons.get(host, []), *swap]
        return Run(reasons) if reasons else Skip("every machine is as the site says")

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """Variables of the role ``machine``."""
        site = context.site
        settings = site.settings(MachineSettings)
        return {
            "machine_site": site.name,
            "machine_hosts": list(_host_lines(site, host, settings)),
            "machine_set_hostname": settings.set_hostname,
            "machine_packages": list(settings.packages),
            "machine_nfs_client": settings.nfs_client,
            "machine_modules": list(settings.modules),
            "machine_sysctls": _sysctls(site, settings),
            "machine_swap": settings.swap,
            "machine_open_files": settings.open_files,
            "machine_time_servers": list(settings.time.servers),
            "machine_time_pools": list(settings.time.pools),
            "machine_time_set_clock": settings.time.set_clock,
            "machine_time_config": list(settings.time.config),
            "machine_firewall": settings.firewall.enabled,
            "machine_firewall_ssh_port": site.connection_of(host).port or DEFAULT_SSH_PORT,
            "machine_firewall_rules": [
                *(_rule(site, opening) for opening in _openings(site, host)),
                *(_site_rule(rule) for rule in settings.firewall.allow),
            ],
        }


def _swap_reasons(texts: Mapping[str, str | None]) -> Iterator[str]:
    for line in (texts["/proc/swaps"] or "").splitlines()[1:]:
        yield f"swap {line.split()[0]} is on, wanted off"
    if SWAP_IN_FSTAB.search(texts["/etc/fstab"] or ""):
        yield "file /etc/fstab is switching swap on at boot, wanted without swap"


def _host_lines(site: Site, host: str, settings: MachineSettings) -> Iterator[dict[str, Any]]:
    """Lines of /etc/hosts.

    Workers do not stand in each other's: adding one must not touch the rest.
    """
    names = list(dict.fromkeys([host, *site.control_plane]))
    for name in sorted(names, key=list(site.hosts).index):
        yield {"address": str(site.hosts[name].address), "names": [name]}
    for address, others in settings.hosts.items():
        yield {"address": str(address), "names": list(others)}


def _sysctls(site: Site, settings: MachineSettings) -> dict[str, str | None]:
    needed = {}
    if any(network.version == 6 for network in site.network.pods):
        needed["net.ipv6.conf.all.forwarding"] = "1"
    chosen = {
        name: None if value is None else str(value) for name, value in settings.sysctls.items()
    }
    return {**needed, **chosen}


def _openings(site: Site, host: str) -> Iterator[Opening]:
    # Imported late: the list of phases imports this module.
    from provision.plan import phases_of

    control_plane = site.hosts[host].is_control_plane
    for phase in phases_of(site):
        for opening in phase.openings(site):
            if opening.is_on(host, control_plane=control_plane):
                yield replace(opening, why=f"{phase.name}: {opening.why}")


def _rule(site: Site, opening: Opening) -> dict[str, Any]:
    """One firewall rule.

    Machines are let in by their network and not one by one, so that adding
    one does not touch the rest.
    """
    sources: Iterable[Address | Network]
    match opening.source:
        case "any":
            sources = ANYWHERE
        case "control_plane":
            sources = [site.hosts[name].address for name in site.control_plane]
        case "machines" | "cluster":
            sources = site.network.machines
        case addresses:
            sources = addresses
    pods = opening.source in ("cluster", "any") and opening.protocol != "vrrp"
    return _as_rule(opening.protocol, opening.ports, sources, opening.why, pods=pods)


def _site_rule(rule: FirewallRule) -> dict[str, Any]:
    sources = rule.sources or ANYWHERE
    return _as_rule(rule.protocol, rule.ports, sources, rule.comment, pods=not rule.sources)


def _as_rule(
    protocol: str, ports: str, sources: Iterable[Address | Network], why: str, *, pods: bool
) -> dict[str, Any]:
    listed = list(sources)
    return {
        "protocol": protocol,
        "ports": ports,
        "ipv4": [str(source) for source in listed if source.version == 4],
        "ipv6": [str(source) for source in listed if source.version == 6],
        "pods": pods,
        "why": why,
    }
