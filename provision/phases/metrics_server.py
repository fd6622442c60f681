"""metrics_server: what pods and machines use, for ``kubectl top`` and for autoscaling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from provision.clusterphase import ClusterPhase
from provision.merge import deep_merge
from provision.phase import Context, Manifest
from provision.site import Settings

CLUSTER_CA = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
"""Where every pod finds the authority that signs the kubelets' certificates."""


class MetricsServerSettings(Settings):
    """Settings of the metrics server."""

    component = "metrics_server"
    optional = True

    values: dict[str, Any] = Field(default_factory=dict)
    """Laid over the chart's values, as metrics-server's Helm chart names them."""


class MetricsServer(ClusterPhase):
    """The chart's objects in the cluster."""

    name = "metrics_server"
    after = ("cilium",)
    settings = MetricsServerSettings
    bundled = ("metrics-server",)
    namespace = "kube-system"

    def objects(self, context: Context) -> Sequence[Manifest]:
        """The rendered chart."""
        base: dict[str, Any] = {
            "fullnameOverride": "metrics-server",
            # The chart's own default is not always the version that it comes with.
            "image": {"tag": f"v{self.version(context, 'metrics-server')}"},
            "args": [f"--kubelet-certificate-authority={CLUSTER_CA}"],
        }
        values = deep_merge(base, context.site.settings(MetricsServerSettings).values)
        return self.chart(context, "metrics-server-chart", values)
