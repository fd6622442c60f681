"""The source ``upstream``, from a local server that has the upstream paths."""

from __future__ import annotations

import hashlib
import shutil
import signal
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from provision.bundle.catalog import Catalog, Selection
from provision.bundle.mirrors import Mirrors
from provision.bundle.progress import Outcome, Step
from provision.bundle.sources import Provided
from provision.bundle.store import BlobStore
from provision.bundle.transfer import HttpSettings
from provision.bundle.upstream import UpstreamOptions, UpstreamSource
from provision.errors import BundleError, ConfigError, DiskFullError, UsageError
from tests.support.httpserver import FaultyServer, Turn
from tests.support.publisher import Publisher, archive, module_zip, sha256
from tests.support.tls import server_context

QUICK = HttpSettings(stall_timeout=300, tries=2, first_pause=0)
KUBELET = b"kubelet for amd64" * 5000
CONTAINERD = b"containerd for amd64" * 5000
CHART = b"chart" * 100
ARCHIVE = archive({"./bin/containerd": CONTAINERD, "bin/ctr": b"ctr", "README": b"read me"})
KUBELET_PATH = "/dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubelet"
ARCHIVE_PATH = "/github.com/containerd/v2.4.1/containerd-2.4.1-linux-amd64.tar.gz"
CHART_PATH = "/helm.cilium.io/cilium-1.20.2.tgz"
MODULE = "example.org/storage@v1.2.0"
MODULE_ZIP = module_zip(MODULE, {"deploy/chart/Chart.yaml": b"name: storage\n"})
MODULE_SUM = "h1:leGYPOvJsL5S58cFx9q5cSXmEY3wSAEFZLuuU88V8Fs="
MODULE_PATH = "/proxy.golang.org/example.org/storage/@v/v1.2.0.zip"


@dataclass
class Heard:
    """A progress that remembers."""

    steps: list[str] = field(default_factory=list)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    details: list[str] = field(default_factory=list)

    def planned(self, steps: tuple[Step, ...]) -> None:
        self.steps = [step.name for step in steps]

    def started(self, name: str) -> None:
        assert name in self.steps

    def detail(self, name: str, text: str) -> None:
        self.details.append(f"{name}: {text}")

    def finished(self, name: str, outcome: Outcome, seconds: float) -> None:
        assert seconds >= 0
        self.outcomes[name] = outcome


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with FaultyServer() as server:
        yield Publisher(server)


@pytest.fixture
def catalog(publisher: Publisher) -> Catalog:
    return publish(publisher)


def publish(publisher: Publisher) -> Catalog:
    """Three components, published on the local server under their upstream paths."""
    publisher.file(KUBELET_PATH, KUBELET)
    publisher.file(ARCHIVE_PATH, ARCHIVE)
    publisher.file(CHART_PATH, CHART)
    apiserver = publisher.image("registry.k8s.io/kube-apiserver")
    cilium = publisher.image("quay.io/cilium/cilium", oci=True)
    kubernetes = component(
        "kubernetes",
        "1.36.3",
        downloads={
            "kubelet": "https://dl.k8s.io/release/v{version}/bin/linux/{architecture}/kubelet"
        },
        files=[{"name": "kubelet", "upstream": {"download": "kubelet"}}],
        images=[{"reference": "registry.k8s.io/kube-apiserver:v{version}"}],
        sha256={"kubelet": sha256(KUBELET)},
        digests={"registry.k8s.io/kube-apiserver:v1.36.3": apiserver.digest},
    )
    containerd = component(
        "containerd",
        "2.4.1",
        downloads={
            "containerd": "https://github.com/containerd/v{version}"
            "/containerd-{version}-linux-{architecture}.tar.gz"
        },
        files=[
            {"name": name, "upstream": {"download": "containerd", "member": f"bin/{name}"}}
            for name in ("containerd", "ctr")
        ],
        sha256={"containerd": sha256(ARCHIVE)},
    )
    network = component(
        "cilium",
        "1.20.2",
        downloads={"chart": "https://helm.cilium.io/cilium-{version}.tgz"},
        files=[
            {
                "name": "cilium-chart",
                "kind": "chart",
                "any_architecture": True,
                "upstream": {"download": "chart"},
            }
        ],
        images=[{"reference": "quay.io/cilium/cilium:v{version}"}],
        sha256={"chart": sha256(CHART)},
        digests={"quay.io/cilium/cilium:v1.20.2": cilium.digest},
    )
    return Catalog.model_validate({"components": [kubernetes, containerd, network]})


def component(name: str, version: str, **parts: Any) -> dict[str, Any]:
    checksums = {download: {"amd64": number} for download, number in parts.pop("sha256").items()}
    release = {
        "version": version,
        "sha256": checksums,
        "digests": parts.pop("digests", {}),
        "checksums_from": "the local server",
    }
    about = {"about": name, "home": "https://example.org", "license": "Apache-2.0"}
    return {"name": name, **about, **parts, "releases": [release]}


def with_module(catalog: Catalog, publisher: Publisher, module_sum: str = MODULE_SUM) -> Catalog:
    """The catalog with a component whose chart is published as a part of a Go module alone."""
    publisher.file(MODULE_PATH, MODULE_ZIP)
    storage = component(
        "storage",
        "1.2.0",
        downloads={"module": "https://proxy.golang.org/example.org/storage/@v/v{version}.zip"},
        files=[
            {
                "name": "storage-chart",
                "kind": "chart",
                "any_architecture": True,
                "upstream": {
                    "download": "module",
                    "module": "example.org/storage@v{version}",
                    "chart": "deploy/chart",
                },
            }
        ],
        sha256={"module": sha256(MODULE_ZIP)},
    )
    storage["releases"][0]["modules"] = {MODULE: module_sum} if module_sum else {}
    return Catalog.model_validate(
        {"components": [*catalog.model_dump()["components"], {**storage, "optional": True}]}
    )


@pytest.fixture
def selection(catalog: Catalog) -> Selection:
    return catalog.select("1.36.3", "amd64", "upstream")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def provide(
    publisher: Publisher,
    cache: Path,
    selection: Selection,
    heard: Heard | None = None,
) -> dict[str, Provided]:
    url = publisher.server.url
    mirrors = Mirrors.parse([f"https://={url}/", f"docker://={url}/"])
    options = UpstreamOptions(mirrors, QUICK)
    source = UpstreamSource(cache, BlobStore(cache / "blobs"), options)
    source.require(selection)
    return dict(source.provide(selection, heard or Heard()))


def test_everything_arrives_from_the_upstream_paths(
    publisher: Publisher, cache: Path, selection: Selection
) -> None:
    heard = Heard()
    provided = provide(publisher, cache, selection, heard)
    files = {file.name: file for one in provided.values() for file in one.files}
    store = BlobStore(cache / "blobs")
    contents = {name: store.path(file.sha256).read_bytes() for name, file in files.items()}
    assert contents == {
        "kubelet": KUBELET,
        "containerd": CONTAINERD,
        "ctr": b"ctr",
        "cilium-chart": CHART,
    }
    assert files["kubelet"].origin == "https://dl.k8s.io/release/v1.36.3/bin/linux/amd64/kubelet"
    assert files["cilium-chart"].any_architecture
    images = {image.reference: image for one in provided.values() for image in one.images}
    assert set(images) == {
        "registry.k8s.io/kube-apiserver:v1.36.3",
        "quay.io/cilium/cilium:v1.20.2",
    }
    for image in images.values():
        manifest = store.path(image.manifest_sha256).read_bytes()
        assert hashlib.sha256(manifest).hexdigest() == image.manifest_sha256
        assert len(manifest) == image.manifest_size
        assert all(store.path(name).stat().st_size == size for name, size in image.blobs.items())
    assert set(heard.outcomes) == set(heard.steps)
    assert set(heard.outcomes.values()) == {"downloaded"}


def test_a_second_run_asks_nobody(publisher: Publisher, cache: Path, selection: Selection) -> None:
    first = provide(publisher, cache, selection)
    publisher.server.asked.clear()
    heard = Heard()
    assert provide(publisher, cache, selection, heard) == first
    assert publisher.server.asked == []
    assert set(heard.outcomes.values()) == {"kept"}


def test_an_archive_is_not_needed_once_its_files_are_out(
    publisher: Publisher, cache: Path, selection: Selection
) -> None:
    first = provide(publisher, cache, selection)
    BlobStore(cache / "blobs").remove(sha256(ARCHIVE))
    publisher.server.asked.clear()
    assert provide(publisher, cache, selection) == first
    assert publisher.server.asked == []


def test_a_chart_comes_out_of_a_module(publisher: Publisher, cache: Path, catalog: Catalog) -> None:
    selection = with_module(catalog, publisher).select("1.36.3", "amd64", "upstream")
    first = provide(publisher, cache, selection)
    (chart,) = first["storage"].files
    with tarfile.open(BlobStore(cache / "blobs").path(chart.sha256), "r:gz") as content:
        assert "storage/Chart.yaml" in content.getnames()
    assert chart.origin == f"https:/{MODULE_PATH}"
    publisher.server.asked.clear()
    assert provide(publisher, cache, selection) == first
    assert publisher.server.asked == []


def test_a_module_with_another_sum_than_the_databases_is_refused(
    publisher: Publisher, cache: Path, catalog: Catalog
) -> None:
    wrong = with_module(catalog, publisher, "h1:other").select("1.36.3", "amd64", "upstream")
    with pytest.raises(BundleError, match="a Go module's checksum is wrong") as caught:
        provide(publisher, cache, wrong)
    assert caught.value.found == MODULE_SUM


def test_a_module_without_the_databases_sum_counts_as_not_published(
    publisher: Publisher, catalog: Catalog
) -> None:
    offered = with_module(catalog, publisher, "")
    assert "storage" not in offered.select("1.36.3", "amd64", "upstream").versions


def test_a_damaged_blob_is_read_again(
    publisher: Publisher, cache: Path, selection: Selection
) -> None:
    first = provide(publisher, cache, selection)
    kubelet = BlobStore(cache / "blobs").path(sha256(KUBELET))
    kubelet.chmod(0o644)
    kubelet.write_bytes(b"damaged")
    assert provide(publisher, cache, selection) == first
    assert kubelet.read_bytes() == KUBELET


def test_a_failure_keeps_what_arrived_and_the_next_run_reads_the_rest(
    publisher: Publisher, cache: Path, selection: Selection
) -> None:
    publisher.server.misbehave(KUBELET_PATH, Turn(status=404))
    with pytest.raises(BundleError) as caught:
        provide(publisher, cache, selection)
    assert caught.value.found == "HTTP 404 Not Found"
    publisher.server.asked.clear()
    publisher.server.misbehave(KUBELET_PATH, Turn())
    heard = Heard()
    provide(publisher, cache, selection, heard)
    assert {one.path for one in publisher.server.asked} == {KUBELET_PATH}
    assert [name for name, how in heard.outcomes.items() if how == "downloaded"] == [
        "kubernetes/kubelet"
    ]


def test_a_cut_download_is_resumed_by_the_next_run(
    publisher: Publisher, cache: Path, selection: Selection
) -> None:
    publisher.server.misbehave(KUBELET_PATH, Turn(cut_after=40_000), Turn(cut_after=0))
    with pytest.raises(BundleError, match="cannot be downloaded"):
        provide(publisher, cache, selection)
    publisher.server.asked.clear()
    publisher.server.misbehave(KUBELET_PATH, Turn())
    provide(publisher, cache, selection)
    assert publisher.server.gets(KUBELET_PATH)[0].headers["Range"] == "bytes=40000-"
    assert not (cache / "upstream").exists()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell that starts us in the background lets us ignore the signal, and Python keeps that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_ends_stalled_reads_at_once(
    publisher: Publisher, cache: Path, selection: Selection
) -> None:
    publisher.server.misbehave(KUBELET_PATH, Turn(stall_after=10_000))

    class Interrupting(Heard):
        def detail(self, name: str, text: str) -> None:
            if name == "kubernetes/kubelet":
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        provide(publisher, cache, selection, Interrupting())
    publisher.server.misbehave(KUBELET_PATH, Turn())
    provide(publisher, cache, selection)


def test_all_failures_are_told_together(
    publisher: Publisher, cache: Path, selection: Selection
) -> None:
    publisher.server.misbehave(KUBELET_PATH, Turn(status=404))
    publisher.server.misbehave(CHART_PATH, Turn(content=b"<html>log in</html>"))
    with pytest.raises(BundleError, match="kubernetes/kubelet cannot be downloaded") as caught:
        provide(publisher, cache, selection)
    assert caught.value.found == "HTTP 404 Not Found"
    (other,) = caught.value.also
    assert other.startswith(f"{publisher.server.url}{CHART_PATH}: cilium/chart is not the file")


def test_a_missing_image_is_told_before_anything_is_downloaded(
    publisher: Publisher, cache: Path, catalog: Catalog, selection: Selection
) -> None:
    digest = selection.components[0].digests["registry.k8s.io/kube-apiserver:v1.36.3"]
    publisher.server.misbehave(
        f"/v2/registry.k8s.io/kube-apiserver/manifests/{digest}", Turn(status=404)
    )
    with pytest.raises(BundleError, match="the image kube-apiserver cannot be read"):
        provide(publisher, cache, selection)
    assert publisher.server.gets(KUBELET_PATH) == []


def test_too_little_disk_is_told_before_anything_is_downloaded(
    publisher: Publisher, cache: Path, selection: Selection
) -> None:
    free = shutil.disk_usage(cache.parent).free
    publisher.server.misbehave(ARCHIVE_PATH, Turn(announced=free))
    with pytest.raises(DiskFullError) as caught:
        provide(publisher, cache, selection)
    assert "PROVISION_CACHE" in caught.value.fix
    assert publisher.server.gets(KUBELET_PATH) == []


def test_a_version_without_published_checksums_lists_those_that_have_them(
    cache: Path, catalog: Catalog
) -> None:
    selection = Catalog.load().select("1.37.2", "amd64", "source")
    source = UpstreamSource(cache, BlobStore(cache / "blobs"))
    with pytest.raises(BundleError) as caught:
        source.require(selection)
    assert "1.36.3" in caught.value.wanted
    assert "--source upstream --kubernetes" in caught.value.fix


def test_a_missing_skopeo_is_told_with_its_package(
    cache: Path, selection: Selection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(cache))
    with pytest.raises(BundleError) as caught:
        UpstreamSource(cache, BlobStore(cache / "blobs")).require(selection)
    assert caught.value.fix == "apt-get install skopeo"


@pytest.mark.parametrize("named", [True, False])
def test_a_company_mirror_is_believed_by_its_authority_only(
    tmp_path: Path, cache: Path, named: bool
) -> None:
    context, ca = server_context(tmp_path)
    with FaultyServer(context=context) as server:
        publisher = Publisher(server)
        selection = publish(publisher).select("1.36.3", "amd64", "upstream")
        registry = f"docker://{publisher.registry}/"
        mirrors = [f"https://={server.url}/", f"docker://={registry}"]
        options = UpstreamOptions.parse(mirrors, ca if named else None)
        options = replace(options, http=replace(options.http, tries=1))
        source = UpstreamSource(cache, BlobStore(cache / "blobs"), options)
        if named:
            assert set(source.provide(selection, Heard())) == {"kubernetes", "containerd", "cilium"}
            return
        with pytest.raises(BundleError) as caught:
            source.provide(selection, Heard())
        assert "--ca-bundle" in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"no certificate"])
def test_a_certificate_file_without_certificates_is_refused(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="certificates cannot be read") as caught:
        UpstreamOptions.parse([], path)
    assert caught.value.where == str(path)
    assert "--ca-bundle" in caught.value.fix


@pytest.mark.parametrize(
    "text", ["", "mirror.example.org", "https://dl.k8s.io", "a=b", "=docker://a"]
)
def test_a_mirror_of_another_form_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Mirrors.parse([text])
    assert caught.value.found == text
    assert "--mirror https://dl.k8s.io=" in caught.value.fix


def test_the_longest_prefix_decides_and_ends_at_a_slash() -> None:
    mirrors = Mirrors.parse(
        [
            "https://dl.k8s.io=https://mirror.example.org/k8s",
            "https://dl.k8s.io/release=https://near.example.org",
            "docker://registry.k8s.io=docker://mirror.example.org:5000/k8s",
            "docker://quay.io=http://127.0.0.1:5000/quay",
        ]
    )
    assert mirrors.url("https://dl.k8s.io/release/v1/kubelet") == (
        "https://near.example.org/v1/kubelet"
    )
    assert mirrors.url("https://dl.k8s.io/other") == "https://mirror.example.org/k8s/other"
    assert mirrors.url("https://dl.k8s.io.example.org/x") == "https://dl.k8s.io.example.org/x"
    kept = mirrors.image("docker.io/library/busybox:1.38.0", "sha256:0")
    assert str(kept) == "docker://docker.io/library/busybox@sha256:0"
    near = mirrors.image("registry.k8s.io/pause:3.10.2", "sha256:0")
    assert str(near) == "docker://mirror.example.org:5000/k8s/pause@sha256:0"
    assert near.encrypted
    plain = mirrors.image("quay.io/cilium/cilium:v1.20.2", "sha256:0")
    assert str(plain) == "docker://127.0.0.1:5000/quay/cilium/cilium@sha256:0"
    assert not plain.encrypted
