"""Names and places that the parts of ``vault`` share."""

from __future__ import annotations

KEYS = "vault/keys"
"""The site's secret that holds the unsealing keys."""

OWN_USER = "provision"
"""Vault's user by which this project reads and restores what the site file says."""
ADMIN_USER = "admin"
"""Vault's user for people: the way in after the root token is gone."""
ADMIN_POLICY = "provision-admin"
"""The policy of both users: everything, as the root token has it."""
SNAPSHOT_USER = "snapshot"
"""Vault's user by which machines take snapshots."""
SNAPSHOT_POLICY = "provision-snapshot"
"""May take a snapshot and nothing else."""

MARKER = "/var/lib/provision/vault-attempt"
"""On a machine whose Vault was never used: the attempt to initialise that it takes part in."""
AUDIT_LOG = "/var/log/vault/audit.log"
UNSEAL_CREDENTIAL = "/etc/provision/vault/unseal.cred"
"""The unsealing keys, encrypted to the machine by systemd-creds."""
CONFIGURATION = "/etc/provision/vault/vault.hcl"
TRANSIT_CREDENTIAL = "/etc/provision/vault/transit.cred"
"""The token for the Vault that keeps the key, encrypted to the machine by systemd-creds."""
TRANSIT_DIGEST = "/etc/provision/vault/transit.sha256"
"""For root alone: what tells whether the settings that were proven are the site's."""
SNAPSHOT_CREDENTIAL = "/etc/provision/vault/snapshot.cred"
"""What the machine's snapshots are taken with, encrypted to the machine by systemd-creds."""

KUBERNETES_PLUGIN = "vault-plugin-auth-kubernetes"
"""The bundle's Kubernetes auth method, where its Vault has none built in."""


def secret_id_of(role: str) -> str:
    """Name of the site's secret with the secret id of a role of ``approle``."""
    return f"vault/{role}-secret-id"


def password_of(user: str) -> str:
    """Name of the site's secret with the password of a user of Vault."""
    return f"vault/{user}-password"
