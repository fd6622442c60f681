"""The part of Vault that hands out AppRoles' secret ids and tokens, and dies when it is told to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from provision.errors import VaultRefusalError
from tests.support.vault import Deaths


class Approles:
    """One member, for whoever may do everything; every request may die before and after."""

    def __init__(self, deaths: Deaths | None = None) -> None:
        self.deaths = deaths or Deaths()
        self.made = 0
        self.refusing: tuple[str, ...] = ()
        """Paths that it refuses to write to."""
        self.written: dict[str, Mapping[str, Any]] = {}
        self.secret_ids: dict[str, str] = {}
        """Secret ids by their accessor."""
        self.tokens: dict[str, str] = {}
        """Display names of the tokens that are there, by their accessor."""

    def use(self, token: str) -> None:
        """Whoever asks may do everything."""

    def revoke(self) -> None:
        """Logins are not kept."""

    def read(self, path: str) -> Mapping[str, Any] | None:
        if path.endswith("/role-id"):
            return {"role_id": "role-of-" + path.split("/")[-2]}
        return self.written.get(path)

    def names(self, path: str) -> Sequence[str]:
        return list(self.tokens if path == "auth/token/accessors" else self.secret_ids)

    def write(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        if path.endswith(self.refusing or ("-",)):
            raise VaultRefusalError("Vault refuses", found=f"not {path}")
        self.deaths.pass_by()
        told = self._wrote(path, body)
        self.deaths.pass_by()
        return told

    def authenticate(
        self, path: str, body: Mapping[str, Any], *, token: str | None = None
    ) -> Mapping[str, Any]:
        del token
        self.made += 1
        told = {"client_token": f"token-{self.made}", "accessor": f"accessor-{self.made}"}
        if path == "auth/token/create-orphan":
            self.deaths.pass_by()
            self.tokens[told["accessor"]] = f"token-{body['display_name']}"
            self.deaths.pass_by()
        return told

    def delete(self, path: str) -> None:
        self.written.pop(path, None)

    def _wrote(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        accessor = body.get("secret_id_accessor", body.get("accessor", ""))
        match path.rpartition("/")[2]:
            case "secret-id":
                self.made += 1
                made = {"secret_id": f"s-{self.made}", "secret_id_accessor": f"sa-{self.made}"}
                if "provision-handoff" not in path:
                    self.secret_ids[made["secret_id_accessor"]] = made["secret_id"]
                return made
            case "destroy":
                del self.secret_ids[accessor]
            case "revoke-accessor":
                del self.tokens[accessor]
            case "lookup-accessor":
                return {"display_name": self.tokens[accessor]}
            case _:
                self.written[path] = {**self.written.get(path, {}), **body}
        return {}
