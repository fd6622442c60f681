"""Vault as its clients see it: who leads, what is sealed, what is kept; and how it is wiped."""

from __future__ import annotations

from typing import Any

import hvac
import requests

from tests.lab.machines import Lab, Machine

PORT = 8200
WIPE = "systemctl stop vault && rm -rf /var/lib/private/vault/* && systemctl start vault"


def client(lab: Lab, name: str) -> hvac.Client:
    """For a member, or for an address."""
    session = requests.Session()
    session.trust_env = False
    authority = str(lab.state / "secrets" / "site-ca.crt")
    session.verify = authority
    return hvac.Client(
        url=f"https://{lab.machines[name].address if name in lab.machines else name}:{PORT}",
        token="",
        verify=authority,
        timeout=5,
        session=session,
    )


def admin(lab: Lab, name: str = "n1") -> hvac.Client:
    """Logged in as people do, at a member or an address."""
    asked = client(lab, name)
    asked.auth.userpass.login("admin", secret(lab, "vault/admin-password"))
    return asked


def secret(lab: Lab, name: str) -> str:
    """One of the site's secrets."""
    return (lab.state / "secrets" / name).read_text().strip()


def leader(lab: Lab) -> Machine:
    """The machine whose member is active."""
    for name, machine in lab.machines.items():
        if client(lab, name).sys.read_leader_status()["is_self"]:
            return machine
    raise AssertionError("no member is active")


def sealed(lab: Lab) -> list[str]:
    """Names of the machines whose member is sealed."""
    return [name for name in lab.machines if client(lab, name).sys.is_sealed()]


def write(lab: Lab, value: str, *at: str) -> bool:
    """Write through the first member that takes it, or at an address."""
    for name in at or lab.machines:
        try:
            admin(lab, name).secrets.kv.v2.create_or_update_secret("lab", {"value": value})
        except (hvac.exceptions.VaultError, requests.RequestException):
            continue
        return True
    return False


def read(lab: Lab) -> str:
    """What was written last."""
    answer: dict[str, Any] = admin(lab).secrets.kv.v2.read_secret_version(
        "lab", raise_on_deleted_version=True
    )
    return str(answer["data"]["data"]["value"])
