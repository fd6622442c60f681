"""Judgements that need more than one machine: clocks, identities, reachability, networks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address

from provision.checks.finding import Finding, error, warning
from provision.checks.machine import System, interface_with, is_ours
from provision.checks.needs import CLOCK_SECONDS, CONTROLLER_CLOCK_SECONDS, Needs
from provision.facts import Facts
from provision.site import Address, Site


@dataclass(frozen=True)
class Reading:
    """What was read of all machines, and what it is judged by."""

    site: Site
    needs: Needs
    facts: Facts


def reachable(reading: Reading) -> Iterator[Finding]:
    """Every machine answers, and lets us become root."""
    for host, machine in reading.facts.machines.items():
        if machine.error is not None:
            fault = machine.error
            yield error(host, fault.what, found=fault.found, wanted=fault.wanted, fix=fault.fix)


def clocks(reading: Reading) -> Iterator[Finding]:
    """Clocks no more than a second apart, beyond what the way to the machines blurs."""
    seen = {
        host: reading.facts.machines[host].observed["clock"] for host in reading.facts.reachable
    }
    if not seen:
        return
    offsets = {host: clock["offset"] for host, clock in seen.items()}
    # The machine that the others are nearest to tells the time.
    reference = min(
        offsets, key=lambda host: sum(abs(offsets[host] - other) for other in offsets.values())
    )
    for host, clock in seen.items():
        apart = clock["offset"] - offsets[reference]
        blur = clock["uncertainty"] + seen[reference]["uncertainty"]
        if abs(apart) - blur > CLOCK_SECONDS:
            yield error(
                host,
                "the clock differs from the other machines'",
                found=f"{abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} {reference}",
                wanted=f"at most {CLOCK_SECONDS:g} s apart",
                fix=f"on {host}: set the clock (timedatectl set-time), or let it follow a time"
                " server; machine.time names those of the site",
            )
    ours = offsets[reference]
    if abs(ours) - seen[reference]["uncertainty"] > CONTROLLER_CLOCK_SECONDS:
        yield warning(
            "",
            "this controller's clock differs from the machines'",
            found=f"{abs(ours):.0f} s {'behind' if ours > 0 else 'ahead of'} {reference}",
            wanted=f"at most {CONTROLLER_CLOCK_SECONDS:g} s apart",
            fix="set this controller's clock: certificates begin to hold when it says",
        )


def unique(reading: Reading) -> Iterator[Finding]:
    """Host names, machine-ids and MAC addresses that no two machines share."""
    for hosts, value in _shared(reading.facts, lambda _, system: str(system["hostname"])):
        judge = warning if reading.needs.sets_host_names else error
        yield judge(
            "",
            f"{_and(hosts)} have the same host name",
            found=value,
            wanted="a name of its own for each",
            fix="provision up sets them"
            if reading.needs.sets_host_names
            else "hostnamectl set-hostname NAME on each",
            among=hosts,
        )
    for hosts, value in _shared(reading.facts, lambda _, system: str(system["machine_id"])):
        yield error(
            "",
            f"{_and(hosts)} have the same machine-id, as copies of one image do",
            found=value,
            wanted="an id of its own for each",
            fix="on all but one: rm /etc/machine-id /var/lib/dbus/machine-id;"
            " systemd-machine-id-setup; reboot",
            among=hosts,
        )

    def hardware(host: str, system: System) -> str:
        name = interface_with(system, str(reading.site.hosts[host].address))
        return str(system["interfaces"][name]["mac"]) if name else ""

    for hosts, value in _shared(reading.facts, hardware):
        yield error(
            "",
            f"{_and(hosts)} have the same MAC address, so packets reach the wrong one",
            found=value,
            wanted="an address of its own for each",
            fix="give the copied machine a new MAC address in its hypervisor",
            among=hosts,
        )


def mtu(reading: Reading) -> Iterator[Finding]:
    """The same MTU everywhere, and packets of that size get through."""
    sizes: dict[int, list[str]] = defaultdict(list)
    for host, system in _systems(reading.facts):
        name = interface_with(system, str(reading.site.hosts[host].address))
        if name is not None:
            sizes[system["interfaces"][name]["mtu"]].append(host)
    if len(sizes) > 1:
        usual = max(sizes, key=lambda size: len(sizes[size]))
        for size, hosts in sizes.items():
            if size != usual:
                yield error(
                    "" if len(hosts) > 1 else hosts[0],
                    f"{_and(hosts)} use packets of another size than the other machines",
                    found=f"MTU {size}",
                    wanted=f"MTU {usual}, as {_and(sizes[usual])}",
                    fix=f"set the interface's MTU to {usual}, or that of all machines to {size}",
                    among=hosts,
                )
    for source, target, result in _pairs(
        reading.facts, lambda t: f"{reading.site.hosts[t].address}#mtu"
    ):
        if result is True:
            continue
        judge = error if "lost" in str(result) else warning
        yield judge(
            source,
            f"full-size packets do not reach {target}",
            found=str(result),
            wanted="answers to ping at the interface's full MTU",
            fix="lower the MTU of the machines, or raise that of what is between them;"
            " let ICMP through",
        )


def ports_reachable(reading: Reading) -> Iterator[Finding]:
    """Machines reach each other on the ports that the components use."""
    systems = dict(_systems(reading.facts))
    for source in reading.facts.reachable:
        results = reading.facts.machines[source].observed["connect"]
        for target in reading.facts.reachable:
            if source == target:
                continue
            failed = {
                f"{port} ({opening.why})": result
                for opening, port in reading.needs.probes(reading.site, source, target)
                if (result := results.get(at(reading.site.hosts[target].address, port), True))
                is not True
            }
            if failed:
                reasons = sorted({str(result) for result in failed.values()})
                # The firewall of a machine that is ours already is opened by `up`.
                judge = warning if is_ours(reading.site, systems[target]) else error
                yield judge(
                    source,
                    f"{target} cannot be reached on every port that is needed",
                    found=f"TCP {', '.join(failed)}: {', '.join(reasons)}",
                    wanted="a connection, or a refusal where nothing listens yet",
                    fix=f"open the ports between {source} and {target} in what filters there",
                )


def registries(reading: Reading) -> Iterator[Finding]:
    """Machines reach the registries that they are to pull images from."""
    for host in reading.facts.reachable:
        results = reading.facts.machines[host].observed["connect"]
        silent = {
            registry: result
            for registry in sorted(reading.needs.registries)
            if (result := results.get(asked(registry), True)) is not True
        }
        if silent:
            yield warning(
                host,
                "registries of images that the bundle does not have cannot be reached",
                found=", ".join(f"{registry}: {result}" for registry, result in silent.items()),
                wanted="an answer over HTTPS, or a hosts.toml of the machine's own for them",
                fix="let the machine out to them, or use images of the bundle",
            )


def networks(reading: Reading) -> Iterator[Finding]:
    """Nothing that a machine has or asks lies inside the pod or service networks."""
    inside = [
        (label, network)
        for label, listed in (
            ("pods", reading.site.network.pods),
            ("services", reading.site.network.services),
        )
        for network in listed
    ]
    for host, system in _systems(reading.facts):
        for where, text in _own_addresses(reading.site, system):
            address = ip_address(text)
            for label, network in inside:
                if address in network:
                    yield error(
                        host,
                        f"{where} lies inside the network of {label}",
                        found=text,
                        wanted=f"an address outside {network}",
                        fix=f"choose another network.{label} in the site file",
                    )


def _own_addresses(site: Site, system: System) -> Iterator[tuple[str, str]]:
    ours = set(system["leftovers"]["interfaces"]) if is_ours(site, system) else set()
    for name, link in system["interfaces"].items():
        if name not in ours:
            for entry in link["addresses"]:
                yield f"the address of {name}", entry.partition("/")[0]
    for server in system["resolver"]["servers"]:
        yield "the name server", server.partition("%")[0]
    route = system["default_route"]
    if route and route["gateway"]:
        yield "the default gateway", route["gateway"].partition("%")[0]


def virtual_addresses(reading: Reading) -> Iterator[Finding]:
    """Virtual addresses within the machines' network that nobody else has."""
    for address in reading.needs.virtual_addresses:
        if not any(address in network for network in reading.site.network.machines):
            listed = ", ".join(map(str, reading.site.network.machines))
            yield error(
                "",
                f"the virtual address {address} is outside the machines' network",
                found=str(address),
                wanted=f"an address in {listed}",
                fix="correct it in the site file",
                among=reading.site.control_plane,
            )
            continue
        holders = [
            host for host, system in _systems(reading.facts) if interface_with(system, str(address))
        ]
        systems = dict(_systems(reading.facts))
        ours = {host for host, system in systems.items() if is_ours(reading.site, system)}
        if ours.intersection(holders):
            continue
        seen = [
            host
            for host in reading.facts.reachable
            if reading.facts.machines[host].observed["connect"].get(str(address)) is True
        ]
        # A machine of a running site may hold it, and not answer us.
        hidden = bool(ours) and len(systems) < len(reading.facts.machines)
        if holders or (seen and not hidden):
            yield error(
                holders[0] if holders else "",
                f"the virtual address {address} is in use already",
                found=f"{_and(holders)} has it" if holders else f"it answers {_and(seen)}",
                wanted="an address that nobody has",
                fix=f"choose another one in the site file; who has it: arping -I eth0 {address}",
                among=reading.site.control_plane,
            )


def at(address: Address, port: int) -> str:
    """``address:port`` as :class:`provision.facts.Query` takes it."""
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def asked(registry: str) -> str:
    """Where a registry is asked, as :class:`provision.facts.Query` takes it."""
    # Docker's images are served under another name than their own.
    return f"https://{'registry-1.docker.io' if registry == 'docker.io' else registry}"


def _systems(facts: Facts) -> Iterator[tuple[str, System]]:
    for host in facts.reachable:
        yield host, facts.machines[host].observed["system"]


def _shared(facts: Facts, value: Callable[[str, System], str]) -> Iterator[tuple[list[str], str]]:
    by_value: dict[str, list[str]] = defaultdict(list)
    for host, system in _systems(facts):
        by_value[value(host, system)].append(host)
    for shared, hosts in by_value.items():
        if shared and len(hosts) > 1:
            yield hosts, shared


def _pairs(facts: Facts, key: Callable[[str], str]) -> Iterator[tuple[str, str, bool | str]]:
    for source in facts.reachable:
        results: Mapping[str, bool | str] = facts.machines[source].observed["connect"]
        for target in facts.reachable:
            if source != target and key(target) in results:
                yield source, target, results[key(target)]


def _and(hosts: list[str]) -> str:
    *most, last = hosts
    return f"{', '.join(most)} and {last}" if most else last


CHECKS = (
    reachable,
    clocks,
    unique,
    mtu,
    ports_reachable,
    registries,
    networks,
    virtual_addresses,
)
"""Every judgement on machines together, in the order of a report."""
