"""The services' charts at each version that the catalog has, rendered with what phases give them.

Helm comes out of the bundle and charts out of their Go modules; no machine is asked. What a
source has is what counts: its versions, its images, its charts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from provision.bundle import commands
from provision.bundle.bundle import Bundle
from provision.bundle.catalog import FromModule, SourceKind
from provision.bundle.gomodules import GoWorkshop
from provision.bundle.modulezip import pack_chart, require_sum
from provision.bundle.store import BlobStore, hash_file
from provision.bundle.toolchain import ensure_toolchain, machine_architecture
from provision.charts import images
from provision.clusterphase import WORKLOADS, ClusterPhase
from provision.paths import cache_path
from provision.phase import Context, Manifest
from provision.phases.cert_manager import CertManager
from provision.phases.load_balancer import LoadBalancer
from provision.phases.local_storage import LocalStorage
from provision.phases.metrics_server import CLUSTER_CA, MetricsServer
from provision.phases.shared_storage import SharedStoragePhase
from tests.support.cases import EverySecret, make_site, sample_settings
from tests.support.chartbundle import ChartBundle
from tests.support.definitions import instance_kinds, instance_problems

ROUTER = {"address": "192.0.2.254", "asn": 4200000000, "password": {"store": "router"}}
DNS = {"server": "192.0.2.53:53", "key_name": "acme.", "key": {"store": "acme"}}
LOGIN = {"role_id": "r", "secret_id": {"store": "login"}}
SETTINGS: Mapping[str, Any] = {
    "cert_manager": {
        "nameservers": ["192.0.2.53:53"],
        "issuers": {
            "site-ca": {"ca": {}},
            "by-dns": {"acme": {"dns": DNS, "email": "a@example.org"}},
            "by-provider": {
                "acme": {
                    "provider": {
                        "solver": "cloudflare",
                        "secrets": {"apiTokenSecretRef": {"store": "token"}},
                    }
                }
            },
            "by-http": {"acme": {"http": {}}},
            "vault-role": {"vault": {"server": "https://vault.example:8200", "app_role": LOGIN}},
            "vault-kubernetes": {
                "vault": {"server": "https://vault.example:8200", "kubernetes": {"role": "r"}}
            },
        },
    },
    "load_balancer": {
        "pools": {
            "near": {"addresses": ["192.0.2.200-192.0.2.210"], "namespaces": ["web"]},
            "routed": {"addresses": ["198.51.100.0/26"], "announce": "bgp", "auto_assign": False},
        },
        "bgp": {"asn": 64513, "peers": [ROUTER]},
    },
    "local_storage": {"machines": {"n2": {"path": "/srv/volumes/n2"}}},
    "metrics_server": {},
    "shared_storage": sample_settings("shared_storage"),
}


@pytest.fixture(scope="module")
def original() -> Bundle:
    """The bundle that was built from source."""
    return commands.show(commands.named(""))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoWorkshop]:
    """Where charts are packed; modules are gone afterwards."""
    folder = tmp_path_factory.mktemp("charts")
    toolchain = ensure_toolchain(cache_path() / "go")
    made = GoWorkshop(toolchain, folder / "go", BlobStore(folder / "blobs"), machine_architecture())
    yield made
    made.drop_modules()


@pytest.fixture(scope="module", params=["source", "upstream"])
def bundle(request: pytest.FixtureRequest, original: Bundle, workshop: GoWorkshop) -> ChartBundle:
    """What one source has."""
    kind: SourceKind = request.param
    return ChartBundle(original, workshop, kind)


@pytest.fixture(scope="module")
def context(bundle: ChartBundle) -> Context:
    """A site with every service."""
    return Context(make_site(SETTINGS), bundle, EverySecret())


def objects_of(phase: ClusterPhase, context: Context) -> list[Manifest]:
    """What a phase would apply; nothing is its own that a version does not take."""
    objects = list(phase.objects(context))
    assert instance_problems(objects) == []
    return objects


def workloads(objects: list[Manifest]) -> dict[str, Manifest]:
    """By name."""
    return {item["metadata"]["name"]: item for item in objects if item["kind"] in WORKLOADS}


def arguments(workload: Manifest) -> list[str]:
    """Of its first container."""
    found: list[str] = workload["spec"]["template"]["spec"]["containers"][0]["args"]
    return found


def config_map(objects: list[Manifest]) -> Mapping[str, str]:
    """The content of the only one."""
    (data,) = (item["data"] for item in objects if item["kind"] == "ConfigMap")
    found: Mapping[str, str] = data
    return found


def test_the_sources_have_other_versions(original: Bundle, workshop: GoWorkshop) -> None:
    built, published = (
        ChartBundle(original, workshop, kind).versions for kind in ("source", "upstream")
    )
    differ = {name for name in published if built.get(name) != published[name]}
    assert {"cert-manager", "metallb"} <= differ


def test_cert_manager(context: Context, bundle: ChartBundle) -> None:
    objects = objects_of(CertManager(), context)
    assert instance_kinds(objects) == {"ClusterIssuer"}
    found = workloads(objects)
    assert set(found) == {
        "cert-manager",
        "cert-manager-cainjector",
        "cert-manager-webhook",
    }
    assert not any(item["kind"] == "Job" for item in objects)
    given = arguments(found["cert-manager"])
    assert "--dns01-recursive-nameservers=192.0.2.53:53" in given
    assert "--dns01-recursive-nameservers-only" in given
    (solver,) = (
        argument.removeprefix("--acme-http01-solver-image=")
        for argument in given
        if argument.startswith("--acme-http01-solver-image=")
    )
    assert {*images(objects), solver} == bundle.images_of("cert-manager")


def test_cert_managers_pods_are_as_its_namespace_wants_them(context: Context) -> None:
    objects = objects_of(CertManager(), context)
    (namespace,) = (item for item in objects if item["kind"] == "Namespace")
    labels = namespace["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, workload in workloads(objects).items():
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in pod["containers"]:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, name
            assert own["capabilities"] == {"drop": ["ALL"]}, name


def test_the_load_balancer(context: Context, bundle: ChartBundle) -> None:
    objects = objects_of(LoadBalancer(), context)
    assert instance_kinds(objects) == {
        "BGPAdvertisement",
        "BGPPeer",
        "IPAddressPool",
        "L2Advertisement",
    }
    found = workloads(objects)
    assert set(found) == {"metallb-controller", "metallb-speaker"}
    assert set(images(objects)) == bundle.images_of("metallb")
    speaker = found["metallb-speaker"]["spec"]["template"]["spec"]["containers"][0]
    # Without a type, MetalLB speaks BGP itself.
    assert "METALLB_BGP_TYPE" not in {one["name"] for one in speaker["env"]}


def test_local_storage(context: Context, bundle: ChartBundle) -> None:
    objects = objects_of(LocalStorage(), context)
    assert set(workloads(objects)) == {"local-path-provisioner"}
    assert set(images(objects)) == bundle.images_of("local-path-provisioner")
    (kind,) = (item for item in objects if item["kind"] == "StorageClass")
    assert kind["metadata"]["name"] == "standard"
    told = config_map(objects)
    paths = {
        one["node"]: one["paths"] for one in yaml.safe_load(told["config.json"])["nodePathMap"]
    }
    assert paths == {
        "DEFAULT_PATH_FOR_NON_LISTED_NODES": ["/var/lib/local-storage"],
        "n2": ["/srv/volumes/n2"],
    }
    helper = yaml.safe_load(told["helperPod.yaml"])
    assert set(images([helper])) == bundle.images_of("busybox")


def test_shared_storage(context: Context, bundle: ChartBundle) -> None:
    objects = objects_of(SharedStoragePhase(), context)
    assert set(workloads(objects)) == {"shared-storage-provisioner"}
    assert set(images(objects)) == bundle.images_of("local-path-provisioner")
    told = config_map(objects)
    folder = yaml.safe_load(told["config.json"])["sharedFileSystemPath"]
    assert folder == f"{context.site.settings(SharedStoragePhase.settings).path}/volumes"
    assert set(images([yaml.safe_load(told["helperPod.yaml"])])) == bundle.images_of("busybox")


def test_the_metrics_server(context: Context, bundle: ChartBundle) -> None:
    objects = objects_of(MetricsServer(), context)
    (server,) = workloads(objects).values()
    assert f"--kubelet-certificate-authority={CLUSTER_CA}" in arguments(server)
    assert set(images(objects)) == bundle.images_of("metrics-server")


# The chart that is compared is in a bundle for a site with storage.
@pytest.mark.services
def test_the_archive_of_a_module_has_both_its_checksums_and_the_chart_that_source_builds(
    bundle: ChartBundle, original: Bundle, workshop: GoWorkshop, tmp_path: Path
) -> None:
    (component,) = (
        one for one in bundle.selection.components if one.component == "local-path-provisioner"
    )
    (file,) = component.files
    assert isinstance(file.upstream, FromModule)
    assert bundle.path(file.name, component.architecture).is_file()
    module, _, version = file.upstream.module.partition("@")
    archive = workshop.module_cache / "cache" / "download" / module / "@v" / f"{version}.zip"
    assert hash_file(archive).sha256 == component.sha256[file.upstream.download]
    require_sum(archive, file.upstream.module, component.modules[file.upstream.module])
    packed = pack_chart(archive, file.upstream.part, BlobStore(tmp_path))
    assert packed.sha256 == original.sha256(file.name, component.architecture)
