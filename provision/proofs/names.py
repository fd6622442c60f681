"""Names of the site, as pods see them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provision.phases.dns import DnsSettings
from provision.plan import phases_of
from provision.probes import LOOK_UP, pod, start
from provision.proof import Proof

if TYPE_CHECKING:
    from provision.proof import Ground

KNOWN_SECONDS = 60
"""A little more than cluster DNS remembers that there was no such name."""


class NamesProof(Proof):
    """A pod finds what the components have in the site's zone."""

    name = "names of the site"
    component = "dns"

    def prove(self, ground: Ground, case: str) -> str:
        """Look every name up."""
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
                    return f"{full} is {found or 'unknown'}"
            return ""

        ground.until("the names of the site", look, KNOWN_SECONDS)
        return f"{', '.join(name.label for name in names)} in {zone}"
