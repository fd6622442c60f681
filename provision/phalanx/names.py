"""Names that Phalanx's installer and charts expect, and the limits that come from them."""

from __future__ import annotations

AGAIN = "provision handoff phalanx --new-credentials"
ISSUER = "letsencrypt-dns"
"""The ClusterIssuer that its charts ask for."""
MOUNT = "secret"
"""Where its installer looks for KV version 2, whatever an environment says."""
INGRESS_NAMESPACE = "ingress-nginx"
"""Where its charts put the ingress controller that it brings."""
OPERATOR = "vault-secrets-operator"
"""Its operator that reads Vault, and the namespace where that runs."""
AUTHORITY = "site-ca"
"""ConfigMap there with the authority by which the site's Vault is trusted."""
APPROLE = "approle"
TOKEN_TTL = "3650d"  # noqa: S105 - a time
TOKEN_SECONDS = 3650 * 86400
"""How long the write token lives that its installer asks for."""
TOKEN_LEFT_SECONDS = 7 * 86400
"""With how much time left its audit complains of the write token."""
LEASE_SECONDS = 87600 * 3600
KUBERNETES = (1, 30)
IN_CLUSTER_CLASS = "standard"
"""StorageClass that its in-cluster PostgreSQL asks for unless it is told another."""


def read_policy(path: str) -> str:
    """Name of the policy that its AppRole has."""
    return f"{path}/read"


def write_policy(path: str) -> str:
    """Name of the policy that its write token has."""
    return f"{path}/write"


def approle(path: str) -> str:
    """Name of its AppRole."""
    return path.rpartition("/")[2]
