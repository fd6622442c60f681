"""What the platform phase refuses, and the application that it makes of the settings."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from provision.phase import Context, Unknown
from provision.phases.platform import Platform
from provision.plan import on_request
from provision.secrets import SecretStore
from provision.site import Site
from tests.support.cases import EveryBundle, make_context, make_site, read
from tests.support.fakes import NoSecrets

CERTIFICATE = "certificate of site-ca\n"
URL = "https://git.example.org/platform.git"


def site(**settings: Any) -> Site:
    return make_site({"platform": {"repository": URL, **settings}}, "argocd")


def application(**settings: Any) -> dict[str, Any]:
    project, found = Platform().objects(make_context(site(**settings)))
    assert project["metadata"] == found["metadata"]
    spec: dict[str, Any] = found["spec"]
    assert spec["project"] == project["metadata"]["name"]
    return spec


def test_without_argo_cd_nothing_is_waited_for() -> None:
    """So that a site which names neither any more can take off one after the other."""
    alone = make_site({"platform": {"repository": URL}})
    assert list(Platform().validate_site(alone)) == []
    assert Platform().gates(make_context(alone), []) == ()


def test_a_password_in_the_repository_s_address_is_refused() -> None:
    (problem,) = Platform().validate_site(site(repository="https://bot:hunter2@example.org/x.git"))
    assert problem.startswith("platform.repository has a password in it")
    assert "argocd.repositories.NAME.password" in problem
    assert "hunter2" not in problem


def test_the_bundle_has_to_bring_the_images_that_the_site_names() -> None:
    assert on_request(site()) == ("argocd",)
    assert on_request(site(images=["openldap", "keycloak"])) == ("argocd", "keycloak", "openldap")


SECRETS = {
    "secret/platform/web": {"fields": ["cookie", "token"], "encoding": "base64url"},
    "secret/platform/clients/web": {"fields": ["secret"], "size": 16},
}


def with_secrets(*others: str, secrets: Any = SECRETS) -> Site:
    changes = {"platform": {"repository": URL, "secrets": secrets}}
    return make_site(changes, "argocd", *others)


def test_secrets_need_a_vault_and_its_engine() -> None:
    assert list(Platform().validate_site(with_secrets("vault"))) == []
    assert list(Platform().validate_site(with_secrets())) == [
        "platform.secrets are kept in the site's Vault, and this site has none (vault)"
    ]
    elsewhere = with_secrets("vault", secrets={"platform/web": {"fields": ["cookie"]}})
    assert list(Platform().validate_site(elsewhere)) == [
        (
            "platform.secrets.platform/web is in no engine of the site's Vault: write"
            " secret/platform/web"
        )
    ]


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("secret/a.b", "c"),
        ("secret/a", "b.c"),
        ("/secret/a", "b"),
        ("secret/a/", "b"),
        ("a//b", "c"),
    ],
)
def test_a_secret_has_a_plain_path_and_plain_fields(path: str, field: str) -> None:
    with pytest.raises(ValidationError, match="match pattern"):
        with_secrets("vault", secrets={path: {"fields": [field]}})


def test_each_field_is_a_secret_of_the_site(tmp_path: Path) -> None:
    platform = Platform()
    store = SecretStore(tmp_path / "store", site="unit")
    store.ensure(platform.secrets(with_secrets("vault")))
    found = {name: store.read(name) for name in store.names()}
    assert sorted(found) == [
        "platform/secret/platform/clients/web.secret",
        "platform/secret/platform/web.cookie",
        "platform/secret/platform/web.token",
    ]
    secret, cookie, token = (found[name] for name in sorted(found))
    assert re.fullmatch(rb"[0-9a-f]{32}", secret)
    assert cookie != token
    assert len(urlsafe_b64decode(cookie)) == len(urlsafe_b64decode(token)) == 32
    given = platform.vault_secrets(with_secrets("vault"))["secrets"]
    initial = [name for one in given.values() for name in one["initial"].values()]
    assert sorted(initial) == sorted(found)


def test_secrets_are_asked_for_where_there_are_any() -> None:
    assert Platform().service(make_context(site())) is None
    assert Platform().service(make_context(make_site({}, "platform", "argocd", "vault"))) is None
    asked = Platform().service(make_context(with_secrets("vault")))
    assert asked is not None
    assert (asked.kind, sorted(asked.arguments["secrets"])) == ("vault secrets", sorted(SECRETS))


def test_ignored_differences_must_name_fields() -> None:
    ignored = [{"kind": "Secret", "json_pointers": ["/data"]}, {"group": "apps", "kind": "Job"}]
    assert list(Platform().validate_site(site(ignore_differences=ignored))) == [
        "platform.ignore_differences.1 names no field: give json_pointers, jq_paths or managers"
    ]


def test_it_follows_the_repository_by_itself() -> None:
    spec = application()
    assert spec["source"] == {"repoURL": URL, "path": "platform", "targetRevision": "HEAD"}
    assert spec["syncPolicy"] == {"automated": {"prune": True, "selfHeal": True}}
    assert application(prune=False, self_heal=False)["syncPolicy"] == {
        "automated": {"prune": False, "selfHeal": False}
    }
    assert "syncPolicy" not in application(automated=False)


def test_the_sites_values_are_laid_over_the_charts() -> None:
    spec = application(values={"host": "a.example.org"}, value_files=["values-unit.yaml"])
    assert spec["source"]["helm"] == {
        "valueFiles": ["values-unit.yaml"],
        "valuesObject": {"host": "a.example.org"},
    }


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("authority", {"authority": CERTIFICATE, "vault": {"port": 8200}}),
        ("vault.tls.ca", {"vault": {"port": 8200, "tls": {"ca": CERTIFICATE}}}),
    ],
)
def test_the_sites_authority_is_a_value(name: str, values: Any) -> None:
    settings = {"authority_value": name, "values": {"vault": {"port": 8200}}}
    assert list(Platform().validate_site(site(**settings))) == []
    assert application(**settings)["source"]["helm"] == {"valuesObject": values}


def test_nobody_else_gives_the_authoritys_value() -> None:
    values = {"vault": {"ca": "mine", "port": 8200}}
    assert list(Platform().validate_site(site(authority_value="vault.ca", values=values))) == [
        "platform.values.vault.ca is given by platform.authority_value; leave one of them out"
    ]
    within = site(authority_value="vault.port.ca", values=values)
    assert list(Platform().validate_site(within)) == [
        "platform.values.vault.port is no mapping, and platform.authority_value is to be in it"
    ]


def test_nothing_is_applied_before_the_authority_is_there() -> None:
    platform = Platform()
    context = Context(site(authority_value="authority"), EveryBundle(), NoSecrets())
    _, made = platform.objects(context)
    text = made["spec"]["source"]["helm"]["valuesObject"]["authority"]
    assert text.startswith("-----BEGIN CERTIFICATE-----\n")
    facts = read(platform, make_context(context.site), {"objects": {}})
    assert platform.decide(context, facts) == Unknown(
        "machine", "there is no certificate of site-ca yet"
    )


def test_fields_that_controllers_own_do_not_count() -> None:
    replicas = {"group": "apps", "kind": "Deployment", "json_pointers": ["/spec/replicas"]}
    by_manager = {"kind": "Service", "name": "web", "managers": ["metallb"]}
    spec = application(ignore_differences=[replicas, by_manager])
    assert spec["ignoreDifferences"] == [
        {"group": "apps", "kind": "Deployment", "jsonPointers": ["/spec/replicas"]},
        {"kind": "Service", "name": "web", "managedFieldsManagers": ["metallb"]},
    ]


def test_applications_come_from_the_repository_and_from_those_that_are_named() -> None:
    context = make_context(site(sources=["https://charts.example.org/*"]))
    project, _ = Platform().objects(context)
    assert project["spec"]["sourceRepos"] == [URL, "https://charts.example.org/*"]


def test_the_gate_knows_the_exceptions() -> None:
    exceptions = {"fileservers": "start on demand", "claims": "their sizes are the storage's"}
    (gate,) = Platform().gates(make_context(site(exceptions=exceptions, deadline_seconds=60)), [])
    assert (gate.condition, gate.seconds) == ("applications synced and healthy", 60)
    assert gate.arguments == {"namespace": "argocd", "exceptions": ["claims", "fileservers"]}
