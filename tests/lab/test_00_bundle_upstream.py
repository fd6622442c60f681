"""A whole bundle from published files and images, read from this machine instead.

What a build from source made is published on 127.0.0.1 under the upstream
paths: files and archives by a web server, images by the bundle's own
registry. The catalog for this test is the shipped one with the checksums of
what is published here; components with a file that nobody publishes stay out.
"""

from __future__ import annotations

import io
import json
import socket
import subprocess
import tarfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from provision.bundle import commands
from provision.bundle.bundle import Bundle
from provision.bundle.catalog import (
    Catalog,
    Component,
    FileSpec,
    FromDownload,
    FromModule,
    Selected,
)
from provision.bundle.lock import PUBLIC_KEY
from provision.bundle.modulezip import module_sum
from provision.bundle.signing import KeyRing
from provision.bundle.toolchain import machine_architecture
from provision.errors import BundleError, DiskFullError
from tests.lab.waiting import wait_until
from tests.support.httpserver import FaultyServer, Turn
from tests.support.publisher import archive, module_zip, sha256

SERVICES = (
    "busybox",
    "cert-manager",
    "local-path-provisioner",
    "metallb",
    "metrics-server",
    "vault",
)
"""What ``inventory/services`` is made of besides the cluster."""


@pytest.fixture(scope="module")
def original() -> Bundle:
    """The bundle that was built from source."""
    return commands.show(commands.named(""))


@pytest.fixture(scope="module")
def registry(original: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the bundle's own registry, holding the bundle's images under upstream names."""
    folder = tmp_path_factory.mktemp("registry")
    program = folder / "registry"
    program.write_bytes(original.path("registry", original.architecture).read_bytes())
    program.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    configuration = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "content")}},
        "http": {"addr": address},
    }
    (folder / "config.yml").write_text(json.dumps(configuration))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", folder / "config.yml"], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait_until("the registry answers", lambda: _answers(address), seconds=30)
            for reference in original.images:
                _push(original.folder, reference, address)
            yield address
        finally:
            process.terminate()
            process.wait(30)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://{address}/v2/", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.URLError:
        return False


def _push(layout: Path, reference: str, address: str) -> None:
    target = f"docker://{address}/{reference}"
    subprocess.run(
        [
            *("skopeo", "--insecure-policy", "copy", "--quiet", "--preserve-digests"),
            *("--dest-tls-verify=false", f"oci:{layout}:{reference}", target),
        ],
        check=True,
    )


@dataclass(frozen=True)
class Published:
    """Files by path, and the catalog that knows their checksums."""

    catalog: Catalog
    content: dict[str, bytes]


@dataclass(frozen=True)
class Wanted:
    """What a bundle must hold: versions by component, digests by image and by file."""

    versions: dict[str, str]
    images: dict[str, str]
    files: dict[str, str]

    @classmethod
    def of(cls, bundle: Bundle) -> Wanted:
        """What ``bundle`` holds."""
        files = {file.name: file.sha256 for file in bundle.lock.files}
        return cls(dict(bundle.versions), dict(bundle.images), files)


@dataclass(frozen=True)
class Upstream:
    """What is published on this machine, and the catalog that knows its checksums."""

    catalog: Catalog
    server: FaultyServer
    mirrors: tuple[str, ...]
    original: Bundle

    def expected(self) -> Wanted:
        """What the original has of the published components."""
        chosen = self.catalog.select(self.original.kubernetes, machine_architecture(), "upstream")
        images = [image.reference for one in chosen.components for image in one.images]
        names = {file.name for one in chosen.components for file in one.files}
        files = [file for file in self.original.lock.files if file.name in names]
        return Wanted(
            chosen.versions,
            {reference: self.original.images[reference] for reference in images},
            {file.name: file.sha256 for file in files},
        )

    def build(self, folder: Path) -> tuple[commands.Built, Bundle]:
        """Build with a cache and keys in ``folder``."""
        keys = KeyRing(folder / "keys")
        built = commands.build(
            self.original.kubernetes,
            machine_architecture(),
            "upstream",
            mirrors=self.mirrors,
            cache=folder / "cache",
            keys=keys,
            offered=self.catalog,
        )
        return built, Bundle.open(built.path, [built.path / PUBLIC_KEY])


@pytest.fixture(scope="module")
def published(original: Bundle) -> Published:
    """The bundle's files under their upstream paths."""
    shipped = Catalog.load()
    selection = shipped.select(original.kubernetes, machine_architecture(), "source")
    content: dict[str, bytes] = {}
    components = tuple(
        _publish(shipped.component(selected.component), selected, original, content)
        for selected in selection.components
        if selected.component in original.versions and all(one.upstream for one in selected.files)
    )
    return Published(Catalog(components=components), content)


@pytest.fixture
def upstream(original: Bundle, registry: str, published: Published) -> Iterator[Upstream]:
    """A web server with the bundle's files, beside the registry with its images."""
    with FaultyServer(published.content) as server:
        mirrors = (f"https://={server.url}/", f"docker://=http://{registry}/")
        yield Upstream(published.catalog, server, mirrors, original)


def _publish(
    component: Component, selected: Selected, original: Bundle, content: dict[str, bytes]
) -> Component:
    """Put the component's files into ``content``; the component with what is published."""
    checksums = {}
    modules: dict[str, str] = {}
    for name, url in selected.downloads.items():
        files = [one for one in selected.files if one.upstream and one.upstream.download == name]
        whole = _content(files, original)
        content[_path(url)] = whole
        checksums[name] = {machine_architecture(): sha256(whole)}
        modules |= {
            file.upstream.module: module_sum(io.BytesIO(whole))
            for file in files
            if isinstance(file.upstream, FromModule)
        }
    digests = {image.reference: original.images[image.reference] for image in selected.images}
    release = next(one for one in component.releases if one.version == selected.version)
    numbers = {
        "sha256": checksums,
        "digests": digests,
        "checksums_from": "this machine",
        "modules": modules,
    }
    return component.model_copy(update={"releases": (release.model_copy(update=numbers),)})


def _content(files: list[FileSpec], original: Bundle) -> bytes:
    """The one file, or an archive of all with the paths that upstream's has."""
    content: dict[str, bytes] = {}
    for file in files:
        held = original.path(file.name, machine_architecture()).read_bytes()
        match file.upstream:
            case FromModule():
                return module_zip(file.upstream.module, _unpacked(held, file.upstream.chart))
            case FromDownload():
                content[file.upstream.member] = held
    return content[""] if "" in content else archive(content)


def _unpacked(chart: bytes, folder: str) -> dict[str, bytes]:
    """The files of a packed chart, as they lie in ``folder`` of a module."""
    with tarfile.open(fileobj=io.BytesIO(chart), mode="r:gz") as content:
        return {
            f"{folder}/{entry.name.partition('/')[2]}": file.read()
            for entry in content
            if (file := content.extractfile(entry))
        }


def _path(url: str) -> str:
    return "/" + url.removeprefix("https://")


def test_a_bundle_from_upstream_holds_the_published_bytes(
    upstream: Upstream, tmp_path: Path
) -> None:
    built, bundle = upstream.build(tmp_path)
    bundle.verify()
    assert bundle.lock.source == "upstream"
    assert set(SERVICES) & set(upstream.original.versions) <= set(bundle.versions)
    assert Wanted.of(bundle) == upstream.expected()
    for file in bundle.lock.files:
        assert file.origin.startswith("https://")
    assert not list((tmp_path / "cache").glob("upstream/**/*.part"))
    assert built.lock == bundle.lock


def test_broken_slow_and_wrong_downloads_end_in_the_same_bundle(
    upstream: Upstream, tmp_path: Path
) -> None:
    """The first run meets a wrong file and a missing one; the second one resumes."""
    kubelet = _path(f"https://dl.k8s.io/release/v{upstream.original.kubernetes}/bin/linux/")
    kubelet += f"{machine_architecture()}/kubelet"
    kubeadm = kubelet.replace("kubelet", "kubeadm")
    kubectl = kubelet.replace("kubelet", "kubectl")
    upstream.server.misbehave(
        kubelet, Turn(cut_after=20_000_000), Turn(cut_after=7_000_000), Turn()
    )
    upstream.server.misbehave(kubeadm, Turn(content=b"<html>log in to the guest network</html>"))
    upstream.server.misbehave(kubectl, Turn(status=404))
    with pytest.raises(BundleError) as caught:
        upstream.build(tmp_path)
    assert "kubernetes/kubeadm is not the file that was published" in str(caught.value)
    assert "HTTP 404 Not Found" in str(caught.value)
    ranges = [asked.headers.get("Range") for asked in upstream.server.gets(kubelet)]
    assert ranges == [None, "bytes=20000000-", "bytes=27000000-"]

    upstream.server.asked.clear()
    upstream.server.misbehave(kubeadm, Turn())
    upstream.server.misbehave(kubectl, Turn(announced=10**12), Turn())
    with pytest.raises(DiskFullError):
        upstream.build(tmp_path)
    assert upstream.server.gets(kubectl) == []
    upstream.server.misbehave(kubectl, Turn())
    _, bundle = upstream.build(tmp_path)
    bundle.verify()
    assert {asked.path for asked in upstream.server.asked} == {kubeadm, kubectl}
    assert Wanted.of(bundle) == upstream.expected()


def test_an_image_that_the_registry_lacks_is_named(upstream: Upstream, tmp_path: Path) -> None:
    component = upstream.catalog.component("kubernetes")
    release = component.releases[0]
    reference = next(iter(release.digests))
    digests = {**release.digests, reference: "sha256:" + "0" * 64}
    release = release.model_copy(update={"digests": digests})
    changed = component.model_copy(update={"releases": (release,)})
    others = [one for one in upstream.catalog.components if one.name != "kubernetes"]
    lacking = replace(upstream, catalog=Catalog(components=(changed, *others)))
    with pytest.raises(BundleError) as caught:
        lacking.build(tmp_path)
    assert "sha256:" + "0" * 64 in caught.value.where
    assert "manifest unknown" in caught.value.found
    assert upstream.server.asked == []
