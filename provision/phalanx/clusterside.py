"""How the cluster stands for Phalanx, as plain data for the preflight."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from provision.phalanx.names import INGRESS_NAMESPACE
from provision.proof import Cluster, LiveCluster, Object
from provision.proofs.addresses import given_to

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
KUBELET_KEYS = ("clusterDomain", "nodeStatusMaxImages")
WEB_PORTS = (80, 443)


def facts(cluster: LiveCluster, address: str, *, owned: bool) -> dict[str, Any]:
    """What the preflight judges.

    Parameters
    ----------
    address
        Of Phalanx's ingress.
    owned
        Whether cert-manager is the site's.
    """
    nodes = cluster.all("v1", "Node")
    services = cluster.all("v1", "Service")
    return {
        "versions": [item["status"]["nodeInfo"]["kubeletVersion"] for item in nodes],
        "architectures": [item["status"]["nodeInfo"]["architecture"] for item in nodes],
        "kubelet": {name: kubelet(cluster, name) for name in sorted(map(_name, nodes))},
        "classes": storage_classes(cluster),
        "ingress_classes": [
            _name(item) for item in cluster.all("networking.k8s.io/v1", "IngressClass")
        ],
        "has_ingress": any(
            _namespace(item) == INGRESS_NAMESPACE and item["spec"].get("type") == "LoadBalancer"
            for item in services
        ),
        "web_takers": [
            *(whole_name(item) for item in services if _takes_the_address(item, address)),
            *(whole_name(item) for item in cluster.all("v1", "Pod") if any(_host_ports(item))),
        ],
        "issuers": {
            _name(item): ready(item) for item in cluster.all("cert-manager.io/v1", "ClusterIssuer")
        },
        "cert_managers": [
            whole_name(item)
            for item in cluster.all("apps/v1", "Deployment")
            # Of the chart's deployments only the controller has this name.
            if item["metadata"].get("labels", {}).get("app.kubernetes.io/name") == "cert-manager"
        ],
        "owned": owned,
    }


def storage_classes(cluster: Cluster) -> dict[str, bool]:
    """StorageClasses, and whether each is a default one."""
    return {
        _name(item): item["metadata"].get("annotations", {}).get(DEFAULT_CLASS) == "true"
        for item in cluster.all("storage.k8s.io/v1", "StorageClass")
    }


def kubelet(cluster: LiveCluster, node: str) -> dict[str, Any]:
    """What a machine's kubelet runs with."""
    running = cluster.kubelet_configuration(node)
    return {key: running[key] for key in KUBELET_KEYS if key in running}


def _takes_the_address(service: Object, address: str) -> bool:
    spec = service["spec"]
    return (
        spec.get("type") == "LoadBalancer"
        and _namespace(service) != INGRESS_NAMESPACE
        and any(port.get("port") in WEB_PORTS for port in spec.get("ports", ()))
        and address in given_to(service)
    )


def _host_ports(pod: Object) -> Iterator[int]:
    if _namespace(pod) != INGRESS_NAMESPACE:
        for container in pod["spec"].get("containers", ()):
            for port in container.get("ports", ()):
                if port.get("hostPort") in WEB_PORTS:
                    yield port["hostPort"]


def ready(item: Object) -> str:
    """``Ready``, or why an object is not."""
    for condition in item.get("status", {}).get("conditions", ()):
        if condition["type"] == "Ready":
            return "Ready" if condition["status"] == "True" else str(condition.get("message"))
    return "not judged yet"


def _name(item: Object) -> str:
    return str(item["metadata"]["name"])


def _namespace(item: Object) -> str:
    return str(item["metadata"].get("namespace", ""))


def whole_name(item: Object) -> str:
    """Namespace and name."""
    return f"{_namespace(item)}/{_name(item)}"
