"""Argo CD that outlives a machine: what is laid over its project's highly available manifests.

They spread what answers people, what reads repositories, and Redis over machines. What they
leave on one machine is spread here where Argo CD knows how (ApplicationSets, by electing a
leader), and moved soon where there can be only one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from provision.argocd.names import DEX, NAMESPACE
from provision.manifests import KindIn, Manifest

MACHINES = 3
"""Machines it takes: each of Redis's three members and of its three proxies is on another."""
REPLICAS = 2
"""How many there are of what the project publishes two of."""
CONTROLLER = "argocd-application-controller"
APPLICATION_SETS = "argocd-applicationset-controller"
NOTIFICATIONS = "argocd-notifications-controller"
PROXY = "argocd-redis-ha-haproxy"
REDIS = "argocd-redis-ha"
MOVED_SECONDS = 30
"""After so long on a machine that does not answer, Kubernetes starts a pod elsewhere; 300 by its
own default. What counts before is how long the cluster takes to miss a machine."""
NAMED = "app.kubernetes.io/name"
OWN_KINDS = (
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "Deployment"),
    ("policy/v1", "PodDisruptionBudget"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("v1", "Service"),
    ("v1", "ConfigMap"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"),
    ("v1", "ServiceAccount"),
)
"""Kinds of what comes and goes with the shape, and of Dex. No Secret: Argo CD makes that of Redis
itself."""
KINDS = tuple(KindIn(*kind, NAMESPACE) for kind in OWN_KINDS)


def movable(published: Iterable[Manifest]) -> Iterator[Manifest]:
    """The published objects, with the controller as a Deployment.

    It works on no volume and needs no name of its own while there is one of it. A StatefulSet
    waits for a lost machine to come back, a Deployment does not. More of them would share out
    clusters among themselves, of which there is one.
    """
    for item in published:
        if (item["kind"], item["metadata"]["name"]) != ("StatefulSet", CONTROLLER):
            yield item
            continue
        spec = {key: value for key, value in item["spec"].items() if key != "serviceName"}
        yield {**item, "kind": "Deployment", "spec": spec}


def spread() -> Mapping[str, Mapping[str, Any]]:
    """What is laid over the objects, by their kinds and names."""
    # One by one in place: a further one would wait for a machine that has none yet.
    in_place = {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
    }
    apart = {
        "labelSelector": {"matchLabels": {NAMED: APPLICATION_SETS}},
        "topologyKey": "kubernetes.io/hostname",
    }
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}}
    moved = {"template": {"spec": {"tolerations": _tolerations()}}}
    return {
        "ConfigMap argocd-cmd-params-cm": {
            "data": {"applicationsetcontroller.enable.leader.election": "true"}
        },
        f"Deployment {APPLICATION_SETS}": {
            "spec": {
                "replicas": REPLICAS,
                "strategy": in_place,
                "template": {"spec": {"affinity": affinity}},
            }
        },
        # Never two at once: each would synchronise.
        f"Deployment {CONTROLLER}": {"spec": {"strategy": {"type": "Recreate"}, **moved}},
        f"Deployment {NOTIFICATIONS}": {"spec": moved},
        f"Deployment {DEX}": {"spec": moved},
        f"Deployment {PROXY}": {"spec": {"strategy": in_place}},
        "Deployment argocd-repo-server": {"spec": {"strategy": in_place}},
        "Deployment argocd-server": {"spec": {"strategy": in_place}},
    }


def budgets() -> Iterator[Manifest]:
    """Whoever drains machines takes one pod of each kind at a time."""
    for name in ("argocd-repo-server", "argocd-server", APPLICATION_SETS, PROXY, REDIS):
        yield {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "maxUnavailable": 1,
                "selector": {"matchLabels": {NAMED: name}},
                # One that does not run anyway must not hold a machine.
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            },
        }


def _tolerations() -> list[dict[str, Any]]:
    return [
        {
            "key": f"node.kubernetes.io/{state}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": MOVED_SECONDS,
        }
        for state in ("not-ready", "unreachable")
    ]
