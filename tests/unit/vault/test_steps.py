"""Vault is brought up once, and whatever a run dies at, no keys are lost."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from provision.errors import DiskFullError, SecretsError, VaultRefusalError
from provision.gates import Gates
from provision.vault.api import Member
from provision.vault.keys import Keys, KeySink
from provision.vault.names import OWN_USER
from provision.vault.steps import (
    STATE_LEFT,
    Sharing,
    answering,
    begin_anew,
    configure,
    despite_elections,
    initialise,
    joined_in_vain,
    refuse_strangers,
    unseal,
    wait_until_active,
    withdraw,
)
from tests.support.vault import ROOT, Deaths, FakeStore, FakeVault, Killed

MACHINE = "n1"
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

    def __init__(self, seal: str = "shamir") -> None:
        self.deaths = Deaths()
        self.store = FakeStore(self.deaths)
        self.vault = FakeVault(self.deaths, seal)
        self.sharing = replace(SHARING, recovery=seal == "transit")
        self.marker = ""
        self.aside: list[tuple[str, ...]] = []

    def up(self, attempt: str, moment: int = 0) -> None:
        """The role's tasks in order; the process ends at ``moment`` where there is one."""
        self.deaths.moment, self.deaths.passed = moment, 0
        sink = KeySink(self.store)
        if sink.read() is None:
            sink.begin(attempt)
        keys = sink.read()
        assert keys is not None
        if not keys.told and begin_anew(keys, MACHINE, answering(self.vault)):
            assert self.marker == keys.attempt, "only a marked Vault is begun anew"
            self.deaths.pass_by()
            self.aside.append(self.vault.shares)
            self.vault.empty()
            self.deaths.pass_by()
            sink.note_asked("")
        elif not keys.told:
            self.marker = keys.attempt
            self.deaths.pass_by()
        initialise(self.vault, sink, self.sharing, MACHINE)
        told = sink.read()
        assert told is not None
        assert told.told
        self.marker = ""
        self.deaths.pass_by()
        unseal(self.vault, told.shares if told.usable else ())
        configure(self.vault, sink, WANTED, PASSWORDS, OWN_USER)


def moments(seal: str = "shamir") -> list[tuple[str, int]]:
    site = Site(seal)
    site.up("a1")
    return [(seal, moment) for moment in range(1, site.deaths.passed + 1)]


@pytest.mark.parametrize(("seal", "moment"), [*moments(), *moments("transit")])
def test_a_run_that_dies_anywhere_loses_no_keys(seal: str, moment: int) -> None:
    site = Site(seal)
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


@pytest.mark.parametrize(("seal", "moment"), [*moments(), *moments("transit")])
def test_a_run_that_dies_while_it_begins_anew_loses_no_keys(seal: str, moment: int) -> None:
    """Vault refuses first, and the run after that is killed."""
    site = Site(seal)
    site.vault.refusing = True
    with pytest.raises(VaultRefusalError):
        site.up("a1")
    site.vault.refusing = False
    with pytest.raises(Killed):
        site.up("a2", moment)
    site.up("a3")
    keys = KeySink(site.store).read()
    assert keys is not None
    assert keys.shares == site.vault.shares
    assert site.vault.held == WANTED


def test_vault_that_refused_its_initialisation_is_begun_anew() -> None:
    site = Site()
    site.vault.refusing = True
    for attempt in ("a1", "a2"):
        with pytest.raises(VaultRefusalError) as caught:
            site.up(attempt)
        assert caught.value.found == "it has no valid encryption keys", "and not what raft says"
    site.vault.refusing = False
    site.up("a3")
    assert site.vault.held == WANTED


def test_without_beginning_anew_raft_lets_nobody_on() -> None:
    site = Site()
    site.vault.refusing = True
    sink = KeySink(site.store)
    sink.begin("a1")
    for words in ("no valid encryption keys", STATE_LEFT):
        with pytest.raises(VaultRefusalError) as caught:
            initialise(site.vault, sink, SHARING, MACHINE)
        assert words in caught.value.found


SEALED = Member(initialized=True, seal="shamir")
EMPTY = Member(seal="shamir")


class Later(FakeVault):
    """Its member becomes active when it is looked at the third time."""

    looks = 0

    def member(self) -> Member:
        self.looks += 1
        return replace(SEALED, sealed=False, active=self.looks > 2)


def test_nobody_is_joined_before_one_is_active() -> None:
    lead = Later()
    wait_until_active([FakeVault(), lead], gates=partial(Gates, pause=lambda _: None))
    assert lead.looks == 3


@pytest.mark.parametrize(
    ("asked", "member", "begins_anew"),
    [
        ("", EMPTY, False),
        ("n2", EMPTY, False),
        ("n1", EMPTY, True),
        ("n1", SEALED, True),
        # It unseals itself, which says nothing about who has the keys.
        ("n1", Member(initialized=True, sealed=False, seal="transit"), True),
    ],
)
def test_only_who_was_asked_begins_anew(asked: str, member: Member, begins_anew: bool) -> None:
    assert begin_anew(Keys("a1", asked=asked), MACHINE, member) == begins_anew


@pytest.mark.parametrize(
    ("asked", "member", "said"),
    [
        ("", SEALED, "never asked it"),
        ("n2", SEALED, "never asked it"),
        ("n1", replace(SEALED, sealed=False), "it is unsealed"),
    ],
)
def test_a_vault_whose_keys_somebody_may_have_is_not_begun_anew(
    asked: str, member: Member, said: str
) -> None:
    with pytest.raises(VaultRefusalError, match="somebody may have them") as caught:
        begin_anew(Keys("a1", asked=asked), MACHINE, member)
    assert said in caught.value.found
    assert "provision secrets import FILE" in caught.value.fix


def test_a_member_that_does_not_answer_is_not_taken_for_a_new_one() -> None:
    vault = FakeVault()
    assert answering(vault).answers
    vault.error = "Connection refused"
    with pytest.raises(VaultRefusalError, match="whether it was ever used is not known"):
        answering(vault)


def test_no_vault_is_begun_beside_another_one() -> None:
    site = Site()
    refuse_strangers({"n1": FakeVault(), "n2": site.vault})
    site.up("a1")
    with pytest.raises(VaultRefusalError, match="members are initialised") as caught:
        refuse_strangers({"n1": FakeVault(), "n2": site.vault})
    assert caught.value.where == "n2"
    site.vault.error = "Connection refused"
    with pytest.raises(VaultRefusalError, match="does not answer"):
        refuse_strangers({"n1": FakeVault(), "n2": site.vault})


def test_keys_that_are_kept_are_not_asked_for() -> None:
    sink = KeySink(FakeStore())
    with pytest.raises(SecretsError, match="no attempt"):
        sink.note_asked(MACHINE)
    sink.keep(Keys("a1", ("x",), 1))
    with pytest.raises(SecretsError, match="no attempt"):
        sink.note_asked(MACHINE)


def test_a_member_that_joined_in_vain_is_known_by_what_vault_says() -> None:
    said = f"error bootstrapping cluster: {STATE_LEFT}"
    assert joined_in_vain(VaultRefusalError("Vault refuses", found=said))
    assert not joined_in_vain(VaultRefusalError("Vault refuses", found="invalid key"))


def test_keys_that_could_not_be_kept_are_those_of_a_vault_that_is_begun_anew() -> None:
    site = Site()
    site.store.full_after = 2
    with pytest.raises(DiskFullError):
        site.up("a1")
    assert site.vault.generation == 1, "Vault was initialised, and nobody has its keys"
    site.store.full_after = 0
    site.up("a2")
    keys = KeySink(site.store).read()
    assert keys is not None
    assert keys.shares == site.vault.shares
    assert site.vault.generation == 2


@pytest.mark.parametrize("moment", range(1, 5))
def test_a_run_that_dies_while_it_puts_keys_aside_has_them_still(moment: int) -> None:
    store = FakeStore()
    kept = Keys("a1", ("x", "y"), 2)
    KeySink(store).keep(kept)
    store.deaths = Deaths(moment)
    with pytest.raises(Killed):
        KeySink(store).put_aside("a2")
    found = [KeySink(store, name).read() for name in store.names()]
    assert kept in found


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
        initialise(site.vault, sink, SHARING, MACHINE)
    assert site.vault.generation == 0
    sink.begin("a1")
    assert initialise(site.vault, sink, SHARING, MACHINE)
    assert not site.vault.held


def test_a_vault_whose_keys_are_elsewhere_is_left_alone() -> None:
    site = Site()
    site.up("a1")
    with pytest.raises(VaultRefusalError, match="keys are not in the site's secrets"):
        initialise(site.vault, KeySink(FakeStore()), SHARING, MACHINE)


def test_what_another_vault_unseals_has_a_recovery_key() -> None:
    site = Site("transit")
    site.up("a1")
    kept = KeySink(site.store).read()
    assert kept is not None
    assert (kept.kind, kept.usable, len(kept.shares)) == ("recovery", False, 5)
    assert replace(kept, encrypted=True).kind == "encrypted-recovery"


def test_a_vault_is_not_asked_for_keys_of_the_other_kind() -> None:
    site = Site("transit")
    sink = KeySink(site.store)
    sink.begin("a1")
    with pytest.raises(VaultRefusalError):
        initialise(site.vault, sink, SHARING, MACHINE)


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


def test_shares_of_another_vault_do_not_spoil_the_right_ones() -> None:
    vault = FakeVault()
    told = vault.initialise(5, 3, ())
    vault.seal()
    vault.unseal("share of another")
    assert unseal(vault, told["shares"])
    assert vault.member().serves


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


def test_a_step_is_begun_again_where_another_leader_was_chosen() -> None:
    refusals = [
        "failed to persist plugin entry: node is not the leader",
        "failed to update auth table: leadership lost while committing log",
    ]
    waited = []

    def step() -> bool:
        if refusals:
            raise VaultRefusalError("Vault refuses", found=refusals.pop())
        return True

    assert despite_elections(step, lambda: waited.append("for a leader"))
    assert len(waited) == 2
    refusals.append("permission denied")
    with pytest.raises(VaultRefusalError, match="permission denied"):
        despite_elections(step, lambda: None)
    refusals.extend(["node is not the leader"] * 10)
    with pytest.raises(VaultRefusalError, match="not the leader"):
        despite_elections(step, lambda: None)
