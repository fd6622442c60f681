"""Names and places that the parts of ``postgresql`` share."""

from __future__ import annotations

import re

from provision.secretspec import Certificate

SERVICE = "provision-postgresql.service"
REPLICATION_USER = "provision_replication"
"""PostgreSQL's user of replicas; comes in by its certificate alone."""
VERIFY_USER = "provision_verify"
"""PostgreSQL's user, and database, of ``provision verify``."""
VERIFY_CERTIFICATE = Certificate(
    "postgresql/verify", authority="site-ca", common_name=VERIFY_USER, usages=("client",)
)
"""Of that user; the server wants it besides the password."""
OWN_NAMES = (REPLICATION_USER, VERIFY_USER)
VERIFIERS = "postgresql/verifiers.json"
"""The site's secret with every role's SCRAM verifier, as the primary keeps it."""
VERIFIERS_FILE = "/etc/provision/postgresql/verifiers.json"


def password_of(role: str) -> str:
    """Name of the site's secret with a role's password."""
    return f"postgresql/role/{role}"


def verifier_of(role: str) -> str:
    """Name of the site's secret with the SCRAM verifier of a role's password."""
    return f"postgresql/verifier/{role}"


def slot_of(host: str) -> str:
    """Name of the replication slot of a machine; slots' names know no ``-`` and no ``.``."""
    return "replica_" + re.sub(r"[^a-z0-9_]", "_", host.lower())
