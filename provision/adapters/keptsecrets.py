"""Secrets that people keep in the site's Vault, as objects in the cluster name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from provision.objectsecrets import Kept


def kept_secrets(secrets: Any) -> Kept:
    """Reads them by the site's secret store; loads Vault's client with the first one.

    Most objects name none, and each of Ansible's tasks would load it.
    """

    def read(members: Mapping[str, str], path: str, field: str) -> bytes:
        from provision.adapters.vault import VaultReader
        from provision.adapters.vaultsecrets import VaultSecrets

        return VaultSecrets(VaultReader(secrets)).value(members, path, field)

    return read
