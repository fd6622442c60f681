"""Phalanx's installer is run in its order, with its tokens; a checkout is judged before."""

from __future__ import annotations

import copy
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.errors import OperatorError, UsageError
from provision.phalanx import installer
from provision.phalanx.afterwards import afterwards_rows, installed
from provision.phalanx.checkout import applications, checkout_rows
from provision.phalanx.values import (
    REPLACE,
    authority_objects,
    database_password_of,
    environment_values,
    missing,
    static_secrets,
    unfilled,
)

SIGN_ON = {
    "kind": "oidc",
    "client_id": "platform",
    "issuer": "https://id.example.org",
    "login_url": "https://id.example.org/auth",
    "token_url": "https://id.example.org/token",
    "username_claim": None,
    "admins": ("ada",),
    "argocd_client_id": "argocd",
}
FACTS: dict[str, Any] = {
    "environment": "observatory",
    "host": "data.example.org",
    "vault_url": "https://vault.example.org:8200",
    "vault_path": "phalanx/observatory",
    "address": "192.0.2.205",
    "storage_class": "",
    "owned": True,
    "database_url": "postgresql://gafaelfawr@db.example.org:5432/gafaelfawr",
    "sign_on": SIGN_ON,
    "installed": False,
}
GITHUB = {"kind": "github", "client_id": "platform", "argocd_client_id": None}
ENVIRONMENT = {
    "VAULT_TOKEN": "of-the-writer",
    "VAULT_ROLE_ID": "role",
    "VAULT_SECRET_ID": "secret",
    "VAULT_CACERT": "/dev/null",
}


def put(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(content))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose environment says what the site does."""
    place = tmp_path / "checkout"
    put(place / "environments/values.yaml", {"applications": {"argocd": True, "tap": False}})
    for name, content in environment_values(FACTS).items():
        put(place / name, content)
    return place


def bad(checkout: Path) -> dict[str, str]:
    rows = checkout_rows(checkout, "observatory", environment_values(FACTS))
    return {row.what: row.found for row in rows if not row.good}


def test_static_secrets_are_those_of_the_sign_on() -> None:
    assert unfilled(static_secrets(GITHUB)) == ["gafaelfawr github-client-secret"]
    asked = static_secrets(SIGN_ON)
    assert unfilled(asked) == ["argocd dex.clientSecret", "gafaelfawr oidc-client-secret"]
    asked["applications"]["gafaelfawr"]["oidc-client-secret"]["value"] = "s"
    assert unfilled(asked) == ["argocd dex.clientSecret"]
    assert REPLACE in yaml.safe_dump(asked)


def test_a_file_of_before_lacks_what_the_site_asks_for_by_now() -> None:
    of_before = static_secrets(GITHUB)
    of_before["applications"]["gafaelfawr"]["github-client-secret"]["value"] = "s"
    assert unfilled(of_before) == []
    assert missing(of_before, of_before) == []
    assert missing(of_before, static_secrets(SIGN_ON, "p", owned=False)) == [
        "argocd dex.clientSecret",
        "gafaelfawr database-password",
        "gafaelfawr oidc-client-secret",
        "ingress-nginx tls.crt",
        "ingress-nginx tls.key",
    ]
    assert missing({"applications": ["a"]}, static_secrets(GITHUB)) == [
        "argocd dex.clientSecret",
        "gafaelfawr github-client-secret",
        "squareone sentry-dsn",
        "pull-secret",
    ]


def test_what_people_wrote_wrongly_waits_for_its_value() -> None:
    assert unfilled({"applications": {"tap": {"key": "value"}, "sia": ["a"]}}) == ["tap key"]
    assert unfilled({"applications": []}) == []
    assert database_password_of({"applications": {"gafaelfawr": ["a"]}}) == ""


def test_without_an_issuer_of_the_site_its_certificate_is_asked_for() -> None:
    file = "applications/ingress-nginx/values-observatory.yaml"
    by_vault = environment_values({**FACTS, "owned": False})[file]
    assert by_vault["vaultCertificate"] == {"enabled": True}
    assert "extraArgs" in by_vault["ingress-nginx"]["controller"]
    assert "vaultCertificate" not in environment_values(FACTS)[file]
    asked = unfilled(static_secrets(GITHUB, owned=False))
    assert asked[1:] == ["ingress-nginx tls.crt", "ingress-nginx tls.key"]


def test_the_first_time_the_schema_is_made() -> None:
    file = "applications/gafaelfawr/values-observatory.yaml"
    first = environment_values(FACTS)[file]["config"]
    assert first["updateSchema"] is True
    assert first["initialAdmins"] == ["ada"]
    assert "updateSchema" not in environment_values({**FACTS, "installed": True})[file]["config"]


def test_the_operator_trusts_what_the_cluster_is_given() -> None:
    values = environment_values(FACTS)[
        "applications/vault-secrets-operator/values-observatory.yaml"
    ]
    chart = values["vault-secrets-operator"]
    namespace, given = authority_objects("a certificate")
    [volume] = chart["volumes"]
    [mount] = chart["image"]["volumeMounts"]
    variables = {item["name"]: item for item in chart["environmentVars"]}
    assert given["metadata"]["namespace"] == namespace["metadata"]["name"]
    assert volume["configMap"]["name"] == given["metadata"]["name"]
    assert volume["name"] == mount["name"]
    [file] = given["data"]
    assert variables["VAULT_CACERT"]["value"] == f"{mount['mountPath']}/{file}"
    assert list(variables)[:2] == ["VAULT_ROLE_ID", "VAULT_SECRET_ID"]


def test_the_database_is_the_sites_or_phalanxs_own() -> None:
    config = "applications/gafaelfawr/values-observatory.yaml"
    own = "applications/postgres/values-observatory.yaml"
    by_the_site = environment_values(FACTS)
    assert by_the_site[config]["config"]["databaseUrl"] == FACTS["database_url"]
    assert own not in by_the_site
    in_cluster = environment_values({**FACTS, "database_url": ""})
    assert in_cluster[config]["config"]["internalDatabase"] is True
    assert in_cluster[own] == {"gafaelfawr_db": {"user": "gafaelfawr", "db": "gafaelfawr"}}
    asked = static_secrets(GITHUB, "of-the-store")
    assert database_password_of(asked) == "of-the-store"
    assert database_password_of(static_secrets(GITHUB)) == ""


def test_a_checkout_that_says_what_the_site_does(checkout: Path) -> None:
    assert bad(checkout) == {}
    assert applications(checkout, "observatory") == ["argocd"]


def test_a_checkout_that_does_not(checkout: Path) -> None:
    own = environment_values(FACTS)["environments/values-observatory.yaml"]
    other = {**own, "fqdn": "other.example.org", "applications": {"cert-manager": True}}
    put(checkout / "environments/values-observatory.yaml", other)
    (checkout / "applications/argocd/values-observatory.yaml").unlink()
    found = bad(checkout)
    assert found["environments/values-observatory.yaml"] == (
        "fqdn is other.example.org; applications.cert-manager is True"
    )
    assert found["values of every application"] == (
        "missing: applications/argocd/values-observatory.yaml,"
        " applications/cert-manager/values-observatory.yaml"
    )


def test_a_folder_that_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no checkout of Phalanx"):
        bad(tmp_path)


def test_the_installers_commands_run_with_its_tokens(checkout: Path, tmp_path: Path) -> None:
    program, log = tmp_path / "phalanx", tmp_path / "log"
    program.write_text(
        f'#!/bin/sh\necho "$VAULT_TOKEN $*" >> {log}\n[ "$2" != install ] || exit 3\n'
    )
    program.chmod(0o700)
    steps = installer.steps("observatory", "main", Path("static.yaml"))
    for step in steps[:-1]:
        installer.run(step, str(program), checkout, ENVIRONMENT, lambda: "of-an-administrator")
    with pytest.raises(OperatorError, match="environment install") as failed:
        installer.run(steps[-1], str(program), checkout, ENVIRONMENT, lambda: "")
    assert failed.value.found == "exit 3; its own words are above"
    assert log.read_text().splitlines() == [
        "of-an-administrator vault audit observatory",
        "of-the-writer secrets sync --secrets static.yaml observatory",
        "of-the-writer secrets audit --secrets static.yaml observatory",
        "of-the-writer environment install --force-noninteractive --git-branch main observatory",
    ]


def test_an_installer_that_is_not_there(checkout: Path, tmp_path: Path) -> None:
    step = installer.steps("observatory", "main", Path("static.yaml"))[1]
    missing = shlex.quote(str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="cannot be run"):
        installer.run(step, missing, checkout, ENVIRONMENT, str)


@pytest.mark.parametrize(
    ("name", "told", "good"),
    [
        ("argocd", "argocd: v3.0.6+db93798", True),
        ("argocd", "argocd: v3.0.1", True),
        ("argocd", "argocd: v3.1.0+a", True),
        ("argocd", "argocd: v2.14.9+a", False),
        ("argocd", "", False),
        ("argocd", "cannot be run", False),
        ("helm", "v3.9.0+g7ceeda6", True),
        ("helm", "v4.0.0+g99cd196", True),
        ("helm", "Client: v2.17.0+ga690bad", False),
    ],
)
def test_a_program_may_be_newer_but_not_older(name: str, told: str, good: bool) -> None:
    row = installer.version_row(name, told, {"argocd": "3.0.6", "helm": "3.18.4"}[name])
    assert row.good is good


def test_a_program_tells_its_version_or_why_not(tmp_path: Path) -> None:
    program = tmp_path / "argocd"
    program.write_text('#!/bin/sh\necho "argocd: v3.0.6 $*"\necho more\n')
    program.chmod(0o700)
    assert installer.said(str(program), "version") == "argocd: v3.0.6 version"
    program.write_text("#!/bin/sh\necho unknown flag >&2\nexit 1\n")
    assert installer.said(str(program)) == "unknown flag"
    assert "No such file" in installer.said(str(tmp_path / "nothing"))


@pytest.mark.parametrize("command", ["uv run 'phalanx", "", "  "])
def test_what_is_no_command(command: str) -> None:
    with pytest.raises(UsageError, match="no command"):
        installer.words_of(command)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("applications: [argocd]", "applications must say"),
        ("since: 2026-13-45", "no YAML"),
        ("a: [", "no YAML"),
        (b"a: \xff", "no YAML"),
    ],
)
def test_values_that_cannot_be_understood(checkout: Path, text: str | bytes, what: str) -> None:
    content = text if isinstance(text, bytes) else text.encode()
    (checkout / "environments/values-observatory.yaml").write_bytes(content)
    with pytest.raises(UsageError, match=what):
        bad(checkout)


def test_values_that_cannot_be_read(checkout: Path) -> None:
    path = checkout / "environments/values-observatory.yaml"
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        bad(checkout)


def test_other_credentials_need_another_installation() -> None:
    assert installer.inputs(ENVIRONMENT, "main") == installer.inputs(ENVIRONMENT, "main")
    changed = {**ENVIRONMENT, "VAULT_SECRET_ID": "new"}
    assert installer.inputs(ENVIRONMENT, "main") != installer.inputs(changed, "main")


@dataclass
class Objects:
    """A cluster by its objects."""

    objects: list[dict[str, Any]] = field(default_factory=list)

    def all(self, api_version: str, kind: str) -> Sequence[dict[str, Any]]:
        return [
            item
            for item in self.objects
            if (item["apiVersion"], item["kind"]) == (api_version, kind)
        ]


def thing(version: str, kind: str, name: str, status: Any = None, **others: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": name}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "status": status, **others}


READY = {"conditions": [{"type": "Ready", "status": "True"}]}
STANDING = [
    thing(
        "argoproj.io/v1alpha1",
        "Application",
        "tap",
        {"sync": {"status": "Synced"}, "health": {"status": "Healthy"}},
    ),
    thing(
        "argoproj.io/v1alpha1",
        "Application",
        "nublado-users",
        {"sync": {"status": "OutOfSync"}, "health": {"status": "Degraded"}},
    ),
    thing("ricoberger.de/v1alpha1", "VaultSecret", "tap"),
    thing("v1", "Secret", "tap"),
    thing("cert-manager.io/v1", "Certificate", "tap", READY),
    thing("v1", "Service", "ingress-nginx", {"loadBalancer": {"ingress": [{"ip": "192.0.2.205"}]}}),
]


def test_a_platform_that_stands() -> None:
    assert not installed(Objects())
    assert installed(Objects(STANDING))
    assert all(row.good for row in afterwards_rows(Objects(STANDING), "192.0.2.205"))


def test_a_platform_that_does_not() -> None:
    broken = copy.deepcopy(STANDING)
    broken[0]["status"]["health"]["status"] = "Degraded"
    broken[4]["status"] = {}
    del broken[3]
    found = {row.what: row.found for row in afterwards_rows(Objects(broken), "192.0.2.1")}
    assert found == {
        "applications": "tap Synced Degraded",
        "VaultSecrets": "tap/tap",
        "certificates": "tap/tap (not judged yet)",
        "ingress's address": "192.0.2.205",
    }
