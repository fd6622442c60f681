"""Argo CD, as its users see it: over TLS that they verify by the site's authority."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from provision.phases.argocd import ArgocdSettings
from provision.proof import NotProvenError, Proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.proof import Cluster, Ground
    from provision.site import Address, Site

ANSWER_SECONDS = 60
"""A new address is announced within seconds; a lost machine's moves after some more."""


class DeliveryProof(Proof):
    """Its API answers at its address to who trusts the site."""

    name = "delivery"
    component = "argocd"

    def cases(self, cluster: Cluster, site: Site) -> Sequence[str]:
        """None where an issuer signs its certificate, which is for its name alone."""
        del cluster
        return () if site.settings(ArgocdSettings).issuer else ("",)

    def prove(self, ground: Ground, case: str) -> str:
        """Ask for its version."""
        del case
        url = _url(ground.site_context.site.settings(ArgocdSettings).address)
        told: list[str] = []

        def look() -> str:
            try:
                answer = ground.fetch(url, ground.authority())
                told[:] = [json.loads(answer)["Version"]]
            except NotProvenError as error:
                return error.found or error.what
            except (ValueError, KeyError):
                return f"{answer[:80]!r} is no answer of Argo CD's"
            return ""

        ground.until("an answer of Argo CD", look, ANSWER_SECONDS)
        return f"{told[0]} answers at {url}"


def _url(address: Address) -> str:
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"https://{host}/api/version"
