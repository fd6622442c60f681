"""Addresses for Services: the one that is asked for, answered from outside the cluster."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from time import monotonic
from typing import TYPE_CHECKING

from provision.probes import machines, pod, service, start
from provision.proof import Proof

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from provision.proof import Cluster, Ground, Object
    from provision.site import Site

Address = IPv4Address | IPv6Address
GROUP = "metallb.io/v1beta1"
POOLS = (GROUP, "IPAddressPool")
ASSIGN_SECONDS = 60
ANSWER_SECONDS = 60


class AddressProof(Proof):
    """A Service gets the address that it asks for, and answers there whichever machine has it."""

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
            for pool in cluster.all(*POOLS)
            if pool["metadata"]["name"] in announced
            and not pool["spec"].get("serviceAllocation", {}).get("namespaces")
        )

    def prove(self, ground: Ground, case: str) -> str:
        """Fetch a page from the pool's last free address, and again when its machine lets it go.

        A pool that is given away to its last address is in use, and has none to try.
        """
        free = _free(ground, case)
        return served(ground, free) if free else "all its addresses are given to Services"


def served(ground: Ground, address: str) -> str:
    """Give ``address`` to a Service, and see it answered by one machine after another.

    Raises
    ------
    NotProvenError
        The Service does not get it, or nobody answers.
    """
    servers = {
        name: pod(ground, f"web-{name}", node=name, group="web")
        for name in machines(ground.site_context)[:2]
    }
    start(ground, *servers.values())
    # Only a machine with a pod of its own may announce the address of such a Service.
    wanted = service(
        "web",
        "web",
        type="LoadBalancer",
        loadBalancerIP=address,
        externalTrafficPolicy="Local",
    )
    ground.apply(wanted)
    ground.until(
        f"the Service to get {address}",
        lambda: _assigned(ground.get(wanted), address),
        ASSIGN_SECONDS,
    )
    first = _answering(ground, address, servers)
    others = servers.keys() - {first}
    if not others:
        return f"{address} answers from outside the cluster"
    began = monotonic()
    ground.delete(servers[first])
    _answering(ground, address, others)
    took = monotonic() - began
    return f"{address} answers from outside the cluster; moves to another machine in {took:.1f} s"


def _answering(ground: Ground, address: str, servers: Collection[str]) -> str:
    """The machine that answers at ``address``, once it is one of ``servers``."""
    said = ""

    def look() -> str:
        nonlocal said
        said = ground.fetch(f"http://{_host(address)}/").strip()
        return "" if said in servers else f"it says {said!r}, not {' or '.join(sorted(servers))}"

    ground.until(f"{address} to answer from outside", look, ANSWER_SECONDS)
    return said


def _free(ground: Ground, pool: str) -> str | None:
    taken = {address for item in ground.all("v1", "Service") for address in given_to(item)}
    found = next(item for item in ground.all(*POOLS) if item["metadata"]["name"] == pool)
    for text in reversed(found["spec"]["addresses"]):
        for address in _downwards(text):
            if str(address) not in taken:
                return str(address)
    return None


def given_to(service: Object) -> Sequence[str]:
    """The addresses that a Service has of a load balancer."""
    given = service.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    return [entry["ip"] for entry in given if "ip" in entry]


def bounds(text: str) -> tuple[Address, Address]:
    """First and last address of a range or a network."""
    if "-" in text:
        first, last = (ip_address(part.strip()) for part in text.split("-", 1))
        return first, last
    network = ip_network(text)
    return network[0], network[-1]


def _downwards(text: str) -> Iterator[Address]:
    """The addresses of a range or a network, from the last."""
    first, last = bounds(text)
    for number in range(int(last), int(first) - 1, -1):
        yield type(last)(number)


def _assigned(found: Object, address: str) -> str:
    got = given_to(found)
    return "" if address in got else f"it has {', '.join(got) or 'none'}"


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
