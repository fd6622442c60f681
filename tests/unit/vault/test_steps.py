"""Vault is brought up once, and whatever a run dies at, no keys are lost."""

from __future__ import annotations

from typing import Any

import pytest

from provision.errors import SecretsError, VaultRefusalError
from provision.vault.keys import Keys, KeySink
from provision.vault.names import OWN_USER
from provision.vault.steps import Sharing, configure, initialise, unseal, withdraw
from tests.support.vault import ROOT, Deaths, FakeStore, FakeVault, Killed

SHARING = Sharing(5, 3)
PASSWORDS = {"provision": "own-password", "admin": "admin-password"}
WANTED: dict[str, dict[str, Any]] = {
    "auth": {"userpass": {"type": "userpass"}},
    "policies": {"provision-admin": 'path "*" {}\n'},
    "users": {
        "provision": {"token_policies": ["provision-admin"]},
        "admin": {"token_policies": ["provision-admin"]},
    },
}


class Site:
    """One machine with Vault, whose marker and store outlive a run that dies."""

    def __init__(self) -> None:
        self.deaths = Deaths()
        self.store = FakeStore(self.deaths)
        self.vault = FakeVault(self.deaths)
        self.marker = ""
        self.emptied = 0

    def up(self, attempt: str, moment: int = 0) -> None:
        """The role's tasks in order; the process ends at ``moment`` where there is one."""
        self.deaths.moment, self.deaths.passed = moment, 0
        sink = KeySink(self.store)
        if sink.read() is None:
            sink.begin(attempt)
        keys = sink.read()
        assert keys is not None
        if not keys.told:
            if self.vault.member().initialized:
                assert self.marker == keys.attempt, "only a marked Vault is emptied"
                self.vault.empty()
                self.emptied += 1
            self.marker = keys.attempt
            self.deaths.pass_by()
        initialise(self.vault, sink, SHARING)
        told = sink.read()
        assert told is not None
        unseal(self.vault, told.shares)
        configure(self.vault, sink, WANTED, PASSWORDS, OWN_USER)
        self.marker = ""


def moments() -> int:
    site = Site()
    site.up("a1")
    return site.deaths.passed


@pytest.mark.parametrize("moment", range(1, moments() + 1))
def test_a_run_that_dies_anywhere_loses_no_keys(moment: int) -> None:
    site = Site()
    with pytest.raises(Killed):
        site.up("a1", moment)
    before = site.vault.generation
    used = bool(site.vault.held)
    site.up("a2")
    keys = KeySink(site.store).read()
    assert keys is not None
    assert keys.shares == site.vault.shares
    assert not keys.root_token
    assert ROOT not in site.vault.tokens
    assert site.vault.held == WANTED
    assert site.vault.passwords == PASSWORDS
    if used:
        assert site.vault.generation == before, "a Vault that holds something is never made anew"


def test_a_second_run_does_nothing() -> None:
    site = Site()
    site.up("a1")
    before = dict(site.store.content)
    site.up("a2")
    assert site.store.content == before
    assert site.vault.generation == 1


def test_keys_are_kept_before_anything_is_written() -> None:
    site = Site()
    sink = KeySink(site.store)
    with pytest.raises(VaultRefusalError):
        initialise(site.vault, sink, SHARING)
    assert site.vault.generation == 0
    sink.begin("a1")
    assert initialise(site.vault, sink, SHARING)
    assert not site.vault.held


def test_a_vault_whose_keys_are_elsewhere_is_left_alone() -> None:
    site = Site()
    site.up("a1")
    with pytest.raises(VaultRefusalError, match="keys are not in the site's secrets"):
        initialise(site.vault, KeySink(FakeStore()), SHARING)


def test_kept_keys_do_not_give_way_to_another_attempt() -> None:
    sink = KeySink(FakeStore())
    sink.keep(Keys("a1", ("x",), 1))
    with pytest.raises(SecretsError, match="kept already"):
        sink.begin("a2")


def test_keys_that_are_put_aside_are_not_lost() -> None:
    store = FakeStore()
    sink = KeySink(store)
    sink.keep(Keys("a1", ("x",), 1))
    name = sink.put_aside("a2")
    assert KeySink(store, name).read() == Keys("a1", ("x",), 1)
    assert sink.read() == Keys("a2")


def test_damaged_keys_are_an_error_that_shows_none_of_them() -> None:
    store = FakeStore()
    store.content["vault/keys"] = b'{"shares": ["geheim"'
    with pytest.raises(SecretsError) as caught:
        KeySink(store).read()
    assert "geheim" not in str(caught.value)


def test_keys_do_not_show_themselves() -> None:
    assert "geheim" not in repr(Keys("a1", ("geheim",), 1, root_token="geheim"))


def test_what_was_changed_by_hand_is_put_right_and_nothing_else() -> None:
    site = Site()
    site.up("a1")
    site.vault.held["policies"]["provision-admin"] = 'path "nothing" {}\n'
    site.vault.held["policies"]["theirs"] = 'path "x" {}\n'
    done = configure(site.vault, KeySink(site.store), WANTED, PASSWORDS, OWN_USER)
    assert done == ["policy provision-admin is changed, wanted as the site says"]
    assert site.vault.held["policies"]["provision-admin"] == 'path "*" {}\n'
    assert "theirs" in site.vault.held["policies"]


def test_a_sealed_member_is_unsealed_with_as_many_shares_as_it_needs() -> None:
    site = Site()
    site.up("a1")
    site.vault.seal()
    assert unseal(site.vault, site.vault.shares)
    assert not unseal(site.vault, site.vault.shares)


def test_what_is_made_once_is_never_made_again() -> None:
    site = Site()
    site.up("a1")
    more = {**WANTED, "authorities": {"pki": {"common_name": "one"}}, "secret_ids": {"role": {}}}
    passwords = {**PASSWORDS, "role": "secret-id"}
    sink = KeySink(site.store)
    assert configure(site.vault, sink, more, passwords, OWN_USER) == [
        "authority pki is missing, wanted present",
        "secret id of role is missing, wanted present",
    ]
    assert site.vault.passwords["role"] == "secret-id"
    more["authorities"] = {"pki": {"common_name": "two"}}
    assert configure(site.vault, sink, more, passwords, OWN_USER) == []


def test_auth_methods_are_taken_out_and_nothing_else() -> None:
    site = Site()
    site.up("a1")
    site.vault.login(OWN_USER, PASSWORDS[OWN_USER])
    site.vault.configure("auth", "kubernetes", {"type": "kubernetes"})
    gone: dict[str, dict[str, Any]] = {
        "auth": {"kubernetes": {}, "absent": {}},
        "policies": {"provision-admin": ""},
    }
    assert withdraw(site.vault, gone) == ["auth method kubernetes is taken out"]
    assert withdraw(site.vault, gone) == []
    assert set(site.vault.held["auth"]) == {"userpass"}
    assert "provision-admin" in site.vault.held["policies"]
