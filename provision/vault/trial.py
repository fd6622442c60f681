"""Throw-away things in Vault: a secret, a policy that lets it be read, and a role that has it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from secrets import token_hex
from typing import Any

from provision.vault.api import VaultApi

FOLDER = "provision-verify"
KEPT = f"secret/metadata/{FOLDER}"
TOKEN_SECONDS = 60
LEFT_BEHIND = timedelta(hours=1)


@dataclass(frozen=True)
class Trial:
    """What a client has to find out."""

    role: str
    path: str
    """Where the secret is read."""
    digest: str
    """sha256 of its value, in hexadecimal."""


@contextmanager
def trial(api: VaultApi, name: str, method: str, options: Mapping[str, Any]) -> Iterator[Trial]:
    """A secret that is there within the block, for a role of an auth method.

    Parameters
    ----------
    name
        Nothing else in Vault may have it.
    method
        Path of the auth method.
    options
        What the role says besides of its tokens.
    """
    value = token_hex(32)
    path = f"secret/data/{FOLDER}/{name}"
    try:
        # First and last, since it tells when all of it was made.
        api.write(path, {"data": {"value": value}})
        text = f'path "{path}" {{ capabilities = ["read"] }}\n'
        api.write(f"sys/policies/acl/{name}", {"policy": text})
        # Batch tokens leave nothing behind.
        tokens = {"token_type": "batch", "token_ttl": TOKEN_SECONDS, "token_policies": [name]}
        api.write(f"auth/{method}/role/{name}", {**options, **tokens})
        yield Trial(name, path, sha256(value.encode()).hexdigest())
    finally:
        _take_out(api, name)


def sweep(api: VaultApi, now: datetime) -> None:
    """Take out what a killed run left behind, an hour and more ago."""
    for name in api.names(KEPT):
        told = api.read(f"{KEPT}/{name}") or {}
        made = datetime.fromisoformat(told.get("created_time", now.isoformat())[:19])
        if now - made.replace(tzinfo=UTC) > LEFT_BEHIND:
            _take_out(api, name)


def _take_out(api: VaultApi, name: str) -> None:
    for path in (
        f"auth/approle/role/{name}",
        f"auth/kubernetes/role/{name}",
        f"sys/policies/acl/{name}",
        f"{KEPT}/{name}",
    ):
        api.delete(path)
