"""The network of pods: Services by name, names outside, and policies that deny."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provision.probes import ask, machines, pod, service, start
from provision.proof import NotProvenError, Proof

if TYPE_CHECKING:
    from provision.proof import Ground

POLICY_SECONDS = 30
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
