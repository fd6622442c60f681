"""The right to ask the API server whose a token is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def reviewable(name: str, accounts: Sequence[tuple[str, str]]) -> Mapping[str, Any]:
    """A binding by which service accounts, by namespace and name, may ask about tokens."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "system:auth-delegator",
        },
        "subjects": [
            {"kind": "ServiceAccount", "namespace": namespace, "name": account}
            for namespace, account in accounts
        ],
    }
