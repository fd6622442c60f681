"""Whether the address that Phalanx's ingress is to have can be had, and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from ipaddress import ip_address

from provision.errors import OperatorError
from provision.phalanx.clusterside import whole_name
from provision.phalanx.names import INGRESS_NAMESPACE
from provision.phalanx.preflight import Row, judged
from provision.proof import Cluster, Ground, NotProvenError, Object
from provision.proofs.addresses import POOLS, bounds, given_to, served

WHAT = "ingress address"


def ingress_row(
    cluster: Cluster, address: str, ground: Callable[[str], AbstractContextManager[Ground]]
) -> Row:
    """Try ``address`` with a throw-away Service, unless the ingress has it already.

    Parameters
    ----------
    ground
        Makes a namespace to try something out in.
    """
    wanted = f"{address} is given to a Service and answers from outside"
    holders = [
        whole_name(item) for item in cluster.all("v1", "Service") if address in given_to(item)
    ]
    if holders:
        own = all(name.startswith(f"{INGRESS_NAMESPACE}/") for name in holders)
        return judged(
            WHAT,
            f"{', '.join(holders)} has {address}",
            wanted,
            own,
            "give that Service another address, or Phalanx (phalanx.ingress_address)",
        )
    if (kept := next(_kept_for(cluster, address), None)) is not None:
        return judged(
            WHAT,
            f"{address} is kept for {', '.join(kept)}, so that nothing else could try it",
            f"open to {INGRESS_NAMESPACE}",
            INGRESS_NAMESPACE in kept,
            f"load_balancer.pools: add {INGRESS_NAMESPACE} to the pool's namespaces",
        )
    try:
        with ground("handoff-ingress") as place:
            return judged(WHAT, served(place, address), wanted, good=True, fix="")
    except NotProvenError as error:
        found = ": ".join(text for text in (error.what, error.found) if text)
    except OperatorError as error:
        found = error.found or error.what
    return judged(WHAT, found, wanted, good=False, fix="provision verify --only address")


def _kept_for(cluster: Cluster, address: str) -> Iterator[list[str]]:
    """The namespaces of the pool that has ``address``, where it is not open to all."""
    for pool in cluster.all(*POOLS):
        namespaces = pool["spec"].get("serviceAllocation", {}).get("namespaces")
        if namespaces and _holds(pool, address):
            yield sorted(namespaces)


def _holds(pool: Object, address: str) -> bool:
    number = ip_address(address)
    ranges = [bounds(text) for text in pool["spec"]["addresses"]]
    return any(
        first.version == number.version and int(first) <= int(number) <= int(last)
        for first, last in ranges
    )
