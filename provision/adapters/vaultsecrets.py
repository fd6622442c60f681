"""Keeps secrets of the site in its Vault, for those who use what they are for.

A secret is described without its values: ``fields`` as plain data, and as ``secrets`` the names of
the site's own secrets that are further fields. Those that ``initial`` names are begun with the
site's secret, and belong to the people who keep them in Vault from then on. Other fields, which
others wrote there, stay.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from provision.adapters.vault import Vault, VaultReader
from provision.errors import OperatorError, SecretsError, UnreachableError, VaultRefusalError
from provision.gates import Gates
from provision.phase import GateSpec

ELECTION_SECONDS = 60
"""Seconds within which members elect a leader; they take some ten on machines with little to do."""
ATTEMPTS = 5
"""How often a secret is read and written anew that others write at the same moment."""
_ELECTED = "a leader of Vault"


class VaultSecrets:
    """The secrets that are kept in the site's Vault.

    Parameters
    ----------
    vault
        Reads the site's Vault.
    pause
        How to let seconds pass.
    """

    def __init__(self, vault: VaultReader, *, pause: Callable[[float], None] = time.sleep) -> None:
        self.vault = vault
        self._gates = Gates({_ELECTED: self._elected}, pause=pause)

    def read(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """How each of ``secrets`` stands in the Vault of ``members``, by its path.

        ``kept``, ``missing``, ``another`` or ``incomplete`` (something initial is not there), in
        ``found``; or as ``error``, why nobody knows.
        """
        try:
            api = self._active(arguments["members"])
            found = {
                path: self._state(api, path, secret)
                for path, secret in arguments["secrets"].items()
            }
        except OperatorError as error:
            return {"error": error.found or error.what, "found": {}}
        return {"error": "" if api else "no member of Vault serves", "found": found if api else {}}

    def value(self, members: Mapping[str, str], path: str, field: str) -> bytes:
        """A field of a secret that people keep in Vault.

        Raises
        ------
        SecretsError
            There is no such secret, or it has no such field.
        UnreachableError
            No member of Vault serves.
        """
        api = self._active(members)
        if api is None:
            raise UnreachableError(
                "no member of Vault serves, where a secret is to be read",
                where=path,
                fix="provision vault status",
            )
        found = api.secret(path) or {}
        if not found.get(field):
            raise SecretsError(
                f"Vault has no {field} at {path}",
                found=", ".join(sorted(found)) or "nothing at all",
                wanted="the secret that the site file reads from there",
                fix=f"vault kv {'patch' if found else 'put'} {path} {field}=-; then: provision up",
            )
        return str(found[field]).encode()

    def keep(self, arguments: Mapping[str, Any]) -> list[str]:
        """Write what is missing or another; the paths of what was written.

        Nothing is written where Vault does not serve; ``plan`` tells that then. One that is
        electing its leader is waited for.

        Raises
        ------
        DeadlineError
            It did not elect one.
        VaultRefusalError
            Others write the same secret without an end.
        """
        gate = GateSpec(_ELECTED, ELECTION_SECONDS, arguments)
        self._gates.wait(gate, lambda _: None, lambda: False)
        api = self._active(arguments["members"])
        if api is None:
            return []
        written = []
        for path, secret in arguments["secrets"].items():
            if self._state(api, path, secret) != "kept":
                self._write(api, path, secret)
                written.append(path)
        return written

    def _write(self, api: Vault, path: str, secret: Mapping[str, Any]) -> None:
        """Write what is wanted over what there is, without undoing what others write meanwhile."""
        for _ in range(ATTEMPTS):
            newest, found = api.versioned_secret(path)
            begun = self._values(secret.get("initial", {}))
            if api.keep_secret(path, {**begun, **(found or {}), **self._wanted(secret)}, newest):
                return
        raise VaultRefusalError(
            "a secret of Vault is written by somebody else all the time",
            where=path,
            found=f"in {ATTEMPTS} attempts another version each between reading and writing it",
            why="what they write would be undone",
            fix="find out who writes it; then: provision up",
        )

    def _elected(self, arguments: Mapping[str, Any]) -> tuple[bool, str]:
        """Whether one is active; or none serves, so that none will be."""
        members = {
            name: self.vault.member(url).member() for name, url in arguments["members"].items()
        }
        serving = [name for name, member in members.items() if member.serves]
        elected = not serving or any(member.active for member in members.values())
        return elected, f"{', '.join(serving)} unsealed, and none of them is the leader"

    def _active(self, members: Mapping[str, str]) -> Vault | None:
        """The member that takes writes, with our token; None where there is none."""
        active = [
            api for url in members.values() if (api := self.vault.member(url)).member().active
        ]
        return self.vault.log_in(active[0]) if active else None

    def _state(self, api: Vault | None, path: str, secret: Mapping[str, Any]) -> str:
        found = api.secret(path) if api else None
        if found is None:
            return "missing"
        wanted = self._wanted(secret)
        if {name: found.get(name) for name in wanted} != wanted:
            return "another"
        return "incomplete" if secret.get("initial", {}).keys() - found.keys() else "kept"

    def _wanted(self, secret: Mapping[str, Any]) -> dict[str, str]:
        return {**secret.get("fields", {}), **self._values(secret.get("secrets", {}))}

    def _values(self, names: Mapping[str, str]) -> dict[str, str]:
        return {field: self.vault.secrets.read(name).decode() for field, name in names.items()}
