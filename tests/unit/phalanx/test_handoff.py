"""What is handed over to Phalanx: sites that are refused, rows from facts, a folder as a whole."""

from __future__ import annotations

import copy
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.errors import UsageError
from provision.issuers import Issuer
from provision.phalanx import folder, preflight, values, vaultside
from provision.phases.phalanx import Phalanx
from provision.proofs.vault_secrets import AppRoleProof
from provision.vault.api import Member
from provision.verbs.handoff import PROOFS
from tests.support.cases import make_site

PATH = "phalanx/observatory"
NEEDED = ("phalanx", "vault", "load_balancer")
DNS: dict[str, Any] = {"dns": {"update_key": "certificates"}}
CLUSTER: dict[str, Any] = {
    "versions": ["v1.36.3"],
    "architectures": ["amd64", "amd64"],
    "kubelet": {"n1": {"clusterDomain": "cluster.local", "nodeStatusMaxImages": -1}},
    "classes": {"local": True},
    "ingress_classes": [],
    "has_ingress": False,
    "web_takers": [],
    "issuers": {"letsencrypt-dns": "Ready"},
    "cert_managers": ["cert-manager/cert-manager"],
    "owned": True,
}


def problems(*components: str, **changes: Any) -> list[str]:
    return list(Phalanx().validate_site(make_site(changes, *NEEDED, *components)))


def bad(**changes: Any) -> list[str]:
    rows = preflight.cluster_rows({**copy.deepcopy(CLUSTER), **changes})
    return [row.what for row in rows if not row.good]


def test_a_site_that_has_all_that_is_needed() -> None:
    assert problems() == []


def test_what_phalanx_brings_is_refused() -> None:
    assert [text.split()[0] for text in problems("argocd", "platform")] == ["argocd", "platform"]


def test_the_sites_cert_manager_has_the_issuer_that_charts_ask_for() -> None:
    [problem] = problems(cert_manager={})
    assert problem.startswith("cert_manager.issuers has no letsencrypt-dns")
    assert problems(cert_manager={"issuers": {"letsencrypt-dns": {"ca": {}}}}) == []


def test_an_address_that_no_pool_holds() -> None:
    [problem] = problems(phalanx={"ingress_address": "192.0.2.250"})
    assert problem.startswith("phalanx.ingress_address 192.0.2.250 is in none of")


def test_a_cluster_that_is_ready() -> None:
    assert bad() == []


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"versions": ["v1.36.3", "v1.29.9"]}, "Kubernetes"),
        ({"versions": []}, "Kubernetes"),
        ({"architectures": ["amd64", "arm64"]}, "architecture"),
        (
            {"kubelet": {"n1": {"clusterDomain": "x", "nodeStatusMaxImages": -1}}},
            "cluster's domain",
        ),
        ({"kubelet": {"n1": {"clusterDomain": "cluster.local"}}}, "nodeStatusMaxImages"),
        ({"ingress_classes": ["traefik"], "has_ingress": True}, "IngressClass"),
        ({"ingress_classes": ["nginx"]}, "IngressClass"),
        ({"web_takers": ["a/b"]}, "ports 80 and 443"),
        ({"cert_managers": ["a/cert-manager", "b/cert-manager"]}, "cert-manager"),
        ({"issuers": {}}, "ClusterIssuer letsencrypt-dns"),
    ],
)
def test_a_cluster_that_is_not(changes: dict[str, Any], what: str) -> None:
    assert bad(**changes) == [what]


def test_networks_and_names() -> None:
    networks = {"pods": ["100.64.0.0/16"], "services": ["10.96.0.0/16"]}
    rows = preflight.site_rows({**networks, "root_squash": None})
    assert [row.good for row in rows] == [False, True]
    names = preflight.name_rows("a.test", "192.0.2.1", ["192.0.2.1"], [])
    assert [row.good for row in names] == [True, False]


@pytest.mark.parametrize("squashed", [False, True])
def test_root_on_shared_volumes(squashed: bool) -> None:
    facts = {"pods": [], "services": [], "root_squash": squashed}
    assert [row.good for row in preflight.site_rows(facts)][-1] is not squashed


@pytest.mark.parametrize(
    ("issuer", "public"),
    [
        ({"acme": DNS}, True),
        ({"acme": {"http": {}}}, False),
        ({"acme": {**DNS, "directory": "https://acme-staging-v02.api.example/dir"}}, False),
        ({"acme": {**DNS, "directory": "https://pebble.example/dir", "ca": "ca.pem"}}, False),
        ({"ca": {}}, False),
    ],
)
def test_who_signs(issuer: dict[str, Any], public: bool) -> None:
    assert preflight.trust_row(Issuer.model_validate(issuer)).good is public


def test_machines_that_cannot_mount_homes() -> None:
    [row] = preflight.machine_rows([], [])
    assert (row.found, row.good) == ("on every machine", True)
    [row] = preflight.machine_rows(["n2"], ["n3"])
    assert (row.found, row.good) == ("not on n2; no answer from n3", False)
    assert "machine.packages: [nfs-common]" in row.fix


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (Member(initialized=True, sealed=False), "serves"),
        (Member(initialized=True, sealed=True), "is sealed"),
        (Member(error="Name or service not known"), "Name or service not known"),
    ],
)
def test_vault_at_the_address_that_is_handed_over(seen: Member, found: str) -> None:
    row = preflight.vault_address_row("https://vault.test:8200", seen)
    assert (row.found, row.good) == (f"https://vault.test:8200: {found}", seen.serves)


def test_a_pod_must_reach_vault() -> None:
    assert AppRoleProof.name in PROOFS


def test_a_policy_counts_by_what_it_allows() -> None:
    wanted = vaultside.read_rules(PATH)
    text = vaultside.policy_text(wanted)
    assert vaultside.lacking(text.replace("\n", " ") + "# a word", wanted) == []
    assert vaultside.lacking(text.replace('"list", ', ""), wanted) == [
        f"list on secret/metadata/{PATH}/+"
    ]


def test_a_folder_is_put_in_place_as_a_whole_and_renewed(tmp_path: Path) -> None:
    place = tmp_path / "handed"
    assert folder.earlier(place) == {}
    folder.put(place, {folder.OWN: b'{"path": "a"}', "values.yaml": b"old"})
    (place / "notes").write_text("of an administrator")
    folder.put(place, {folder.OWN: b'{"path": "b"}', "values.yaml": b"new"})
    assert folder.earlier(place) == {"path": "b"}
    folder.note(place, {"path": "b", "revoking": False})
    assert folder.earlier(place) == {"path": "b", "revoking": False}
    folder.note(place, {"path": "b"})
    assert [item.name for item in tmp_path.iterdir()] == ["handed"]
    found = {item.name: item.read_text() for item in place.iterdir()}
    assert found.pop(folder.OWN) == '{"path": "b"}'
    assert found == {"values.yaml": "new", "notes": "of an administrator"}
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / folder.OWN).stat().st_mode) == 0o600


def test_links_that_others_put_there_stay_links(tmp_path: Path) -> None:
    place = tmp_path / "handed"
    (tmp_path / "elsewhere").mkdir()
    folder.put(place, {folder.OWN: b"{}"})
    targets = {".#static.yaml": "nobody@nowhere.1", "notes": str(tmp_path / "elsewhere")}
    for name, target in targets.items():
        (place / name).symlink_to(target)
    (place / "theirs").mkdir()
    (place / "theirs" / "gone").symlink_to("nothing")
    folder.put(place, {folder.OWN: b"{}"})
    assert {name: str((place / name).readlink()) for name in targets} == targets
    assert str((place / "theirs" / "gone").readlink()) == "nothing"


def test_what_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    place = tmp_path / "handed"
    folder.put(place, {folder.OWN: b"{}"})
    (place / ".partial-1").write_text("half of it")
    (tmp_path / ".handed.incoming-1").mkdir()
    (tmp_path / ".handed.incoming-1" / "environment").write_text("secret")
    (tmp_path / ".handed-notes").mkdir()
    folder.put(place, {folder.OWN: b"{}"})
    assert sorted(item.name for item in tmp_path.iterdir()) == [".handed-notes", "handed"]
    assert [item.name for item in place.iterdir()] == [folder.OWN]


def test_what_others_keep_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    with pytest.raises(UsageError, match="something else is there"):
        folder.earlier(tmp_path / "theirs")


def test_values_say_who_owns_cert_manager() -> None:
    facts = {
        "environment": "observatory",
        "host": "data.example.org",
        "vault_url": "https://vault.example.org:8200",
        "vault_path": PATH,
        "address": "192.0.2.205",
        "storage_class": "local",
        "owned": True,
        "database_url": "",
        "installed": True,
        "sign_on": {
            "kind": "github",
            "client_id": "platform",
            "issuer": None,
            "login_url": None,
            "token_url": None,
            "username_claim": None,
            "admins": (),
            "argocd_client_id": None,
        },
    }
    first, *others = yaml.safe_load_all(values.values_text(facts))
    assert first["applications"] == {"cert-manager": False, "postgres": True}
    assert first["vaultPathPrefix"] == f"secret/{PATH}"
    assert [list(item) for item in others] == [
        ["ingress-nginx"],
        ["argo-cd"],
        ["vault-secrets-operator"],
        ["gafaelfawr_db", "postgresStorageClass"],
        ["config"],
    ]
    assert "letsencrypt" not in values.values_text({**facts, "owned": False})


def test_what_is_no_yaml_is_not_shown(tmp_path: Path) -> None:
    place = tmp_path / "handed"
    folder.put(place, {folder.OWN: b"{}", folder.STATIC: b"a: {value: hunter2\nb: [}"})
    with pytest.raises(UsageError, match="this is no YAML") as caught:
        folder.static(place)
    assert "hunter2" not in str(caught.value)
    folder.put(place, {folder.OWN: b"{}", folder.STATIC: b"a: 2026-13-45"})
    with pytest.raises(UsageError, match="this is no YAML"):
        folder.static(place)
    folder.put(place, {folder.OWN: b"damaged"})
    with pytest.raises(UsageError, match="it is damaged"):
        folder.earlier(place)
