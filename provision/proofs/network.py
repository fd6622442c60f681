"""The network of pods: Services by name, names outside, and policies that deny."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from provision.probes import LOOK_UP, ask, machines, pod, service, start
from provision.proof import NotProvenError, Proof

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provision.proof import Cluster, Ground
    from provision.site import Site

POLICY_SECONDS = 30
EGRESS_SECONDS = 20
CLOSED: dict[str, Any] = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "closed"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
}


class ServicesProof(Proof):
    """A pod on each machine reaches a Service, by its name, on the next one."""

    name = "services by name"
    component = "cilium"

    def prove(self, ground: Ground, case: str) -> str:
        """Ask around in a circle."""
        del case
        names = machines(ground.site_context)
        start(ground, *(pod(ground, name, node=name) for name in names))
        ground.apply(*(service(f"web-{name}", name) for name in names))
        for client, server in zip(names, (*names[1:], names[0]), strict=True):
            _answers(ground, client, f"web-{server}", server)
        return f"from each of {len(names)} machines to the next"


class PolicyProof(Proof):
    """A NetworkPolicy that denies really denies, and only while it is there."""

    name = "network policies"
    component = "cilium"

    def prove(self, ground: Ground, case: str) -> str:
        """Close the namespace and open it again."""
        del case
        names = machines(ground.site_context)
        server, client = names[0], names[-1]
        start(ground, pod(ground, "server", node=server), pod(ground, "client", node=client))
        ground.apply(service("web", "server"))
        _answers(ground, "client", "web", server)
        ground.apply(CLOSED)
        ground.until("a policy to deny traffic", lambda: _passes(ground), POLICY_SECONDS)
        ground.delete(CLOSED)
        _answers(ground, "client", "web", server)
        return f"denied from {client} to {server}, and allowed again"


class EgressProof(Proof):
    """Pods reach what the site says they must, such as the Git server."""

    name = "egress"
    component = "cilium"

    def cases(self, cluster: Cluster, site: Site) -> Sequence[str]:
        """Every endpoint of ``network.egress``."""
        del cluster
        return site.network.egress

    def prove(self, ground: Ground, case: str) -> str:
        """Connect from a pod, by name where it is one."""
        host, _, port = case.rpartition(":")
        start(ground, pod(ground, "client"))
        ground.until(
            f"{case} to take a connection from a pod",
            lambda: _connects(ground, host.strip("[]"), int(port)),
            EGRESS_SECONDS,
        )
        return "a pod is connected"


def _connects(ground: Ground, host: str, port: int) -> str:
    """Why a pod is not connected."""
    try:
        ip_address(host)
        address = host
    except ValueError:
        address = ground.run("client", LOOK_UP.format(name=host)).strip()
        if not address:
            return f"pods know no {host}"
    # Runs ``true`` once it is connected.
    ground.run("client", f"nc -w 5 {address} {port} -e true")
    return ""


def _answers(ground: Ground, client: str, name: str, wanted: str) -> None:
    full = f"{name}.{ground.namespace}.svc.cluster.local"

    def look() -> str:
        said = ask(ground, client, full)
        return "" if said == wanted else f"it says {said!r}, not {wanted!r}"

    ground.until(f"{full} to answer {client}", look, POLICY_SECONDS)


def _passes(ground: Ground) -> str:
    try:
        ask(ground, "client", f"web.{ground.namespace}.svc.cluster.local", seconds=2)
    except NotProvenError:
        return ""
    return "traffic still passes"
