"""What Phalanx's installer makes in Vault, made by the same calls: policies, AppRole, token.

The installer's ``vault create-write-token`` and ``vault create-read-approle`` may be run before or
after; they write the same policies and the same AppRole, and ``plan`` judges none of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any, Protocol

from provision.errors import VaultFailureError, VaultRefusalError
from provision.phalanx.names import (
    APPROLE,
    MOUNT,
    TOKEN_TTL,
    approle,
    read_policy,
    write_policy,
)
from provision.vault.names import ADMIN_POLICY

Rules = Mapping[str, Sequence[str]]
RULE = re.compile(r'path\s+"([^"]+)"\s*\{\s*capabilities\s*=\s*\[([^\]]*)\]\s*\}')
PASSING_SECONDS = 60
"""How long the token lives by which the write token is made."""


class Api(Protocol):
    """What is asked of a member of Vault; ``adapters/vault.py`` speaks to a real one."""

    def use(self, token: str) -> None:
        """Use ``token`` from now on."""

    def revoke(self) -> None:
        """Revoke the token in use."""

    def read(self, path: str) -> Mapping[str, Any] | None:
        """What Vault tells at a path, or None."""

    def names(self, path: str) -> Sequence[str]:
        """Names of what is below a path."""

    def write(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write to a path; what Vault answers to it."""

    def authenticate(
        self, path: str, body: Mapping[str, Any], *, token: str | None = None
    ) -> Mapping[str, Any]:
        """Write to a path that answers with a token; what Vault says of it.

        ``token`` is used for this request instead of the one in use.
        """

    def delete(self, path: str) -> None:
        """Delete what is at a path."""


@dataclass(frozen=True)
class Credentials:
    """What the installer and the platform get into Vault with."""

    role_id: str
    secret_id: str = field(repr=False)
    token: str = field(repr=False)
    """The write token."""
    accessor: str
    """The write token's."""
    secret_id_accessor: str


def read_rules(path: str) -> dict[str, list[str]]:
    """What the AppRole may do."""
    return {
        f"{MOUNT}/data/{path}/+": ["read"],
        f"{MOUNT}/metadata/{path}/+": ["list", "read"],
    }


def write_rules(path: str) -> dict[str, list[str]]:
    """What the write token may do; the folder itself is listed without a last component."""
    return {
        f"{MOUNT}/data/{path}": ["create", "delete", "read", "update"],
        f"{MOUNT}/data/{path}/+": ["create", "delete", "read", "update"],
        f"{MOUNT}/metadata/{path}": ["delete", "list", "read", "update"],
        f"{MOUNT}/metadata/{path}/+": ["delete", "list", "read", "update"],
        **{
            f"{MOUNT}/{action}/{path}/+": ["update"] for action in ("delete", "destroy", "undelete")
        },
    }


def policy_text(rules: Rules) -> str:
    """Rules in Vault's policy language, to the letter as the installer's audit compares them."""
    return "\n".join(
        f'path "{path}" {{\n  capabilities = [{", ".join(map(_quoted, may))}]\n}}'
        for path, may in rules.items()
    )


def _quoted(word: str) -> str:
    return f'"{word}"'


def rules_of(text: str) -> dict[str, frozenset[str]]:
    """What a policy's text allows, whoever wrote it."""
    return {path: frozenset(re.findall(r'"([^"]+)"', may)) for path, may in RULE.findall(text)}


def lacking(text: str, wanted: Rules) -> list[str]:
    """What is wanted and a policy's text does not allow, ``capability on path`` each."""
    has = rules_of(text)
    return [
        f"{capability} on {path}"
        for path, may in wanted.items()
        for capability in may
        if capability not in has.get(path, frozenset())
    ]


def make_credentials(api: Api, path: str) -> Credentials:
    """Write both policies and the AppRole, and make a secret id and a write token.

    Nothing that is in use is revoked: that is :func:`revoke_others`.

    Raises
    ------
    VaultRefusalError
        Vault refuses.
    """
    role = approle(path)
    texts = {read_policy(path): read_rules(path), write_policy(path): write_rules(path)}
    for name, rules in texts.items():
        api.write(f"sys/policies/acl/{name}", {"policy": policy_text(rules)})
    at = f"auth/approle/role/{role}"
    # A limit that somebody set stays where it is not named.
    unlimited = {"secret_id_num_uses": 0, "secret_id_ttl": 0}
    body = {"token_policies": [read_policy(path)], "token_type": "service"}
    api.write(at, {**body, **unlimited})
    told = api.read(f"{at}/role-id")
    if told is None:
        raise VaultRefusalError("Vault has not the AppRole that it was given", where=at)
    # A token that was lost on the way is found by its name; a secret id would be taken for used.
    token = _write_token(api, path)
    secret = api.write(f"{at}/secret-id", {})
    return Credentials(
        str(told["role_id"]),
        str(secret["secret_id"]),
        str(token["client_token"]),
        str(token["accessor"]),
        str(secret["secret_id_accessor"]),
    )


def secret_ids(api: Api, path: str) -> int:
    """How many secret ids of the AppRole get in, whoever made them."""
    at = f"auth/approle/role/{approle(path)}"
    return 0 if api.read(at) is None else len(api.names(f"{at}/secret-id"))


def take_back(api: Api, path: str, made: Credentials) -> None:
    """Revoke credentials that nobody was given."""
    at = f"auth/approle/role/{approle(path)}/secret-id-accessor/destroy"
    api.write(at, {"secret_id_accessor": made.secret_id_accessor})
    api.write("auth/token/revoke-accessor", {"accessor": made.accessor})


def revoke_others(api: Api, path: str, kept: Credentials) -> int:
    """Revoke all secret ids and write tokens but those that are kept, as the installer does.

    Returns how many secret ids went. Write tokens are known by their display name, whoever made
    them, as the installer finds them.
    """
    at = f"auth/approle/role/{approle(path)}"
    others = [name for name in api.names(f"{at}/secret-id") if name != kept.secret_id_accessor]
    for accessor in others:
        api.write(f"{at}/secret-id-accessor/destroy", {"secret_id_accessor": accessor})
    for accessor in api.names("auth/token/accessors"):
        try:
            told = api.write("auth/token/lookup-accessor", {"accessor": accessor})
        except VaultFailureError:
            raise
        except VaultRefusalError:
            # It ended while they were listed.
            continue
        if told.get("display_name") == f"token-{approle(path)}" and accessor != kept.accessor:
            api.write("auth/token/revoke-accessor", {"accessor": accessor})
    return len(others)


def _write_token(api: Api, path: str) -> Mapping[str, Any]:
    """A token as the installer asks for it, but an orphan.

    The token of this project's own user is a batch token, which may make no others, and a child
    of a person's token would end with that: after an hour. So a service token that lives for a
    minute makes it.
    """
    role = f"provision-handoff-{token_hex(4)}"
    at = f"auth/approle/role/{role}"
    body = {"token_policies": [ADMIN_POLICY], "token_type": "service", "token_ttl": PASSING_SECONDS}
    try:
        api.write(at, {**body, "token_max_ttl": PASSING_SECONDS, "secret_id_ttl": PASSING_SECONDS})
        told = api.read(f"{at}/role-id") or {}
        secret = api.write(f"{at}/secret-id", {})
        login = {"role_id": told.get("role_id", ""), "secret_id": secret["secret_id"]}
        passing = api.authenticate("auth/approle/login", login)["client_token"]
        return api.authenticate(
            "auth/token/create-orphan",
            {
                "display_name": approle(path),
                "policies": [write_policy(path)],
                "ttl": TOKEN_TTL,
            },
            token=str(passing),
        )
    finally:
        api.delete(at)


def facts(api: Api, as_role: Api, as_writer: Api, path: str, kept: Credentials) -> dict[str, Any]:
    """How Vault stands for Phalanx, as plain data for the preflight.

    Raises
    ------
    VaultFailureError
        Vault cannot tell.
    """
    mounted = api.read(f"sys/mounts/{MOUNT}") or {}
    role = api.read(f"auth/approle/role/{approle(path)}") or {}
    policies = {
        name: (api.read(f"sys/policies/acl/{name}") or {}).get("policy", "")
        for name in (read_policy(path), write_policy(path))
    }
    wanted = f"{MOUNT}/data/{path}/argocd"
    login = {"role_id": kept.role_id, "secret_id": kept.secret_id}
    try:
        as_role.use(str(as_role.authenticate("auth/approle/login", login)["client_token"]))
        found = as_role.read(wanted)
        reads = "it is there" if found is not None else "allowed; `phalanx secrets sync` makes it"
        may_write = _writes(as_role, wanted)
        as_role.revoke()
    except VaultFailureError:
        raise
    except VaultRefusalError as error:
        reads, may_write = f"refused: {error.found or error.what}", False
    as_writer.use(kept.token)
    token: dict[str, Any]
    try:
        told = as_writer.read("auth/token/lookup-self") or {}
        token = {
            "ttl": int(told.get("ttl", 0)),
            "made_for": int(told.get("creation_ttl", 0)),
            "writes": _writes(as_writer, wanted),
        }
    except VaultFailureError:
        raise
    except VaultRefusalError as error:
        token = {"ttl": 0, "made_for": 0, "writes": False, "error": error.found or error.what}
    version = (mounted.get("options") or {}).get("version")
    return {
        "path": path,
        "mount": {
            "type": mounted.get("type"),
            "version": version,
        },
        "approle": (api.read(f"sys/auth/{APPROLE}") or {}).get("type"),
        "max_lease_ttl": int((api.read("sys/auth/token/tune") or {}).get("max_lease_ttl", 0)),
        "policies": policies,
        "role": {
            "token_policies": list(role.get("token_policies", ())),
            "secret_id_num_uses": role.get("secret_id_num_uses"),
            "secret_id_ttl": role.get("secret_id_ttl"),
        },
        "reads": reads,
        "role_writes": may_write,
        "token": token,
    }


def holds(as_role: Api, as_writer: Api, kept: Credentials) -> bool:
    """Whether credentials of an earlier hand-over still get in.

    Raises
    ------
    VaultFailureError
        Vault cannot tell.
    """
    login = {"role_id": kept.role_id, "secret_id": kept.secret_id}
    try:
        as_role.use(str(as_role.authenticate("auth/approle/login", login)["client_token"]))
        as_role.revoke()
        as_writer.use(kept.token)
        return as_writer.read("auth/token/lookup-self") is not None
    except VaultFailureError:
        raise
    except VaultRefusalError:
        return False


def _writes(api: Api, path: str) -> bool:
    told = api.write("sys/capabilities-self", {"paths": [path]})
    may = set(told.get(path, told.get("capabilities", ())))
    return bool({"create", "update", "root"} & may)
