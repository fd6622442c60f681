"""What ``verify`` says of the databases' passwords: those that Vault keeps are let in."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import pytest

from provision.proof import Cluster, Ground, Login, NotProvenError
from provision.proofs.database_passwords import DatabasePasswordsProof
from provision.site import Site
from tests.support.cases import make_context, make_site

SETTINGS: Mapping[str, Any] = {
    "primary": "n1",
    "roles": {"app": {}, "reader": {}, "idle": {}},
    "databases": {"app": {"owner": "app", "users": ["reader"]}},
}


def site(**settings: Any) -> Site:
    changes = {"postgresql": {**SETTINGS, **settings}, "dns": {"zone": "site.example.org"}}
    return make_site(changes, "vault")


class KeepingVault:
    """A Vault that keeps what it was given."""

    def __init__(self, kept: Mapping[str, Mapping[str, str]]) -> None:
        self.kept = kept

    def read(self, path: str) -> Mapping[str, Any] | None:
        return {"data": self.kept[path], "metadata": {}} if path in self.kept else None


class Asked:
    """Ground whose pods reach a server that knows the password ``right`` alone."""

    def __init__(self, kept: Mapping[str, Mapping[str, str]]) -> None:
        self.site_context = make_context(site())
        self.kept = kept
        self.commands: list[str] = []
        self.logins: list[Login] = []

    def vault(self, urls: Iterable[str]) -> KeepingVault:
        assert list(urls)
        return KeepingVault(self.kept)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        self.commands += [item["spec"]["containers"][0]["command"][-1] for item in objects]

    def get(self, manifest: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**manifest, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}

    def ask(self, pod: str, port: int, login: Login, statement: str) -> Sequence[Sequence[Any]]:
        assert (pod, port) == ("relay", 5432)
        self.logins.append(login)
        if login.password != "right":
            raise NotProvenError("refused", found="password authentication failed")
        return [[login.user, login.database]]

    def until(self, what: str, look: Callable[[], str], seconds: float) -> None:
        assert look() == "", (what, seconds)


def kept(user: str, databases: str) -> dict[str, str]:
    return {
        "username": user,
        "password": "right",
        "host": "postgresql.site.example.org",
        "port": "5433",
        "databases": databases,
    }


KEPT = {
    "secret/data/postgresql/app": kept("app", "app"),
    "secret/data/postgresql/reader": kept("reader", "app"),
    "secret/data/postgresql/idle": kept("idle", ""),
}


def prove(ground: Asked) -> str:
    return DatabasePasswordsProof().prove(cast("Ground", ground), "")


def test_each_role_logs_in_through_a_pod_with_what_vault_keeps() -> None:
    ground = Asked(KEPT)
    assert prove(ground) == (
        "a pod is let in at postgresql.site.example.org with the passwords in Vault of app, reader"
    )
    assert [(login.user, login.database) for login in ground.logins] == [
        ("app", "app"),
        ("reader", "app"),
    ]
    [command] = ground.commands
    assert "nc -l -p 5432" in command
    assert "nslookup postgresql.site.example.org" in command
    assert "right" not in command
    assert "right" not in repr(ground.logins)


def test_a_password_that_is_not_let_in_or_not_there_is_told() -> None:
    with pytest.raises(NotProvenError, match="refused"):
        prove(
            Asked(
                {**KEPT, "secret/data/postgresql/app": {**kept("app", "app"), "password": "wrong"}}
            )
        )
    with pytest.raises(NotProvenError, match="Vault has no secret secret/postgresql/app"):
        prove(Asked({}))


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        (site(), 1),
        (site(networks=["192.0.2.0/24", "10.0.0.0/8"]), 1),
        (site(networks=["192.0.2.0/24"]), 0),
        (site(networks=["10.0.0.0/8"]), 0),
        (site(databases={}), 0),
        (make_site({"postgresql": SETTINGS}), 0),
    ],
)
def test_only_where_vault_keeps_them_and_pods_are_let_in(wanted: Site, count: int) -> None:
    cluster = cast("Cluster", None)
    assert len(DatabasePasswordsProof().cases(cluster, wanted)) == count
