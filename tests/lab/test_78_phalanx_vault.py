"""A real Vault, from the bundle, holds what Phalanx's installer makes, by the installer's calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hvac.exceptions import Forbidden

from provision.phalanx import preflight, vaultside
from provision.phalanx.names import TOKEN_SECONDS
from tests.lab.servedvault import Served, served

pytestmark = pytest.mark.services

PATH = "phalanx/observatory"


def told(vault: Served, kept: vaultside.Credentials) -> dict[str, preflight.Row]:
    found = vaultside.facts(vault.api, vault.member(), vault.member(), PATH, kept)
    return {row.what: row for row in preflight.vault_rows(found)}


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


@pytest.fixture
def short_lived(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path, "768h") as running:
        yield running


def test_what_is_made_is_what_the_installer_asks_for(vault: Served) -> None:
    made = vaultside.make_credentials(vault.api, PATH)
    assert [row for row in told(vault, made).values() if not row.good] == []
    writer = vault.client(made.token)
    kv = writer.secrets.kv.v2
    kv.create_or_update_secret(f"{PATH}/argocd", secret={"a": "b"}, mount_point="secret")
    assert kv.list_secrets(PATH, mount_point="secret")["data"]["keys"] == ["argocd"]
    reader = vault.client("")
    reader.auth.approle.login(made.role_id, made.secret_id)
    secret = reader.secrets.kv.v2.read_secret_version(
        f"{PATH}/argocd", mount_point="secret", raise_on_deleted_version=True
    )
    assert secret["data"]["data"] == {"a": "b"}
    with pytest.raises(Forbidden):
        reader.secrets.kv.v2.create_or_update_secret(
            f"{PATH}/argocd", secret={}, mount_point="secret"
        )
    assert told(vault, made)[f"AppRole reads secret/data/{PATH}/argocd"].found == "it is there"


def test_the_write_token_outlives_who_made_it(vault: Served) -> None:
    made = vaultside.make_credentials(vault.api, PATH)
    told = vault.client(made.token).auth.token.lookup_self()["data"]
    assert told["orphan"]
    assert TOKEN_SECONDS - 60 <= told["ttl"] <= TOKEN_SECONDS
    assert told["policies"] == ["default", f"{PATH}/write"]
    assert vault.api.names("auth/approle/role") == ["observatory"]


def test_the_installer_after_us_changes_nothing_but_the_secret_id(vault: Served) -> None:
    made = vaultside.make_credentials(vault.api, PATH)
    installer = vault.client(vault.root)
    text = vaultside.policy_text(vaultside.read_rules(PATH))
    installer.sys.create_or_update_acl_policy(f"{PATH}/read", text)
    installer.auth.approle.create_or_update_approle(
        role_name="observatory", token_policies=[f"{PATH}/read"], token_type="service"
    )
    assert installer.auth.approle.read_role_id("observatory")["data"]["role_id"] == made.role_id
    assert [row for row in told(vault, made).values() if not row.good] == []


def test_new_credentials_end_the_old_ones_and_only_then(vault: Served) -> None:
    old = vaultside.make_credentials(vault.api, PATH)
    new = vaultside.make_credentials(vault.api, PATH)
    assert vaultside.holds(vault.member(), vault.member(), old)
    assert vaultside.revoke_others(vault.api, PATH, new) == 1
    assert not vaultside.holds(vault.member(), vault.member(), old)
    assert vaultside.holds(vault.member(), vault.member(), new)


def test_a_token_that_is_cut_short_is_told(short_lived: Served) -> None:
    made = vaultside.make_credentials(short_lived.api, PATH)
    rows = told(short_lived, made)
    assert not rows["Vault max_lease_ttl"].good
    assert rows["Vault max_lease_ttl"].found == "768h"
    assert not rows["write token lives"].good


def test_secret_ids_of_others_are_seen_and_what_nobody_got_is_taken_back(vault: Served) -> None:
    assert vaultside.secret_ids(vault.api, PATH) == 0
    made = vaultside.make_credentials(vault.api, PATH)
    assert vaultside.secret_ids(vault.api, PATH) == 1
    vaultside.take_back(vault.api, PATH, made)
    assert vaultside.secret_ids(vault.api, PATH) == 0
    assert not vaultside.holds(vault.member(), vault.member(), made)


def test_a_write_token_that_nobody_knows_of_goes_with_the_others(vault: Served) -> None:
    lost = vaultside.make_credentials(vault.api, PATH)
    other = vaultside.make_credentials(vault.api, "phalanx/another")
    new = vaultside.make_credentials(vault.api, PATH)
    vaultside.revoke_others(vault.api, PATH, new)
    for token, lives in ((lost.token, False), (other.token, True), (new.token, True)):
        assert vault.client(token).is_authenticated() is lives
