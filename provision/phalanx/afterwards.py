"""What must hold once Phalanx's installer is through: facts of the cluster in, rows out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from provision.phalanx.clusterside import ready, whole_name
from provision.phalanx.names import INGRESS_NAMESPACE
from provision.phalanx.preflight import Row, judged
from provision.proof import Cluster, Object

ARGO = "argoproj.io/v1alpha1"
VAULT_SECRET = "ricoberger.de/v1alpha1"  # noqa: S105 - the group of vault-secrets-operator
CERTIFICATE = "cert-manager.io/v1"
CHILDLESS = {"nublado-users", "nublado-fileservers", "ocps-uws-job"}
"""Applications that Phalanx itself lets be as they are: users' own objects are in them."""
OUT_OF_SYNC = {"sasquatch"}
"""Whose claims stay OutOfSync."""


def installed(cluster: Cluster) -> bool:
    """Whether there is something to judge."""
    return bool(cluster.all(ARGO, "Application"))


def afterwards_rows(cluster: Cluster, address: str) -> Iterator[Row]:
    """How the installed platform stands.

    Parameters
    ----------
    address
        That its ingress is to have.
    """
    bad = sorted(filter(None, map(_application, cluster.all(ARGO, "Application"))))
    yield judged("applications", ", ".join(bad) or "all of them", "Synced and Healthy", not bad,
                 "argocd app get NAME, then argocd app sync NAME")  # fmt: skip
    wanted = {whole_name(item) for item in cluster.all(VAULT_SECRET, "VaultSecret")}
    held = {whole_name(item) for item in cluster.all("v1", "Secret")}
    lacking = sorted(wanted - held)
    every = "all have their Secret" if wanted else "there are none"
    yield judged("VaultSecrets", ", ".join(lacking) or every, "a Secret each",
                 bool(wanted) and not lacking, "kubectl describe vaultsecret NAME")  # fmt: skip
    waiting = sorted(
        f"{whole_name(item)} ({ready(item)})"
        for item in cluster.all(CERTIFICATE, "Certificate")
        if ready(item) != "Ready"
    )
    yield judged("certificates", ", ".join(waiting) or "all of them", "Ready", not waiting,
                 "kubectl describe certificate NAME")  # fmt: skip
    given = sorted(_addresses(cluster))
    yield judged("ingress's address", ", ".join(given) or "none", address, given == [address],
                 f"loadBalancerIP: {address} in ingress-nginx's values")  # fmt: skip


def _application(item: Object) -> str:
    name = item["metadata"]["name"]
    told: dict[str, Any] = item.get("status") or {}
    sync = told.get("sync", {}).get("status", "Unknown")
    health = told.get("health", {}).get("status", "Unknown")
    synced = sync == "Synced" or name in OUT_OF_SYNC | CHILDLESS
    healthy = health == "Healthy" or name in CHILDLESS
    return "" if synced and healthy else f"{name} {sync} {health}"


def _addresses(cluster: Cluster) -> set[str]:
    return {
        str(entry.get("ip"))
        for item in cluster.all("v1", "Service")
        if item["metadata"].get("namespace") == INGRESS_NAMESPACE
        for entry in item.get("status", {}).get("loadBalancer", {}).get("ingress") or ()
    }
