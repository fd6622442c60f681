"""Addresses for Services: the one that is asked for, answered from outside the cluster."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any

from provision.probes import machines, pod, service, start
from provision.proof import NotProvenError, Proof

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provision.proof import Cluster, Ground, Object
    from provision.site import Site

GROUP = "metallb.io/v1beta1"
ASSIGN_SECONDS = 60
ANSWER_SECONDS = 60


class AddressProof(Proof):
    """A Service gets the address that it asks for, and answers there from outside."""

    name = "address"
    component = "load_balancer"

    def cases(self, cluster: Cluster, site: Site) -> Sequence[str]:
        """Every pool that is announced in the machines' network and open to all namespaces."""
        del site
        announced = {
            name
            for item in cluster.all(GROUP, "L2Advertisement")
            for name in item["spec"].get("ipAddressPools", ())
        }
        return sorted(
            pool["metadata"]["name"]
            for pool in cluster.all(GROUP, "IPAddressPool")
            if pool["metadata"]["name"] in announced
            and not pool["spec"].get("serviceAllocation", {}).get("namespaces")
        )

    def prove(self, ground: Ground, case: str) -> str:
        """Ask for the pool's last free address, and fetch a page from it."""
        server = machines(ground.site_context)[0]
        address = _free(ground, case)
        start(ground, pod(ground, "web", node=server))
        wanted = service("web", "web", type="LoadBalancer", loadBalancerIP=address)
        ground.apply(wanted)
        ground.until(
            f"the Service to get {address}",
            lambda: _assigned(ground.get(wanted), address),
            ASSIGN_SECONDS,
        )

        def look() -> str:
            said = ground.fetch(f"http://{_host(address)}/").strip()
            return "" if said == server else f"it says {said!r}, not {server!r}"

        ground.until(f"{address} to answer from outside", look, ANSWER_SECONDS)
        return f"{address} answers from outside the cluster"


def _free(ground: Ground, pool: str) -> str:
    taken = {
        entry.get("ip")
        for item in ground.all("v1", "Service")
        for entry in item.get("status", {}).get("loadBalancer", {}).get("ingress", ())
    }
    found = next(
        item for item in ground.all(GROUP, "IPAddressPool") if item["metadata"]["name"] == pool
    )
    for text in reversed(found["spec"]["addresses"]):
        for address in _downwards(text):
            if str(address) not in taken:
                return str(address)
    raise NotProvenError(f"the pool {pool} has no free address", found=", ".join(sorted(taken)))


def _downwards(text: str) -> Iterator[IPv4Address | IPv6Address]:
    """The addresses of a range or a network, from the last."""
    if "-" in text:
        first, last = (ip_address(part.strip()) for part in text.split("-", 1))
    else:
        network = ip_network(text)
        first, last = network[0], network[-1]
    for number in range(int(last), int(first) - 1, -1):
        yield type(last)(number)


def _assigned(found: Object, address: str) -> str:
    ingress: Any = found.get("status", {}).get("loadBalancer", {}).get("ingress") or [{}]
    got = ingress[0].get("ip", "none")
    return "" if got == address else f"it has {got}"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
