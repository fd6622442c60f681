"""What the cert_manager phase refuses, and which objects it makes of issuers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from provision.phases.cert_manager import CertManager, CertManagerSettings
from provision.phases.dns import DnsPhase
from provision.phases.vault import VaultPhase, configuration
from provision.secretspec import Authority
from provision.site import Site
from tests.support.cases import make_context, make_site

VAULT = "https://vault.example:8200"
LOGIN = {"role_id": "r", "secret_id": {"store": "outside"}}
DNS = {"server": "192.0.2.53:5353", "key_name": "acme.", "key": {"store": "dns/acme"}}


def site(**issuers: Any) -> Site:
    return make_site({"cert_manager": {"issuers": issuers}})


def objects_of(folder: Path, settings: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
    """What the phase makes, by kind and name."""
    context = make_context(make_site(settings), folder)
    return {
        (item["kind"], item["metadata"]["name"]): item for item in CertManager().objects(context)
    }


def test_without_settings_there_is_the_sites_own_authority() -> None:
    bare = make_site({"cert_manager": {}})
    assert list(CertManager().secrets(bare)) == [Authority("cert_manager/site-ca", "unit site-ca")]


def test_what_machines_remember_can_be_read_again() -> None:
    """With every field, and so with those that have nothing to say."""
    acme = {"acme": {"dns": {"update_key": "acme"}}}
    another = {"vault": {"server": VAULT, "app_role": LOGIN}}
    before = site(zone=acme, own={"vault": {}}, another=another)
    remembered = CertManager().remembered(before)["cert_manager"]
    assert make_site({"cert_manager": remembered}).digest == before.digest


@pytest.mark.parametrize(
    ("issuer", "says"),
    [
        ({}, "must be of one kind"),
        ({"ca": {}, "acme": {"http": {}}}, "must be of one kind"),
        ({"acme": {}}, "in one way: give dns, provider, or http"),
        ({"acme": {"http": {}, "dns": DNS}}, "in one way: give dns, provider, or http"),
        ({"acme": {"http": {}, "directory": "http://ca.example"}}, "pattern"),
        ({"acme": {"dns": {**DNS, "algorithm": "MD5"}}}, "Input should be"),
        ({"acme": {"cloudflare": {}}}, "Extra inputs are not permitted"),
        ({"ca": {}, "vault": {}}, "must be of one kind: give ca, acme, or vault"),
        ({"vault": {"app_role": LOGIN}}, "leaves nothing to app_role; for another, give server"),
        ({"vault": {"server": VAULT}}, "in one way: give app_role, or kubernetes"),
        (
            {"vault": {"server": VAULT, "app_role": LOGIN, "kubernetes": {"role": "r"}}},
            "in one way: give app_role, or kubernetes",
        ),
        (
            {"vault": {"server": VAULT, "app_role": LOGIN, "domains": ["a.example"]}},
            "is another's Vault by server, where domains is not set from here",
        ),
        ({"vault": {"server": "http://vault.example:8200", "app_role": LOGIN}}, "pattern"),
        ({"acme": {"provider": {"solver": "bind"}}}, "solver bind, which is none of cert-manager"),
        (
            {"acme": {"provider": {"solver": "cloudflare", "settings": {"zone": "a"}}}},
            "has settings.zone, which cloudflare does not know; it knows email",
        ),
        (
            {"acme": {"provider": {"solver": "webhook", "secrets": {"a": {"store": "b"}}}}},
            "has secrets.a, which webhook does not know; it knows none",
        ),
        ({"acme": {"dns": {}}}, "must name a server: give update_key"),
        ({"acme": {"dns": {"server": "192.0.2.53"}}}, "or another's server, key_name and key"),
        ({"acme": {"dns": {**DNS, "update_key": "acme"}}}, "leaves nothing to key"),
        ({"acme": {"http": {}, "verify_name": "a b"}}, "pattern"),
        ({"acme": {"http": {}, "verify_name": "a.example"}}, "verify_name and root together"),
        ({"acme": {"http": {}, "root": "root.pem"}}, "verify_name and root together"),
    ],
)
def test_issuers_that_cannot_be(issuer: Mapping[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CertManagerSettings(issuers={"one": issuer})


@pytest.mark.parametrize(
    ("acme", "key"),
    [
        ({"dns": {**DNS, "key": {"prompt": True}}}, "dns.key"),
        (
            {
                "provider": {
                    "solver": "cloudflare",
                    "secrets": {"apiKeySecretRef": {"prompt": True}},
                }
            },
            "provider.secrets.apiKeySecretRef",
        ),
    ],
)
def test_a_key_is_not_asked_for(acme: Mapping[str, Any], key: str) -> None:
    (problem,) = CertManager().validate_site(site(one={"acme": acme}))
    assert problem.startswith(f"cert_manager.issuers.one.acme.{key} cannot be asked for")


@pytest.mark.parametrize(("field", "more"), [("ca", {}), ("root", {"verify_name": "a.example"})])
def test_the_directorys_authorities_are_certificates(
    tmp_path: Path, field: str, more: Mapping[str, str]
) -> None:
    def problems(name: str) -> list[str]:
        acme = {"acme": {"http": {}, **more, field: str(tmp_path / name)}}
        found = CertManager().validate_site(site(one=acme))
        return [
            text.removeprefix(f"cert_manager.issuers.one.acme.{field} {tmp_path}/")
            for text in found
        ]

    (tmp_path / "text").write_text("hello")
    assert problems("none") == ["none cannot be read: No such file or directory"]
    assert problems("text") == ["text holds no certificate in PEM form"]


@pytest.mark.parametrize(
    ("dns", "problem"),
    [
        (None, "acme is for zones that this site serves itself (dns.mode: serve), and it has none"),
        (
            {"mode": "check"},
            "acme is for zones that this site serves itself (dns.mode: serve), and it has none",
        ),
        ({"update_keys": {"other": {}}}, "acme is none of dns.update_keys"),
        (
            {"update_keys": {"acme": {"types": ["A"]}}},
            "acme may not change TXT records; add TXT to dns.update_keys.acme.types",
        ),
        ({"update_keys": {"acme": {"types": []}}}, ""),
        ({}, ""),
    ],
)
def test_a_key_of_the_sites_own_zones_is_there_and_may_prove_names(
    dns: Mapping[str, Any] | None, problem: str
) -> None:
    issuers = {"one": {"acme": {"dns": {"update_key": "acme"}}}}
    settings = {} if dns is None else {"dns": {"zone": "site.example", **dns}}
    found = CertManager().validate_site(
        make_site({"cert_manager": {"issuers": issuers}, **settings})
    )
    wanted = [f"cert_manager.issuers.one.acme.dns.update_key {problem}"] if problem else []
    assert list(found) == wanted


def test_the_sites_own_zone_needs_no_copy_of_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path))
    issuers = {"letsencrypt-dns": {"acme": {"dns": {"update_key": "acme"}}}}
    settings = {
        "cert_manager": {"issuers": issuers},
        "dns": {"zone": "site.example", "port": 5353},
    }
    found = objects_of(tmp_path, settings)
    solver = found["ClusterIssuer", "letsencrypt-dns"]["spec"]["acme"]["solvers"][0]
    assert solver["dns01"]["rfc2136"] == {
        "nameserver": "192.0.2.1:5353",
        "tsigKeyName": "acme",
        "tsigAlgorithm": "HMACSHA256",
        "tsigSecretSecretRef": {"name": "letsencrypt-dns-tsig", "key": "key"},
    }
    key = found["Secret", "letsencrypt-dns-tsig"]["data"]["key"]
    assert key == {"store": "dns/key/acme"}
    assert key["store"] in {spec.name for spec in DnsPhase().secrets(make_site(settings))}


@pytest.mark.parametrize(
    ("issuer", "settings", "problem"),
    [
        ({}, {}, "server is missing, and this site has no Vault of its own"),
        ({"mount": "secret"}, {"vault": {}}, "mount secret is where Vault keeps something else"),
        (
            {"server": VAULT, "app_role": {"role_id": "r", "secret_id": {"prompt": True}}},
            {},
            "app_role.secret_id cannot be asked for: the cluster keeps it; give",
        ),
        ({"server": VAULT, "app_role": LOGIN, "ca": "none.pem"}, {}, "ca "),
    ],
)
def test_an_issuer_in_vault_can_be_asked(
    issuer: Mapping[str, Any], settings: Mapping[str, Any], problem: str
) -> None:
    issuers = {"one": {"vault": issuer}}
    (found,) = CertManager().validate_site(
        make_site({"cert_manager": {"issuers": issuers}, **settings})
    )
    assert found.startswith(f"cert_manager.issuers.one.vault.{problem}")


def test_the_sites_own_vault_is_set_up_for_its_issuer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path))
    settings: dict[str, Any] = {"vault": {}, "cert_manager": {"issuers": {"inner": {"vault": {}}}}}
    wanted = configuration(make_site(settings))
    role = "cert-manager-inner"
    assert wanted["secrets"]["pki"] == {"type": "pki"}
    assert wanted["secrets"]["secret"]["type"] == "kv", "what Vault itself wants is there too"
    assert wanted["authorities"] == {"pki": {"common_name": "unit pki"}}
    assert 'path "pki/sign/inner"' in wanted["policies"][role]
    assert wanted["paths"]["pki/roles/inner"]["allow_any_name"]
    assert wanted["paths"][f"auth/approle/role/{role}"]["token_policies"] == [role]
    assert wanted["paths"][f"auth/approle/role/{role}/role-id"] == {"role_id": role}
    assert wanted["secret_ids"] == {role: {}}

    found = objects_of(tmp_path, settings)
    spec = found["ClusterIssuer", "inner"]["spec"]["vault"]
    assert spec["server"] == "https://192.0.2.1:8200"
    assert spec["path"] == "pki/sign/inner"
    assert spec["auth"]["appRole"]["roleId"] == role
    held = found["Secret", "inner-vault"]["data"]
    assert held == {
        "secret-id": {"store": f"vault/{role}-secret-id"},
        "ca.crt": {"store": "site-ca.crt"},
    }
    names = {spec.name for spec in VaultPhase().secrets(make_site(settings))}
    assert held["secret-id"]["store"] in names


def test_another_vault_is_logged_in_to_as_it_wants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path))
    issuers = {
        "by-role": {"vault": {"server": VAULT, "role": "web", "app_role": LOGIN}},
        "by-account": {"vault": {"server": VAULT, "mount": "a/b", "kubernetes": {"role": "k"}}},
    }
    found = objects_of(tmp_path, {"cert_manager": {"issuers": issuers}})
    assert found["ClusterIssuer", "by-role"]["spec"]["vault"] == {
        "server": VAULT,
        "path": "pki/sign/web",
        "auth": {
            "appRole": {
                "path": "approle",
                "roleId": "r",
                "secretRef": {"name": "by-role-vault", "key": "secret-id"},
            }
        },
    }
    assert found["Secret", "by-role-vault"]["data"] == {"secret-id": {"store": "outside"}}
    assert found["ClusterIssuer", "by-account"]["spec"]["vault"]["path"] == "a/b/sign/by-account"
    account = found["Secret", "by-account-vault"]
    assert account["type"] == "kubernetes.io/service-account-token"
    assert account["metadata"]["annotations"] == {
        "kubernetes.io/service-account.name": "by-account-vault"
    }
    assert ("ServiceAccount", "by-account-vault") in found


def test_objects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path))
    issuers = {
        "inside": {"ca": {"common_name": "Inside"}},
        "letsencrypt-dns": {"acme": {"email": "a@example.org", "dns": DNS}},
        "web": {"acme": {"http": {}}},
        "cloud": {
            "acme": {
                "provider": {
                    "solver": "cloudflare",
                    "settings": {"email": "a@example.org"},
                    "secrets": {"apiTokenSecretRef": {"store": "cloudflare"}},
                }
            }
        },
    }
    found = objects_of(tmp_path, {"cert_manager": {"issuers": issuers}})
    assert found["Secret", "inside"]["data"] == {
        "tls.crt": {"store": "cert_manager/inside.crt"},
        "tls.key": {"store": "cert_manager/inside.key"},
    }
    assert found["ClusterIssuer", "inside"]["spec"] == {"ca": {"secretName": "inside"}}
    acme = found["ClusterIssuer", "letsencrypt-dns"]["spec"]["acme"]
    assert acme["server"] == "https://acme-v02.api.letsencrypt.org/directory"
    assert acme["solvers"][0]["dns01"]["rfc2136"]["tsigSecretSecretRef"] == {
        "name": "letsencrypt-dns-tsig",
        "key": "key",
    }
    assert found["Secret", "letsencrypt-dns-tsig"]["data"] == {"key": {"store": "dns/acme"}}
    solver = found["ClusterIssuer", "web"]["spec"]["acme"]["solvers"][0]
    assert solver == {"http01": {"ingress": {"class": "nginx"}}}
    solver = found["ClusterIssuer", "cloud"]["spec"]["acme"]["solvers"][0]
    token = {"name": "cloud-provider", "key": "apiTokenSecretRef"}
    assert solver == {
        "dns01": {"cloudflare": {"email": "a@example.org", "apiTokenSecretRef": token}}
    }
    assert found["Secret", "cloud-provider"]["data"] == {
        "apiTokenSecretRef": {"store": "cloudflare"}
    }
