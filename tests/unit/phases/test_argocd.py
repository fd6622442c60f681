"""What the argocd phase refuses, and what it makes of the published objects."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from provision.argocd import availability
from provision.dns.offers import Name
from provision.phases.argocd import Argocd, laid_over
from provision.phases.vault import member_urls
from provision.secretspec import Certificate
from provision.site import Site
from tests.support.cases import make_context, make_site

HOST = "argocd.site.example.org"
REDIS = "docker.io/library/redis:7.0.15-bookworm"
PROXY = "docker.io/library/haproxy:2.6.12-bookworm"
OWN_DEX = "ghcr.io/dexidp/dex:v0.0.0-20260806151424-ab64ed778070"
GITHUB = {
    "client_id": "Iv1",
    "client_secret": {"store": "argocd-github"},
    "organizations": [{"name": "observatory", "teams": ["operators"]}, {"name": "friends"}],
}
LDAP = {
    "server": "ldap.example.org:636",
    "bind_dn": "cn=reader,dc=example,dc=org",
    "bind_password": {"store": "argocd-ldap"},
    "users": {"base": "ou=people,dc=example,dc=org"},
    "groups": {"base": "ou=groups,dc=example,dc=org"},
}


def workload(kind: str, name: str, image: str, called: str = "") -> dict[str, Any]:
    container = {
        "name": called or name,
        "image": image,
        "imagePullPolicy": "Always",
        "env": [{"name": "A"}],
    }
    spec = {"template": {"metadata": {}, "spec": {"containers": [container]}}}
    return {"kind": kind, "metadata": {"name": name}, "spec": spec}


OWN = "quay.io/argoproj/argocd:v3.6.1"
PUBLISHED: list[dict[str, Any]] = [
    {"kind": "ClusterRole", "metadata": {"name": "argocd-server"}},
    {"kind": "ConfigMap", "metadata": {"name": "argocd-cm"}, "data": {"kept": "as it is"}},
    {"kind": "ConfigMap", "metadata": {"name": "argocd-rbac-cm"}},
    {"kind": "ConfigMap", "metadata": {"name": "argocd-tls-certs-cm"}},
    {
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-ssh-known-hosts-cm"},
        "data": {"ssh_known_hosts": "github.com ssh-ed25519 A\n"},
    },
    {"kind": "Secret", "metadata": {"name": "argocd-secret"}, "type": "Opaque"},
    {"kind": "Service", "metadata": {"name": "argocd-server"}, "spec": {"ports": []}},
    {"kind": "Service", "metadata": {"name": "argocd-dex-server"}, "spec": {}},
    workload("Deployment", "argocd-dex-server", "ghcr.io/dexidp/dex:v2", "dex"),
    workload("Deployment", "argocd-redis", "public.ecr.aws/docker/library/redis:8-alpine"),
    workload("Deployment", "argocd-repo-server", OWN),
    workload("Deployment", "argocd-server", OWN),
    workload("StatefulSet", "argocd-application-controller", OWN),
]
AVAILABLE: list[dict[str, Any]] = [
    *(item for item in PUBLISHED if "redis" not in item["metadata"]["name"]),
    {
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cmd-params-cm"},
        "data": {"redis.server": "argocd-redis-ha-haproxy:6379"},
    },
    workload("Deployment", "argocd-applicationset-controller", OWN),
    workload("Deployment", "argocd-notifications-controller", OWN),
    workload(
        "Deployment", "argocd-redis-ha-haproxy", "public.ecr.aws/docker/library/haproxy:3-alpine"
    ),
    workload("StatefulSet", "argocd-redis-ha-server", "public.ecr.aws/docker/library/redis:8"),
]
"""As much of the highly available manifests as is changed."""


def github(name: str, **settings: Any) -> dict[str, Any]:
    return {**GITHUB, "organizations": [{"name": name, **settings}]}


def site(*others: str, **settings: Any) -> Site:
    changes = {"argocd": {"address": "192.0.2.205", "host": HOST, **settings}}
    return make_site(changes, "load_balancer", *others)


def problems(*others: str, **settings: Any) -> list[str]:
    return list(Argocd().validate_site(site(*others, **settings)))


def made(**settings: Any) -> dict[str, Mapping[str, Any]]:
    images = ["registry.k8s.io/pause:3", REDIS, OWN_DEX]
    objects = laid_over(site(**settings), PUBLISHED, images)
    return {f"{item['kind']} {item['metadata']['name']}": item for item in objects}


def available(**settings: Any) -> dict[str, Mapping[str, Any]]:
    published = list(availability.movable(AVAILABLE))
    images = ["registry.k8s.io/pause:3", REDIS, PROXY, OWN_DEX]
    objects = laid_over(site(high_availability=True, **settings), published, images)
    return {f"{item['kind']} {item['metadata']['name']}": item for item in objects}


def test_a_site_that_has_what_it_takes() -> None:
    assert problems() == []


def test_its_address_comes_from_the_load_balancer() -> None:
    assert problems(address="192.0.2.199") == [
        "argocd.address 192.0.2.199 is in none of load_balancer.pools (public); add it to one"
    ]
    alone = make_site({"argocd": {"address": "192.0.2.205", "host": HOST}})
    (problem,) = Argocd().validate_site(alone)
    assert problem.startswith("argocd.address 192.0.2.205 is to be given by load_balancer")


def test_it_needs_a_name() -> None:
    assert problems(host=None) == [
        "argocd.host is missing, and this site has no zone (dns.zone) to take one from"
    ]
    assert problems("dns", host=None) == []


def test_its_name_is_kept_where_it_is_in_the_sites_zone() -> None:
    phase = Argocd()
    (name,) = phase.names(site("dns", host=None))
    assert name == Name("argocd", (name.addresses[0],))
    assert str(name.addresses[0]) == "192.0.2.205"
    assert phase.names(site("dns", host="argocd.example.net")) == ()
    assert phase.names(site()) == ()


def test_who_signs_its_certificate_must_be_there() -> None:
    assert problems(issuer="letsencrypt-dns") == [
        "argocd.issuer letsencrypt-dns is none of cert_manager.issuers (there are none)"
    ]
    assert problems("cert_manager", issuer="letsencrypt-dns") == [
        "argocd.issuer letsencrypt-dns is none of cert_manager.issuers (site-ca)"
    ]
    assert problems("cert_manager", issuer="site-ca") == []


def test_the_sites_authority_signs_where_no_issuer_does() -> None:
    specs = Argocd().secrets(site())
    (own,) = [spec for spec in specs if isinstance(spec, Certificate)]
    assert own.names == (HOST, "192.0.2.205")
    assert len(Argocd().secrets(site("cert_manager", issuer="site-ca"))) == len(specs) - 1


def test_a_secret_that_the_cluster_keeps_is_not_asked_for() -> None:
    private = {"url": "https://git.example.org/a.git", "password": {"prompt": True}}
    provider = {"issuer": "https://id.example.org", "client_id": "a"}
    oidc = {**provider, "client_secret": {"prompt": True}}
    found = problems(repositories={"private": private}, oidc=oidc)
    assert [text.partition(" cannot")[0] for text in found] == [
        "argocd.repositories.private.password",
        "argocd.oidc.client_secret",
    ]


def test_files_must_be_there_and_hold_what_they_should(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    (tmp_path / "text").write_text("nothing of the kind")
    url = "https://git.example.org/a.git"
    repositories = {
        "none": {"url": url, "ca": str(tmp_path / "none.pem")},
        "text": {"url": url, "ca": str(tmp_path / "text")},
        "keys": {"url": "git@example.org:a.git", "known_hosts": str(tmp_path / "no_hosts")},
        "latin": {"url": "git@example.org:b.git", "known_hosts": str(tmp_path / "latin")},
    }
    (tmp_path / "latin").write_bytes("# Schlüssel".encode("latin-1"))
    assert problems(repositories=repositories) == [
        (
            f"argocd.repositories.none.ca {tmp_path}/none.pem cannot be read:"
            " No such file or directory"
        ),
        f"argocd.repositories.text.ca {tmp_path}/text holds no certificate in PEM form",
        (
            f"argocd.repositories.keys.known_hosts {tmp_path}/no_hosts cannot be read:"
            " No such file or directory"
        ),
        f"argocd.repositories.latin.known_hosts {tmp_path}/latin is no UTF-8 text",
    ]


@pytest.mark.parametrize(
    ("repository", "says"),
    [
        ({"url": "git@example.org:a.git", "password": {"store": "x"}}, "no use for password"),
        ({"url": "https://example.org/a.git", "ssh_key": {"store": "x"}}, "no use for ssh_key"),
        ({"url": "ssh://git@example.org/a.git", "ca": "ca.pem"}, "no use for ca"),
        ({"url": "example.org/a.git"}, "String should match pattern"),
    ],
)
def test_a_repository_takes_what_goes_with_its_address(
    repository: Mapping[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        site(repositories={"a": repository})


@pytest.mark.parametrize(
    "url", ["https://bot:hunter2@example.org/x.git", "ssh://git:hunter2@example.org/x.git"]
)
def test_a_password_in_an_address_is_refused_and_not_told(url: str) -> None:
    (problem,) = problems(repositories={"a": {"url": url}})
    assert problem.startswith("argocd.repositories.a.url has a password in it")
    assert "argocd.repositories.a.password: {file: PATH}" in problem
    assert "hunter2" not in problem


@pytest.mark.parametrize(
    "url",
    [
        "https://bot@example.org/x.git",
        "https://example.org:8443/a:b@c.git",
        "ssh://git@example.org:2222/x.git",
        "git@example.org:x.git",
        "http://example.org/x.git",
    ],
)
def test_an_address_without_a_password(url: str) -> None:
    assert problems(repositories={"a": {"url": url}}) == []


def test_a_password_is_not_sent_in_the_clear() -> None:
    private = {"url": "http://example.org/x.git", "password": {"store": "x"}}
    (problem,) = problems(repositories={"a": private})
    assert problem.startswith("argocd.repositories.a.url is read over http")


def test_what_machines_remember_can_be_read_again() -> None:
    """Otherwise it could not be taken off by what it was made with."""
    over_http = {"url": "https://git.example.org/a.git", "password": {"store": "x"}}
    over_ssh = {"url": "git@example.org:b.git", "ssh_key": {"store": "x"}, "known_hosts": "keys"}
    before = site(repositories={"a": over_http, "b": over_ssh})
    remembered = Argocd().remembered(before)["argocd"]
    assert make_site({"argocd": remembered}, "load_balancer").digest == before.digest


def test_objects_are_in_the_namespace_and_dex_is_none_of_them() -> None:
    found = made()
    assert not [name for name in found if "dex" in name]
    assert "namespace" not in found["ClusterRole argocd-server"]["metadata"]
    assert found["ConfigMap argocd-cm"]["metadata"]["namespace"] == "argocd"
    assert "namespace" not in PUBLISHED[1]["metadata"], "what is published is not changed"


def test_pods_run_what_the_bundle_has() -> None:
    found = made()
    images = {}
    for name in ("Deployment argocd-redis", "StatefulSet argocd-application-controller"):
        (container,) = found[name]["spec"]["template"]["spec"]["containers"]
        assert container["imagePullPolicy"] == "IfNotPresent"
        images[name.rpartition(" ")[2]] = container["image"]
    assert images == {"argocd-redis": REDIS, "argocd-application-controller": OWN}


def test_what_the_site_says_is_laid_over_what_is_published() -> None:
    found = made(replicas=3, rbac={"default_role": "role:readonly", "policy": "g, a, role:admin"})
    assert found["ConfigMap argocd-cm"]["data"] == {
        "kept": "as it is",
        "url": f"https://{HOST}",
        "timeout.reconciliation": "60s",
        "timeout.reconciliation.jitter": "0s",
    }
    assert found["ConfigMap argocd-rbac-cm"]["data"] == {
        "policy.csv": "g, a, role:admin",
        "policy.default": "role:readonly",
        "scopes": "[groups]",
    }
    service = found["Service argocd-server"]["spec"]
    assert service == {"ports": [], "type": "LoadBalancer", "loadBalancerIP": "192.0.2.205"}
    server = found["Deployment argocd-server"]["spec"]
    assert server["replicas"] == 3
    (container,) = server["template"]["spec"]["containers"]
    own = {"name": "ARGOCD_API_SERVER_REPLICAS", "value": "3"}
    assert container["env"] == [{"name": "A"}, own]
    assert found["Deployment argocd-repo-server"]["spec"]["replicas"] == 3


def test_pods_that_read_the_interval_at_their_start_are_made_new() -> None:
    first, second = made(), made(reconciliation_seconds=10)
    for name in ("StatefulSet argocd-application-controller", "Deployment argocd-repo-server"):
        told = [
            found[name]["spec"]["template"]["metadata"]["annotations"] for found in (first, second)
        ]
        assert told == [{"provision/reconciliation": "60s"}, {"provision/reconciliation": "10s"}]


def test_sign_on_by_a_provider() -> None:
    oidc = {
        "issuer": "https://id.example.org/realms/site",
        "client_id": "argocd",
        "client_secret": {"store": "oidc"},
    }
    found = made(oidc=oidc)
    config = yaml.safe_load(found["ConfigMap argocd-cm"]["data"]["oidc.config"])
    assert config == {
        "name": "OpenID",
        "issuer": "https://id.example.org/realms/site",
        "clientID": "argocd",
        "clientSecret": "$oidc.clientSecret",
        "requestedScopes": ["openid", "profile", "email", "groups"],
    }
    assert found["Secret argocd-secret"]["data"] == {
        "admin.password": {"store": "argocd/admin-password-hash"},
        "oidc.clientSecret": {"store": "oidc"},
    }


def test_sign_on_by_what_does_not_speak_openid(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("AUTHORITY\n")
    found = made(github=GITHUB, ldap={**LDAP, "ca": str(tmp_path / "ca.pem")})
    (container,) = found["Deployment argocd-dex-server"]["spec"]["template"]["spec"]["containers"]
    assert (container["image"], container["imagePullPolicy"]) == (OWN_DEX, "IfNotPresent")
    assert {"name": "DEX_EXPAND_ENV", "value": "false"} in container["env"]
    assert found["Service argocd-dex-server"]["metadata"]["namespace"] == "argocd"
    config = yaml.safe_load(found["ConfigMap argocd-cm"]["data"]["dex.config"])
    assert config["connectors"] == [
        {
            "type": "github",
            "id": "github",
            "name": "GitHub",
            "config": {
                "clientID": "Iv1",
                "clientSecret": "$dex.github.clientSecret",
                "orgs": [{"name": "observatory", "teams": ["operators"]}, {"name": "friends"}],
                "teamNameField": "slug",
            },
        },
        {
            "type": "ldap",
            "id": "ldap",
            "name": "LDAP",
            "config": {
                "host": "ldap.example.org:636",
                "startTLS": False,
                "rootCAData": "QVVUSE9SSVRZCg==",
                "bindDN": "cn=reader,dc=example,dc=org",
                "bindPW": "$dex.ldap.bindPW",
                "userSearch": {
                    "baseDN": "ou=people,dc=example,dc=org",
                    "filter": "(objectClass=person)",
                    "username": "uid",
                    "idAttr": "DN",
                    "preferredUsernameAttr": "uid",
                    "emailAttr": "mail",
                    "nameAttr": "cn",
                },
                "groupSearch": {
                    "baseDN": "ou=groups,dc=example,dc=org",
                    "filter": "(objectClass=groupOfNames)",
                    "userMatchers": [{"userAttr": "DN", "groupAttr": "member"}],
                    "nameAttr": "cn",
                },
            },
        },
    ]
    assert found["Secret argocd-secret"]["data"] == {
        "admin.password": {"store": "argocd/admin-password-hash"},
        "dex.github.clientSecret": {"store": "argocd-github"},
        "dex.ldap.bindPW": {"store": "argocd-ldap"},
    }


def test_a_secret_of_the_sign_on_may_be_peoples_own_in_vault() -> None:
    kept = {"vault": "secret/argocd/github", "field": "client_secret"}
    github = {**GITHUB, "client_secret": kept}
    assert problems("vault", github=github) == []
    assert problems(github=github) == [
        "argocd.github.client_secret is read from Vault, and this site has none (vault)"
    ]
    with_vault = site("vault", github=github)
    (secret,) = (
        item
        for item in laid_over(with_vault, PUBLISHED, [REDIS, OWN_DEX])
        if item["metadata"]["name"] == "argocd-secret"
    )
    value = secret["data"]["dex.github.clientSecret"]
    assert value == {**kept, "members": member_urls(with_vault)}
    assert value["members"]


def test_sign_on_by_a_directory_that_anybody_may_read() -> None:
    found = made(ldap={"server": "ldap.example.org:389", "start_tls": True, "users": {"base": "o"}})
    (ldap,) = yaml.safe_load(found["ConfigMap argocd-cm"]["data"]["dex.config"])["connectors"]
    assert set(ldap["config"]) == {"host", "startTLS", "userSearch"}
    assert list(found["Secret argocd-secret"]["data"]) == ["admin.password"]


def test_people_sign_on_by_one_way() -> None:
    oidc = {"issuer": "https://id.example.org", "client_id": "a", "client_secret": {"store": "x"}}
    assert problems(github=GITHUB, ldap=LDAP) == []
    (problem,) = problems(oidc=oidc, github=GITHUB)
    assert problem.startswith("argocd.oidc stands beside argocd.github or argocd.ldap")


def test_what_dex_needs_must_be_there(tmp_path: Path) -> None:
    asked = {**GITHUB, "client_secret": {"prompt": True}}
    told = problems(github=asked, ldap={**LDAP, "ca": str(tmp_path / "none.pem")})
    assert [text.partition(" ")[0] for text in told] == [
        "argocd.github.client_secret",
        "argocd.ldap.ca",
    ]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"github": {**GITHUB, "organizations": []}}, "at least 1 item"),
        ({"ldap": {**LDAP, "bind_password": None}}, "takes both bind_dn and bind_password"),
        ({"ldap": {**LDAP, "server": "ldap.example.org"}}, "String should match pattern"),
        ({"ldap": {**LDAP, "users": {"base": "o", "filter": "a=b"}}}, "should match pattern"),
        ({"github": github("My Observatory")}, "String should match pattern"),
        ({"github": github("observatory", teams=[])}, "at least 1 item"),
        ({"github": github("observatory", teams=["Site Operators"])}, "should match pattern"),
        ({"github": {**GITHUB, "host": "GitHub.com"}}, "for other servers than github.com"),
        ({"github": {**GITHUB, "client_secret": {"vault": "secret/a"}}}, "names no place"),
        (
            {"github": {**GITHUB, "client_secret": {"store": "a", "field": "b"}}},
            "names no place",
        ),
    ],
)
def test_what_would_let_in_anybody_or_nobody_is_refused(
    settings: Mapping[str, Any], says: str
) -> None:
    with pytest.raises(ValidationError, match=says):
        site(**settings)


def test_dex_is_started_elsewhere_when_its_machine_is_lost() -> None:
    assert "Deployment argocd-dex-server" not in available()
    pod = available(github=GITHUB)["Deployment argocd-dex-server"]["spec"]["template"]["spec"]
    assert {one["tolerationSeconds"] for one in pod["tolerations"]} == {availability.MOVED_SECONDS}


def test_repositories_with_all_that_it_takes_to_read_them(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("AUTHORITY\n")
    (tmp_path / "hosts").write_text("git.example.org ssh-ed25519 B\n\n")
    over_http = {
        "url": "https://git.example.org:8443/a.git",
        "password": {"store": "token"},
        "ca": str(tmp_path / "ca.pem"),
        "every": True,
    }
    over_ssh = {
        "url": "ssh://git@git.example.org/b.git",
        "ssh_key": {"file": "/keys/id"},
        "known_hosts": str(tmp_path / "hosts"),
    }
    repositories = {"a": over_http, "b": over_ssh}
    found = made(repositories=repositories)
    authorities = found["ConfigMap argocd-tls-certs-cm"]["data"]
    assert authorities == {"git.example.org": "AUTHORITY\n"}
    known = found["ConfigMap argocd-ssh-known-hosts-cm"]["data"]["ssh_known_hosts"]
    assert known == "github.com ssh-ed25519 A\ngit.example.org ssh-ed25519 B\n"
    objects = Argocd().objects(make_context(site(repositories=repositories), tmp_path))
    by_name = {item["metadata"]["name"]: item for item in objects}
    first, second = by_name["repository-a"], by_name["repository-b"]
    kind = "argocd.argoproj.io/secret-type"
    assert [one["metadata"]["labels"][kind] for one in (first, second)] == [
        "repo-creds",
        "repository",
    ]
    assert base64.b64decode(first["data"]["url"]).decode() == "https://git.example.org:8443/a.git"
    assert first["data"]["password"] == {"store": "token"}
    assert second["data"]["sshPrivateKey"] == {"file": "/keys/id"}


def test_vault_keeps_the_password_where_the_site_has_one() -> None:
    assert Argocd().vault_secrets(site()) == {}
    (secret,) = Argocd().vault_secrets(site("vault"))["secrets"].items()
    fields = {"username": "admin", "url": f"https://{HOST}"}
    password = {"password": "argocd/admin-password"}
    assert secret == ("secret/argocd/admin", {"fields": fields, "secrets": password})


def test_high_availability_takes_three_machines_that_run_pods() -> None:
    assert problems(high_availability=True) == []
    only_leads = {"parts": ["control_plane"]}
    argocd = {"address": "192.0.2.205", "host": HOST, "high_availability": True}
    changes = {"argocd": argocd, "hosts": {"n1": only_leads, "n3": only_leads}}
    (problem,) = Argocd().validate_site(make_site(changes, "load_balancer"))
    assert problem == (
        "argocd.high_availability takes 3 machines that run pods (part worker), and this site has"
        " 2 (n2, n4): each copy of Redis is on another, and two must be left to agree; leave it"
        " out"
    )


def test_each_copy_of_a_highly_available_one_has_a_machine() -> None:
    assert problems(high_availability=True, replicas=4) == []
    assert problems(high_availability=True, replicas=5) == [
        (
            "argocd.replicas 5 is more than the 4 machines that run pods, and with"
            " argocd.high_availability each is on another"
        )
    ]
    assert problems(replicas=5) == [], "without it they may share one"
    assert problems(high_availability=True, replicas=1) == [
        (
            "argocd.replicas 1 would be lost with its machine, against argocd.high_availability:"
            " make it 2 or more, or leave it out"
        )
    ]


def test_a_highly_available_one_takes_pods_with_ipv4() -> None:
    argocd = {"address": "192.0.2.205", "host": HOST, "high_availability": True}
    only_6 = {"machines": "2001:db8::/64", "pods": "fd00:1::/56", "services": "fd00:2::/112"}
    model = make_site({"argocd": argocd}, "load_balancer")
    network = type(model.network).model_validate(only_6)
    (problem,) = Argocd().validate_site(model.model_copy(update={"network": network}))
    assert problem.startswith("argocd.high_availability takes pods with IPv4 addresses")


def test_a_highly_available_one_runs_what_the_bundle_has() -> None:
    images = {
        container["image"]
        for item in available().values()
        if "spec" in item and "template" in item["spec"]
        for container in item["spec"]["template"]["spec"]["containers"]
    }
    assert images == {OWN, REDIS, PROXY}


def test_what_can_be_there_once_only_moves_away_from_a_lost_machine() -> None:
    found = available(reconciliation_seconds=10)
    assert "StatefulSet argocd-application-controller" not in found
    spec = found["Deployment argocd-application-controller"]["spec"]
    assert spec["strategy"] == {"type": "Recreate"}
    looks = spec["template"]["metadata"]["annotations"]
    assert looks == {"provision/reconciliation": "10s"}
    for name in ("argocd-application-controller", "argocd-notifications-controller"):
        pod = found[f"Deployment {name}"]["spec"]["template"]["spec"]
        assert {(one["key"], one["tolerationSeconds"]) for one in pod["tolerations"]} == {
            ("node.kubernetes.io/not-ready", 30),
            ("node.kubernetes.io/unreachable", 30),
        }
    (published,) = [
        item for item in AVAILABLE if item["metadata"]["name"] == "argocd-application-controller"
    ]
    assert published["kind"] == "StatefulSet", "what is published is not changed"


def test_what_can_be_there_twice_is_and_is_changed_one_by_one() -> None:
    found = available()
    for name in ("repo-server", "server", "applicationset-controller"):
        spec = found[f"Deployment argocd-{name}"]["spec"]
        assert spec["replicas"] == 2
        assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    parameters = found["ConfigMap argocd-cmd-params-cm"]["data"]
    assert parameters["applicationsetcontroller.enable.leader.election"] == "true"
    assert parameters["redis.server"] == "argocd-redis-ha-haproxy:6379"
    assert parameters["controller.resource.health.persist"] == "true"
    assert available(replicas=3)["Deployment argocd-server"]["spec"]["replicas"] == 3


def test_a_single_one_is_what_it_was() -> None:
    found = made()
    assert "strategy" not in found["Deployment argocd-server"]["spec"]
    assert found["Deployment argocd-server"]["spec"]["replicas"] == 1
    pod = found["StatefulSet argocd-application-controller"]["spec"]["template"]["spec"]
    assert "tolerations" not in pod


def test_a_drain_takes_one_of_each_at_a_time(tmp_path: Path) -> None:
    def budgets(**settings: Any) -> set[str]:
        objects = Argocd().objects(make_context(site(**settings), tmp_path))
        return {
            item["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
            for item in objects
            if item["kind"] == "PodDisruptionBudget"
        }

    assert budgets() == set()
    assert budgets(high_availability=True) == {
        "argocd-applicationset-controller",
        "argocd-redis-ha",
        "argocd-redis-ha-haproxy",
        "argocd-repo-server",
        "argocd-server",
    }
