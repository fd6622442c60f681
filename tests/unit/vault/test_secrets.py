"""Passwords of the site that its Vault keeps for those who use them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from provision.adapters.vault import VaultReader
from provision.adapters.vaultsecrets import VaultSecrets
from provision.errors import SecretsError, VaultRefusalError
from provision.secrets import SecretStore
from provision.vault.api import Member
from tests.support.vault import FakeStore

PATH = "secret/postgresql/app"
FIELDS = {"username": "app", "host": "db.site.example.org"}
ARGUMENTS: Mapping[str, Any] = {
    "members": {"n1": "https://192.0.2.1:8200", "n2": "https://192.0.2.2:8200"},
    "secrets": {PATH: {"fields": FIELDS, "secrets": {"password": "postgresql/role/app"}}},
}


class Keeping:
    """Two members; the second is the active one, unless they are sealed."""

    def __init__(self, *, sealed: bool = False, refused: str = "", electing: float = 0) -> None:
        self.sealed = sealed
        self.electing = electing
        """Looks at it until it has a leader."""
        self.refused = refused
        self.kept: dict[str, Mapping[str, Any]] = {}
        self.versions: Counter[str] = Counter()
        self.overtaking: list[Mapping[str, Any]] = []
        """What somebody else writes just before each write."""
        self.secrets = FakeStore()
        self.secrets.content["postgresql/role/app"] = b"the real value"
        self.url = ""

    def member(self, url: str = "") -> Any:
        if url:
            self.url = url
            return self
        self.electing -= 1
        active = not self.sealed and self.electing < 0 and "192.0.2.2" in self.url
        return Member(initialized=True, sealed=self.sealed, active=active)

    def log_in(self, api: Keeping) -> Keeping:
        if self.refused:
            raise VaultRefusalError("Vault refuses", found=self.refused)
        return api

    def secret(self, path: str) -> Mapping[str, Any] | None:
        return self.kept.get(path)

    def versioned_secret(self, path: str) -> tuple[int, Mapping[str, Any] | None]:
        return self.versions[path], self.kept.get(path)

    def keep_secret(self, path: str, fields: Mapping[str, Any], after: int) -> bool:
        if self.overtaking:
            self.kept[path] = {**self.kept.get(path, {}), **self.overtaking.pop()}
            self.versions[path] += 1
        if after != self.versions[path]:
            return False
        self.kept[path] = dict(fields)
        self.versions[path] += 1
        return True


def secrets_of(vault: Keeping) -> VaultSecrets:
    return VaultSecrets(cast("VaultReader", vault), pause=lambda _: None)


def test_what_is_missing_or_another_is_written_and_other_fields_stay() -> None:
    vault = Keeping()
    secrets = secrets_of(vault)
    assert secrets.read(ARGUMENTS) == {"error": "", "found": {PATH: "missing"}}
    assert secrets.keep(ARGUMENTS) == [PATH]
    assert vault.kept[PATH] == {**FIELDS, "password": "the real value"}
    vault.kept[PATH] = {"password": "mine", "note": "theirs"}
    told = secrets.read(ARGUMENTS)
    assert told == {"error": "", "found": {PATH: "another"}}
    assert "mine" not in str(told)
    assert secrets.keep(ARGUMENTS) == [PATH]
    assert vault.kept[PATH] == {**FIELDS, "password": "the real value", "note": "theirs"}
    assert secrets.read(ARGUMENTS) == {"error": "", "found": {PATH: "kept"}}
    assert secrets.keep(ARGUMENTS) == []


def test_what_others_write_at_the_same_moment_stays() -> None:
    vault = Keeping()
    vault.overtaking = [{"second": "theirs"}, {"first": "theirs"}]
    assert secrets_of(vault).keep(ARGUMENTS) == [PATH]
    wanted = {**FIELDS, "password": "the real value", "first": "theirs", "second": "theirs"}
    assert vault.kept[PATH] == wanted


def test_one_that_is_written_without_an_end_is_left_to_others() -> None:
    vault = Keeping()
    vault.overtaking = [{"count": str(number)} for number in range(9)]
    with pytest.raises(VaultRefusalError, match="all the time") as told:
        secrets_of(vault).keep(ARGUMENTS)
    assert "the real value" not in str(told.value)
    assert "password" not in vault.kept[PATH]


def test_one_that_elects_its_leader_is_waited_for() -> None:
    vault = Keeping(electing=7)
    assert secrets_of(vault).keep(ARGUMENTS) == [PATH]
    assert vault.kept


BEGUN = "secret/platform/web"
INITIAL = {"cookie": "platform/web.cookie", "token": "platform/web.token"}


def begun(*fields: str) -> Mapping[str, Any]:
    initial = {field: INITIAL[field] for field in fields}
    return {**ARGUMENTS, "secrets": {BEGUN: {"initial": initial}}}


def test_what_a_secret_is_begun_with_is_changed_by_people_alone() -> None:
    vault = Keeping()
    secrets = secrets_of(vault)
    told = secrets.read(begun("cookie"))
    assert told == {"error": "", "found": {BEGUN: "missing"}}, "nothing is made yet, and not read"
    vault.secrets.content.update({"platform/web.cookie": b"one", "platform/web.token": b"two"})
    assert secrets.keep(begun("cookie")) == [BEGUN]
    assert vault.kept[BEGUN] == {"cookie": "one"}
    vault.kept[BEGUN] = {"cookie": "mine", "note": "theirs"}
    assert secrets.read(begun("cookie")) == {"error": "", "found": {BEGUN: "kept"}}
    assert secrets.keep(begun("cookie")) == []
    assert secrets.read(begun("cookie", "token"))["found"] == {BEGUN: "incomplete"}
    assert secrets.keep(begun("cookie", "token")) == [BEGUN]
    assert vault.kept[BEGUN] == {"cookie": "mine", "note": "theirs", "token": "two"}
    assert secrets.read({**ARGUMENTS, "secrets": {}}) == {"error": "", "found": {}}


@pytest.mark.parametrize(
    ("vault", "error"),
    [
        (Keeping(sealed=True), "no member of Vault serves"),
        (Keeping(refused="permission denied"), "permission denied"),
    ],
)
def test_why_nobody_knows_is_told(vault: Keeping, error: str) -> None:
    assert secrets_of(vault).read(ARGUMENTS) == {"error": error, "found": {}}
    assert vault.kept == {}


def test_nothing_is_written_where_vault_does_not_serve() -> None:
    vault = Keeping(sealed=True)
    assert secrets_of(vault).keep(ARGUMENTS) == []
    assert vault.kept == {}


def test_a_site_that_was_never_up_has_no_vault_to_ask(tmp_path: Path) -> None:
    reader = VaultReader(SecretStore(tmp_path / "secrets"))
    members = {"n1": "https://127.0.0.1:1"}
    told = reader.read({"members": members, "configuration": {}})
    assert told["members"]["n1"]["error"] == "not asked yet"
    found = VaultSecrets(reader).read({**ARGUMENTS, "members": members})
    assert found == {"error": "no member of Vault serves", "found": {}}


def test_a_secret_of_people_is_read_and_missed_by_name() -> None:
    vault = Keeping()
    vault.kept[PATH] = {"client_secret": "theirs", "empty": ""}
    secrets = secrets_of(vault)
    members = ARGUMENTS["members"]
    assert secrets.value(members, PATH, "client_secret") == b"theirs"
    for path, field, found in (
        (PATH, "other", "client_secret, empty"),
        (PATH, "empty", "client_secret, empty"),
        ("secret/none", "any", "nothing at all"),
    ):
        with pytest.raises(SecretsError, match=f"Vault has no {field} at {path}") as told:
            secrets.value(members, path, field)
        assert told.value.found == found
        assert "theirs" not in str(told.value)
