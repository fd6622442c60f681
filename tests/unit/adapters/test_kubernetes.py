"""Reading a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from provision.adapters.kubernetes import ClusterReader
from provision.manifests import KindIn
from provision.objectsecrets import kept_in_vault, with_secrets
from provision.pki import new_authority, new_key
from provision.privatefiles import write_private
from provision.secrets import SecretStore
from provision.secretspec import Authority, Certificate
from tests.support.kubeserver import FakeCluster, serving, write_kubeconfig
from tests.support.vault import no_vault


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[FakeCluster]:
    with serving(FakeCluster()) as running:
        running.add_node("n1")
        write_kubeconfig(tmp_path, running.url)
        yield running


def config_map(name: str, **data: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "kube-system"},
        "data": data,
    }


def test_nodes_and_version(cluster: FakeCluster, tmp_path: Path) -> None:
    facts = ClusterReader(SecretStore(tmp_path)).read([])
    assert facts.reachable
    assert facts.version == "1.36.3"
    node = facts.nodes["n1"]
    assert (node.ready, node.kubelet_version, node.control_plane) == (True, "1.36.3", True)
    assert node.taints == ["alone=:NoSchedule"]


def test_an_api_server_that_is_not_ready_yet_is_asked_again(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    cluster.later["/version"] = 3
    facts = ClusterReader(SecretStore(tmp_path)).read([])
    assert facts.version == "1.36.3"
    cluster.later["/version"] = 1000
    told = ClusterReader(SecretStore(tmp_path)).read([])
    assert not told.reachable
    assert "(re)initializing" in told.error


def test_how_objects_stand_against_their_manifests(cluster: FakeCluster, tmp_path: Path) -> None:
    below = "/api/v1/namespaces/kube-system/configmaps"
    server_side = {"resourceVersion": "7", "uid": "u", "managedFields": [{}]}
    for name in ("same", "other"):
        live = config_map(name, color="blue")
        live["metadata"].update(server_side)
        cluster.objects[f"{below}/{name}"] = live
    wanted = [
        config_map("same", color="blue"),
        config_map("other", color="red"),
        config_map("absent", color="blue"),
        {"apiVersion": "unknown.example/v1", "kind": "Thing", "metadata": {"name": "x"}},
    ]
    before = repr(cluster.objects)
    objects = ClusterReader(SecretStore(tmp_path)).read(wanted).objects
    assert not objects["ConfigMap kube-system/same"].differences
    assert objects["ConfigMap kube-system/other"].differences == ["data.color"]
    assert not objects["ConfigMap kube-system/absent"].exists
    assert not objects["Thing x"].exists
    assert repr(cluster.objects) == before


def test_what_was_applied_and_still_stands_needs_no_second_question(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    below = "/api/v1/namespaces/kube-system/configmaps"
    untouched, damaged = config_map("untouched", a="1", b="2"), config_map("damaged", a="1", b="2")
    for wanted in (untouched, damaged):
        path = f"{below}/{wanted['metadata']['name']}"
        # Asking the server would come to an end here.
        cluster.refused.add(path)
        fields: dict[str, Any] = {"f:data": {"f:a": {}, "f:b": {}}}
        applied = {"manager": "provision", "operation": "Apply", "fieldsV1": fields}
        metadata = {**wanted["metadata"], "managedFields": [applied]}
        data = {**wanted["data"], "more": "3"}
        cluster.objects[path] = {**wanted, "metadata": metadata, "data": data}
    cluster.objects[f"{below}/damaged"]["data"].pop("b")
    changed = config_map("untouched", a="1")
    reader = ClusterReader(SecretStore(tmp_path))
    states = [next(iter(reader.read([item]).objects.values())) for item in (untouched, damaged)]
    assert [bool(state.differences) for state in states] == [False, True]
    # What the manifest does not say any more, only the server knows to take away.
    assert reader.read([changed]).objects["ConfigMap kube-system/untouched"].differences


def test_what_was_applied_of_a_kind(cluster: FakeCluster, tmp_path: Path) -> None:
    by_us = {"manager": "provision", "operation": "Apply", "fieldsV1": {"f:data": {}}}
    by_hand = {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:data": {}}}
    for name, entry in (("ours", by_us), ("theirs", by_hand)):
        live = config_map(name)
        live["metadata"]["managedFields"] = [entry]
        cluster.objects[f"/api/v1/namespaces/kube-system/configmaps/{name}"] = live
    kinds = [
        KindIn("v1", "ConfigMap", "kube-system"),
        KindIn("v1", "ConfigMap", "empty"),
        KindIn("unknown.example/v1", "Thing", "x"),
    ]
    facts = ClusterReader(SecretStore(tmp_path)).read([config_map("ours")], kinds)
    assert facts.applied == {kinds[0]: ["ours"], kinds[1]: [], kinds[2]: []}


def test_whose_a_secret_is_takes_nothing_that_is_in_it(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    path = "/api/v1/namespaces/argocd/secrets"
    cluster.objects[f"{path}/a"] = {"metadata": {"name": "a"}, "data": {"password": "aHVudGVyMg=="}}
    api = ClusterReader(SecretStore(tmp_path)).connect()
    assert api.metadata(path) == [{"metadata": {"name": "a"}}]


def test_what_the_server_refuses_is_a_difference(cluster: FakeCluster, tmp_path: Path) -> None:
    path = "/api/v1/namespaces/kube-system/configmaps/bad"
    cluster.objects[path] = config_map("bad")
    cluster.refused.add(path)
    state = (
        ClusterReader(SecretStore(tmp_path))
        .read([config_map("bad", color="red")])
        .objects["ConfigMap kube-system/bad"]
    )
    assert state.differences == ["(refused: spec.x: Required value)"]


def test_a_server_that_gives_up_tells_nothing_of_an_object(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    path = "/api/v1/namespaces/kube-system/configmaps/any"
    cluster.objects[path] = config_map("any")
    cluster.busy.add(path)
    facts = ClusterReader(SecretStore(tmp_path)).read([config_map("any", color="red")])
    assert not facts.reachable
    assert facts.error == "503 etcdserver: request timed out"


def test_secrets_in_objects_are_compared_and_never_told(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    def secret(name: str, key: str) -> dict[str, Any]:
        return {**config_map(name, key={"store": key}), "kind": "Secret"}

    write_private(tmp_path / "site-ca.key", b"hunter2\n")
    below = "/api/v1/namespaces/kube-system/secrets"
    cluster.objects[f"{below}/same"] = {**secret("same", ""), "data": {"key": "aHVudGVyMg=="}}
    cluster.objects[f"{below}/other"] = {**secret("other", ""), "data": {"key": "b2xk"}}
    cluster.objects[f"{below}/early"] = {**secret("early", ""), "data": {"key": "b2xk"}}
    cluster.objects[f"{below}/bad"] = {**secret("bad", ""), "data": {"key": "b2xk"}}
    cluster.refused.add(f"{below}/bad")
    wanted = [secret(name, "site-ca.key") for name in ("same", "other", "bad")]
    objects = (
        ClusterReader(SecretStore(tmp_path)).read([*wanted, secret("early", "unmade")]).objects
    )
    assert objects["Secret kube-system/same"].differences == []
    assert objects["Secret kube-system/other"].differences == ["data.key"]
    assert objects["Secret kube-system/bad"].differences == ["(refused)"]
    assert objects["Secret kube-system/early"].differences == [
        "data (the secret unmade is missing)"
    ]


def test_an_object_with_a_secret_of_a_vault_that_does_not_serve_is_left_as_it_is(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    key = new_key()
    authority = new_authority(Authority("site-ca", "the site"), key, datetime.now(UTC))
    write_private(tmp_path / "site-ca.crt", authority)
    path = "/api/v1/namespaces/kube-system/secrets/kept"
    cluster.objects[path] = {**config_map("kept"), "kind": "Secret", "data": {"key": "b2xk"}}
    value = kept_in_vault("secret/argocd/github", "secret", {"n1": "https://127.0.0.1:1"})
    wanted = {**config_map("kept", key=value), "kind": "Secret"}
    (state,) = ClusterReader(SecretStore(tmp_path)).read([wanted]).objects.values()
    assert (state.exists, list(state.differences)) == (True, [])


def test_a_certificate_that_is_due_differs_before_it_is_made(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    def store(*names: str) -> SecretStore:
        authority = Authority("site-ca", "the site")
        return SecretStore(
            tmp_path, specs=[authority, Certificate("web", "site-ca", "web", names=names)]
        )

    before = store("192.0.2.1")
    before.ensure([Certificate("web", "site-ca", "web", names=("192.0.2.1",))])
    data = {key: {"store": f"web{key[3:]}"} for key in ("tls.crt", "tls.key")}
    manifest = {**config_map("web"), "kind": "Secret", "data": data}
    live = with_secrets(manifest, before, no_vault)
    cluster.objects["/api/v1/namespaces/kube-system/secrets/web"] = dict(live)
    assert (
        ClusterReader(before).read([manifest]).objects["Secret kube-system/web"].differences == []
    )
    after = ClusterReader(store("192.0.2.2")).read([manifest])
    assert after.objects["Secret kube-system/web"].differences == ["data.tls.crt (made anew)"]


def test_nothing_listens(tmp_path: Path) -> None:
    write_kubeconfig(tmp_path, "http://127.0.0.1:9")
    facts = ClusterReader(SecretStore(tmp_path)).read([config_map("x")])
    assert not facts.reachable
    assert "refused" in facts.error


def test_no_cluster_yet(tmp_path: Path) -> None:
    facts = ClusterReader(SecretStore(tmp_path)).read([])
    assert not facts.reachable
    assert facts.error == "there is no cluster yet: its secrets have not been made"


def test_conditions(cluster: FakeCluster, tmp_path: Path) -> None:
    conditions = ClusterReader(SecretStore(tmp_path)).conditions()
    cluster.add_node("n2", ready=False)
    assert conditions["API answers at its endpoint"]({}) == (True, "")
    assert conditions["nodes registered"]({"nodes": ["n1", "n2"]}) == (True, "")
    assert conditions["nodes ready"]({"nodes": ["n1", "n2"]}) == (False, "n2 is not Ready")
    workloads = [{"kind": "DaemonSet", "namespace": "kube-system", "name": "cilium"}]
    holds, seen = conditions["workloads rolled out"]({"workloads": workloads})
    assert not holds
    assert "not found" in seen


def test_a_condition_does_not_raise_when_the_api_is_gone(tmp_path: Path) -> None:
    write_kubeconfig(tmp_path, "http://127.0.0.1:9")
    conditions = ClusterReader(SecretStore(tmp_path)).conditions()
    holds, seen = conditions["nodes ready"]({"nodes": ["n1"]})
    assert not holds
    assert "refused" in seen


def test_an_application_that_is_not_healthy_is_told_with_the_last_event(
    cluster: FakeCluster, tmp_path: Path
) -> None:
    def holds() -> tuple[bool, str]:
        reader = ClusterReader(SecretStore(tmp_path))
        given = {"namespace": "argocd", "exceptions": ["other"]}
        return reader.conditions()["applications synced and healthy"](given)

    assert not holds()[0], "nothing is known before the kind is there"
    below = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications"
    status: dict[str, Any] = {
        "sync": {"status": "Synced"},
        "health": {"status": "Degraded"},
        "resources": [
            {
                "kind": "Deployment",
                "namespace": "web",
                "name": "web",
                "status": "Synced",
                "health": {"status": "Degraded", "message": "exceeded its progress deadline"},
            }
        ],
    }
    for name in ("web", "other"):
        cluster.objects[f"{below}/{name}"] = {"metadata": {"name": name}, "status": status}
    cluster.objects["/api/v1/namespaces/web/events/e1"] = {
        "involvedObject": {"kind": "Pod", "name": "web-6d4f-x"},
        "type": "Warning",
        "reason": "Failed",
        "message": "no such image",
    }
    told = (
        "application web is Synced and Degraded, Deployment web/web:"
        " exceeded its progress deadline (Failed: no such image)"
    )
    assert holds() == (False, told)
    cluster.objects[f"{below}/web"]["status"] = {**status, "health": {"status": "Healthy"}}
    assert holds() == (True, "")
