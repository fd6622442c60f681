"""Whether machines are fit for a site: pure judgements on what was read of them."""

from __future__ import annotations

from provision.checks import machine, together
from provision.checks.finding import Finding, Severity
from provision.checks.needs import Needs
from provision.facts import Facts, Query
from provision.site import Site

__all__ = ["Finding", "Needs", "Severity", "check_queries", "run_checks"]


def check_queries(site: Site, needs: Needs | None = None) -> dict[str, Query]:
    """What to read of each machine for :func:`run_checks`."""
    wanted = Needs.of(site) if needs is None else needs
    return {host: Query(connect=_targets(site, wanted, host), system=True) for host in site.hosts}


def _targets(site: Site, needs: Needs, host: str) -> frozenset[str]:
    found = {str(address) for address in needs.virtual_addresses}
    found.update(map(together.asked, needs.registries))
    for other, settings in site.hosts.items():
        if other != host:
            found.add(f"{settings.address}#mtu")
            found.update(
                together.at(settings.address, port) for _, port in needs.probes(site, host, other)
            )
    return frozenset(found)


def run_checks(site: Site, facts: Facts, needs: Needs | None = None) -> list[Finding]:
    """Judge everything that was read; errors first, then in the order of the site file.

    Parameters
    ----------
    facts
        The answers to :func:`check_queries`; machines may be missing.
    needs
        What the components ask of machines; without it what the site itself says.
    """
    wanted = Needs.of(site) if needs is None else needs
    reading = together.Reading(site, wanted, facts)
    found = [finding for check in together.CHECKS for finding in check(reading)]
    for host in facts.reachable:
        one = machine.Machine(site, wanted, host, facts.machines[host].observed["system"])
        found += [finding for check in machine.CHECKS for finding in check(one)]
    order = {"": -1, **{host: place for place, host in enumerate(site.hosts)}}
    return sorted(found, key=lambda one: (one.severity != Severity.ERROR, order[one.host]))
