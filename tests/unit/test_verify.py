"""The table of ``verify``, and the ground that proofs stand on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from provision.adapters.kubeapi import Credentials, KubernetesApi
from provision.adapters.proving import LABEL, proving_ground, sweep
from provision.phase import Context
from provision.proof import NotProvenError, discover_proofs
from provision.secrets import SecretStore
from provision.verbs.verify import Verdict, Verification, render
from tests.support.fakes import FakeSite, make_site
from tests.support.kubeserver import FakeCluster, serving, write_kubeconfig

THING = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "thing"}, "data": {"a": "1"}}


@pytest.fixture
def context() -> Context:
    return FakeSite(make_site()).context


@pytest.fixture
def cluster() -> Iterator[FakeCluster]:
    with serving(FakeCluster()) as running:
        yield running


@pytest.fixture
def api(cluster: FakeCluster, tmp_path: Path) -> KubernetesApi:
    write_kubeconfig(tmp_path, cluster.url)
    return KubernetesApi(Credentials.of(tmp_path))


@pytest.fixture
def store(tmp_path: Path) -> SecretStore:
    return SecretStore(tmp_path / "secrets")


def spaces(cluster: FakeCluster) -> list[str]:
    return [name for name in cluster.objects if name.startswith("/api/v1/namespaces/")]


def test_the_ground_is_gone_with_all_that_was_on_it(
    api: KubernetesApi, cluster: FakeCluster, context: Context, store: SecretStore
) -> None:
    with proving_ground(api, context, "names", store) as ground:
        ground.apply(THING)
        assert ground.get(THING)["data"] == {"a": "1"}
        assert len(spaces(cluster)) == 2
        ground.delete(THING)
        assert ground.get(THING) == {}
        ground.apply(THING)
    assert spaces(cluster) == []


def test_the_ground_is_gone_after_a_failure_too(
    api: KubernetesApi, cluster: FakeCluster, context: Context, store: SecretStore
) -> None:
    unknown = {**THING, "kind": "Unheard"}
    with (
        pytest.raises(NotProvenError, match="the cluster knows no v1 Unheard"),
        proving_ground(api, context, "names", store) as ground,
    ):
        ground.apply(THING, unknown)
    assert spaces(cluster) == []


def test_what_does_not_become_true_is_told_with_the_last_thing_seen(
    api: KubernetesApi, context: Context, store: SecretStore
) -> None:
    with (
        pytest.raises(NotProvenError) as caught,
        proving_ground(api, context, "names", store) as ground,
    ):
        ground.until("the sun to rise", lambda: "it is dark", 0)
    assert caught.value.what == "waited 0 s in vain for the sun to rise"
    assert caught.value.found == "it is dark"


def test_only_old_ground_is_swept(api: KubernetesApi, cluster: FakeCluster) -> None:
    now = datetime(2030, 1, 1, 12, tzinfo=UTC)
    for name, age in (("old", timedelta(hours=2)), ("young", timedelta(minutes=5))):
        made = (now - age).strftime("%Y-%m-%dT%H:%M:%SZ")
        metadata: dict[str, Any] = {"name": name, "labels": {LABEL: "x"}, "creationTimestamp": made}
        cluster.objects[f"/api/v1/namespaces/{name}"] = {"metadata": metadata}
    sweep(api, now)
    assert spaces(cluster) == ["/api/v1/namespaces/young"]


def test_a_table_with_the_time_of_each() -> None:
    good = Verdict("services by name", True, 4.2, "from each of 3 machines to the next")
    bad = Verdict("volume local", False, 120.0, "waited 120 s in vain for the pods a to start")
    assert list(render(Verification("lab", [good, bad]))) == [
        "ok   services by name     4.2 s  from each of 3 machines to the next",
        "BAD  volume local       120.0 s  waited 120 s in vain for the pods a to start",
        "lab does not do all that it promises (1 of 2); next: provision status",
    ]
    assert Verification("lab", [good]).failure() is None
    failure = Verification("lab", [good, bad]).failure()
    assert failure is not None
    assert failure.found == "volume local: waited 120 s in vain for the pods a to start"


def test_every_proof_is_about_a_component_that_there_is() -> None:
    from provision.plan import discover

    components = {phase.name for phase in discover()}
    proofs = discover_proofs()
    assert {proof.component for proof in proofs} <= components
    assert len({proof.name for proof in proofs}) == len(proofs)
