"""Whatever a hand-over dies of, the next one leaves no credentials that nobody has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from provision.errors import (
    OperatorError,
    SecretsError,
    UsageError,
    VaultFailureError,
    VaultRefusalError,
)
from provision.phalanx import folder as handed
from provision.phalanx.renewal import renew
from provision.phalanx.vaultside import Credentials, holds
from tests.support.approles import Approles
from tests.support.vault import Deaths, Killed

PATH = "phalanx/observatory"
OWN = {"path": PATH, "site": "stella", "installed": None}


def files(given: Credentials, own: Mapping[str, Any], static: bytes | None) -> Mapping[str, bytes]:
    return {
        handed.OWN: json.dumps(own).encode(),
        "environment": given.secret_id.encode(),
        handed.STATIC: static or b"a: b\n",
    }


def unwritable(
    given: Credentials, own: Mapping[str, Any], static: bytes | None
) -> Mapping[str, bytes]:
    del given, own, static
    raise SecretsError("the secret store is shut")


def hand_over(vault: Approles, place: Path, *, new: bool, write: Any = files) -> Credentials:
    before = handed.earlier(place)
    kept = None if new else handed.kept_credentials(before)
    given, own = renew(vault, place, before, OWN, kept, write)
    assert handed.earlier(place) == own
    return given


def only(vault: Approles, kept: Credentials) -> bool:
    return (list(vault.secret_ids), list(vault.tokens)) == (
        [kept.secret_id_accessor],
        [kept.accessor],
    )


class ForGood(Deaths):
    """What is killed takes nothing back either."""

    def pass_by(self) -> None:
        self.passed += 1
        if self.passed >= self.moment:
            raise Killed


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "handed"


def test_new_credentials_take_the_place_of_the_old_ones(place: Path) -> None:
    vault = Approles()
    old = hand_over(vault, place, new=True)
    assert only(vault, old)
    assert hand_over(vault, place, new=False) == old
    new = hand_over(vault, place, new=True)
    assert new != old
    assert only(vault, new)


def test_new_credentials_have_no_limit_that_was_set_before(place: Path) -> None:
    vault = Approles()
    role = "auth/approle/role/observatory"
    vault.write(role, {"secret_id_ttl": 3600, "secret_id_num_uses": 5})
    hand_over(vault, place, new=True)
    now = vault.read(role)
    assert now is not None
    assert (now["secret_id_ttl"], now["secret_id_num_uses"]) == (0, 0)


def test_a_run_that_is_killed_is_finished_by_the_next_one(tmp_path: Path) -> None:
    moment = 0
    while True:
        moment += 1
        place = tmp_path / str(moment) / "handed"
        vault = Approles()
        hand_over(vault, place, new=True)
        vault.deaths = ForGood(moment)
        try:
            hand_over(vault, place, new=True)
        except Killed:
            vault.deaths = Deaths()
        else:
            break
        assert only(vault, hand_over(vault, place, new=False))
    assert moment > 10


def test_a_first_run_that_dies_leaves_no_token(place: Path) -> None:
    vault = Approles()
    vault.refusing = ("observatory/secret-id",)
    with pytest.raises(OperatorError):
        hand_over(vault, place, new=True)
    assert vault.tokens
    vault.refusing = ()
    assert only(vault, hand_over(vault, place, new=True))


def test_static_secrets_that_others_may_read_are_refused_before_anything_is_made(
    place: Path,
) -> None:
    vault = Approles()
    old = hand_over(vault, place, new=True)
    (place / handed.STATIC).chmod(0o644)
    with pytest.raises(SecretsError, match="other users"):
        hand_over(vault, place, new=True)
    assert only(vault, old)


def test_what_nobody_was_given_is_taken_back(place: Path) -> None:
    vault = Approles()
    old = hand_over(vault, place, new=True)
    with pytest.raises(SecretsError, match="store is shut"):
        hand_over(vault, place, new=True, write=unwritable)
    assert only(vault, old)
    assert handed.earlier(place)["revoking"] is False


def test_what_cannot_be_taken_back_does_not_hide_why_it_should(place: Path) -> None:
    vault = Approles()
    hand_over(vault, place, new=True)
    vault.refusing = ("destroy", "revoke-accessor")
    with pytest.raises(SecretsError, match="store is shut") as failed:
        hand_over(vault, place, new=True, write=unwritable)
    [also] = failed.value.also
    assert also.startswith("credentials that were made may be left in Vault")
    vault.refusing = ()
    assert only(vault, hand_over(vault, place, new=False))


class Saying(Approles):
    """Answers every login with the same error."""

    def __init__(self, error: OperatorError) -> None:
        super().__init__()
        self.error = error

    def authenticate(
        self, path: str, body: Mapping[str, Any], *, token: str | None = None
    ) -> Mapping[str, Any]:
        raise self.error


def test_a_vault_that_fails_says_nothing_of_credentials(place: Path) -> None:
    made = hand_over(Approles(), place, new=True)
    refusing = Saying(VaultRefusalError("Vault refuses"))
    assert not holds(refusing, refusing, made)
    failing = Saying(VaultFailureError("Vault cannot"))
    with pytest.raises(VaultFailureError):
        holds(failing, failing, made)


@pytest.mark.parametrize("other", [("nova", PATH), ("stella", "phalanx/another")])
def test_what_was_handed_over_for_another_is_left_alone(
    place: Path, other: tuple[str, str]
) -> None:
    hand_over(Approles(), place, new=True)
    before = handed.earlier(place)
    handed.refuse_others(place, before, "stella", PATH)
    handed.refuse_others(place, {}, *other)
    with pytest.raises(UsageError, match="another site or environment") as refused:
        handed.refuse_others(place, before, *other)
    assert "--output ANOTHER" in refused.value.fix
