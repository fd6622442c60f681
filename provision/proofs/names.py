"""Names of the site, as pods and others see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.phases.dns import DnsSettings, sockets
from provision.plan import phases_of
from provision.probes import LOOK_UP, pod, start
from provision.proof import Proof

if TYPE_CHECKING:
    from provision.proof import Ground

KNOWN_SECONDS = 60
"""A little more than cluster DNS remembers that there was no such name."""


class NamesProof(Proof):
    """A pod finds what the components have in the site's zone, and so do others."""

    name = "names of the site"
    component = "dns"

    def prove(self, ground: Ground, case: str) -> str:
        """Look every name up: in a pod, and from outside at each of the zone's servers."""
        del case
        site = ground.site_context.site
        zone = site.settings(DnsSettings).zone
        names = [name for phase in phases_of(site) for name in phase.names(site)]
        start(ground, pod(ground, "client"))

        def look() -> str:
            for name in names:
                full = f"{name.label}.{zone}"
                found = ground.run("client", LOOK_UP.format(name=full)).strip()
                if found not in map(str, name.addresses):
                    return f"{full} is {found or 'unknown'} in a pod"
                for server in sockets(site):
                    told = sorted(ground.addresses(server, f"{full}."))
                    if told != sorted(map(str, name.addresses)):
                        return f"{full} is {', '.join(told) or 'unknown'} at {server}"
            return ""

        ground.until("the names of the site", look, KNOWN_SECONDS)
        return f"{', '.join(name.label for name in names)} in {zone}"
