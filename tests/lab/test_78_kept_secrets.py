"""A real Vault, from the bundle, is given the platform's secrets, and they are people's then."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from provision.adapters.keptsecrets import kept_secrets
from provision.adapters.vault import VaultReader
from provision.adapters.vaultsecrets import VaultSecrets
from provision.errors import SecretsError, UnreachableError
from provision.phases.platform import Platform
from provision.privatefiles import write_private
from provision.secrets import SecretStore
from provision.site import Site
from provision.vault.names import OWN_USER, password_of
from tests.lab.servedvault import PASSWORD, served
from tests.support.cases import make_site

pytestmark = pytest.mark.services

WEB = "secret/platform/web"
CLIENT = "secret/platform/clients/web"


def site_with(secrets: Mapping[str, Any]) -> Site:
    return make_site({"platform": {"secrets": secrets}}, "platform", "argocd", "vault")


def test_secrets_are_begun_once_and_changed_by_people_alone(tmp_path: Path) -> None:
    with served(tmp_path) as vault:
        store = SecretStore(tmp_path / "store", site="unit")
        write_private(tmp_path / "store/site-ca.crt", vault.ca.read_bytes())
        write_private(tmp_path / "store" / password_of(OWN_USER), PASSWORD.encode())
        keeper = VaultSecrets(VaultReader(store))
        platform = Platform()
        kv = vault.client(vault.root).secrets.kv.v2

        def arguments(site: Site) -> Mapping[str, Any]:
            return {**platform.vault_secrets(site), "members": {"n1": vault.url}}

        def read(path: str) -> Mapping[str, str]:
            answer = kv.read_secret_version(
                path.removeprefix("secret/"), mount_point="secret", raise_on_deleted_version=False
            )
            found: Mapping[str, str] = answer["data"]["data"]
            return found

        first = site_with({WEB: {"fields": ["cookie"], "encoding": "base64url"}})
        assert keeper.read(arguments(first)) == {"error": "", "found": {WEB: "missing"}}
        store.ensure(platform.secrets(first))
        assert keeper.keep(arguments(first)) == [WEB]
        made = store.read(f"platform/{WEB}.cookie").decode()
        assert read(WEB) == {"cookie": made}
        assert made == made.strip()

        kv.create_or_update_secret("platform/web", secret={"cookie": "x"}, mount_point="secret")
        assert keeper.read(arguments(first))["found"] == {WEB: "kept"}
        assert keeper.keep(arguments(first)) == []
        more = site_with({WEB: {"fields": ["cookie", "token"]}, CLIENT: {"fields": ["secret"]}})
        assert keeper.read(arguments(more))["found"] == {WEB: "incomplete", CLIENT: "missing"}
        store.ensure(platform.secrets(more))
        assert keeper.keep(arguments(more)) == [WEB, CLIENT]
        assert read(WEB)["cookie"] == "x"
        assert len(read(WEB)["token"]) == len(read(CLIENT)["secret"]) == 64

        kv.delete_latest_version_of_secret("platform/web", mount_point="secret")
        assert keeper.read(arguments(first))["found"] == {WEB: "missing"}
        assert keeper.keep(arguments(first)) == [WEB]
        assert read(WEB) == {"cookie": made}, "what is gone comes back as it was made"
        assert read(CLIENT), "what the site does not name any more stays"

        members, kept = {"n1": vault.url}, kept_secrets(store)
        kv.create_or_update_secret("argocd/github", secret={"secret": "of people"})
        assert kept(members, "secret/argocd/github", "secret") == b"of people"
        with pytest.raises(SecretsError, match="Vault has no id at secret/argocd/github"):
            kept(members, "secret/argocd/github", "id")
        with pytest.raises(SecretsError, match="Vault has no secret at secret/argocd/none"):
            kept(members, "secret/argocd/none", "secret")
        vault.client(vault.root).sys.seal()
        with pytest.raises(UnreachableError, match="no member of Vault serves"):
            kept(members, "secret/argocd/github", "secret")
