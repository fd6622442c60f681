"""Cilium: the network of pods and Services, by eBPF, instead of kube-proxy."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import Field

from provision import manifests
from provision.charts import ChartRenderer
from provision.facts import Facts, ObjectState
from provision.kubeadm.endpoint import api_endpoint
from provision.merge import deep_merge
from provision.openings import Opening
from provision.paths import cache_path
from provision.phase import (
    AnsiblePhase,
    Context,
    Decision,
    GateSpec,
    Manifest,
    Run,
    Skip,
    Unknown,
)
from provision.site import Architecture, Settings, Site

NAMESPACE = "kube-system"
CHART = "cilium-chart"
WORKLOADS = ("DaemonSet", "Deployment", "StatefulSet")
MOST_OPERATORS = 2
"""One works, the other waits to take over; they exclude each other from a machine."""


class CiliumSettings(Settings):
    """Settings of Cilium."""

    component = "cilium"

    values: dict[str, Any] = Field(default_factory=dict)
    """Laid over the chart's values, as Cilium's Helm reference names them."""


class CiliumPhase(AnsiblePhase):
    """The chart's objects in the cluster."""

    name = "cilium"
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
        renderer = ChartRenderer(context.bundle, _architecture(), cache_path())
        return renderer.render(
            CHART,
            release="cilium",
            namespace=NAMESPACE,
            values=self.values(context.site),
            kubernetes=context.bundle.versions["kubernetes"],
        )

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
            # Where it is switched on, its certificates must not differ at each rendering.
            "hubble": {"enabled": False, "tls": {"auto": {"method": "cronJob"}}},
            "image": {"useDigest": False},
            "operator": {
                "image": {"useDigest": False},
                "replicas": min(MOST_OPERATORS, len(site.hosts)),
                "rollOutPods": True,
            },
            "rollOutCiliumPods": True,
        }
        return deep_merge(base, site.settings(CiliumSettings).values)

    def decide(self, context: Context, facts: Facts) -> Decision:
        """Apply what is missing or differs, from one control-plane machine that answers."""
        if not facts.cluster.reachable:
            return Unknown("kubernetes")
        leader = next(
            (name for name in context.site.control_plane if name in facts.reachable), None
        )
        if leader is None:
            return Unknown("kubernetes")
        reasons: list[str] = []
        differing: list[Manifest] = []
        for manifest in self.objects(context):
            state = facts.cluster.objects.get(manifests.key(manifest), ObjectState(exists=False))
            if not state.exists or state.differences:
                reasons.append(_reason(manifests.key(manifest), state))
                differing.append(manifest)
        if not reasons:
            return Skip("every object is as the chart says")
        return Run({leader: reasons}, variables={leader: {"cilium_objects": differing}})

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """All objects for the first control-plane machine, none for the others."""
        first = context.site.control_plane[0]
        return {"cilium_objects": list(self.objects(context)) if host == first else []}

    def gates(self, context: Context, hosts: Sequence[str]) -> Sequence[GateSpec]:
        """Agents and operator are rolled out, every node is Ready, and so are system pods."""
        workloads = [
            {
                "kind": manifest["kind"],
                "namespace": manifest["metadata"].get("namespace", NAMESPACE),
                "name": manifest["metadata"]["name"],
            }
            for manifest in self.objects(context)
            if manifest["kind"] in WORKLOADS
        ]
        return (
            GateSpec("workloads rolled out", 600, {"workloads": workloads}),
            GateSpec("system pods ready", 300, {"namespace": NAMESPACE}),
        )


def _reason(name: str, state: ObjectState) -> str:
    if not state.exists:
        return f"object {name} is missing"
    return f"object {name} differs in {', '.join(state.differences)}"


def _architecture() -> str:
    """The controller's own architecture, in Debian's words."""
    names = {"x86_64": Architecture.AMD64, "aarch64": Architecture.ARM64}
    return names.get(platform.machine(), Architecture.AMD64).value
