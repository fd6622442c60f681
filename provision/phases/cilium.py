"""Cilium: the network of pods and Services, by eBPF, instead of kube-proxy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import Field

from provision.clusterphase import ClusterPhase
from provision.kubeadm.endpoint import api_endpoint
from provision.merge import deep_merge
from provision.openings import Opening
from provision.phase import Context, GateSpec, Manifest
from provision.site import Settings, Site

CHART = "cilium-chart"
MOST_OPERATORS = 2
"""One works, the other waits to take over; they exclude each other from a machine."""


class CiliumSettings(Settings):
    """Settings of Cilium."""

    component = "cilium"

    values: dict[str, Any] = Field(default_factory=dict)
    """Laid over the chart's values, as Cilium's Helm reference names them."""


class CiliumPhase(ClusterPhase):
    """The chart's objects in the cluster."""

    name = "cilium"
    namespace = "kube-system"
    after = ("kubernetes",)
    settings = CiliumSettings

    def validate_site(self, site: Site) -> Iterator[str]:
        """The values must leave it to Cilium to serve Services: nothing else does."""
        if site.settings(CiliumSettings).values.get("kubeProxyReplacement", True) is not True:
            yield "cilium.values.kubeProxyReplacement must be true: no kube-proxy is installed"

    def openings(self, site: Site) -> Sequence[Opening]:
        """The tunnel between machines, and their health checks of each other."""
        return (
            Opening("8472", "Cilium's tunnel (VXLAN)", "machines", protocol="udp"),
            Opening("4240", "Cilium's health checks", "machines"),
            Opening("4244", "Hubble", "machines"),
        )

    def objects(self, context: Context) -> Sequence[Manifest]:
        """The rendered chart."""
        return self.chart(context, CHART, self.values(context.site))

    def values(self, site: Site) -> dict[str, Any]:
        """The chart's values: ours with the site's laid over them."""
        address, port = api_endpoint(site)
        families = {network.version for network in site.network.pods}
        base: dict[str, Any] = {
            "kubeProxyReplacement": True,
            "k8sServiceHost": str(address),
            "k8sServicePort": port,
            "ipam": {"mode": "kubernetes"},
            "ipv4": {"enabled": 4 in families},
            "ipv6": {"enabled": 6 in families},
            "envoy": {"enabled": False},
            "l7Proxy": False,
            # Addresses of Services are for load_balancer, or for whoever the site has for it.
            "l2announcements": {"enabled": False},
            "enableLBIPAM": False,
            "defaultLBServiceIPAM": "none",
            # Where it is switched on, its certificates must not differ at each rendering.
            "hubble": {"enabled": False, "tls": {"auto": {"method": "cronJob"}}},
            "image": {"useDigest": False},
            "operator": {
                "image": {"useDigest": False},
                "replicas": min(MOST_OPERATORS, len(site.hosts)),
                "rollOutPods": True,
            },
            "rollOutCiliumPods": True,
            # Where pods take all of a machine, one without a share would starve, and its machine's
            # pods with it.
            "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        }
        return deep_merge(base, site.settings(CiliumSettings).values)

    def gates(self, context: Context, hosts: Sequence[str]) -> Sequence[GateSpec]:
        """Agents and operator are rolled out, and every system pod is Ready."""
        return (
            *super().gates(context, hosts),
            GateSpec("system pods ready", 300, {"namespace": self.namespace}),
        )
