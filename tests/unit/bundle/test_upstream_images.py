"""Images copied by the real skopeo from a registry that misbehaves."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from provision.bundle.cancellation import Cancellation
from provision.bundle.catalog import ARCHITECTURES, Architecture
from provision.bundle.images import Images, StoredImage
from provision.bundle.results import Results
from provision.bundle.skopeo import Address, Skopeo
from provision.bundle.store import BlobStore
from provision.bundle.transfer import HttpSettings
from provision.bundle.transfer_errors import Cancelled
from provision.errors import BundleError
from tests.support.httpserver import FaultyServer, Turn
from tests.support.publisher import Publisher, sha256

REPOSITORY = "registry.k8s.io/kube-apiserver"
QUICK = HttpSettings(stall_timeout=300, tries=2, first_pause=0)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with FaultyServer() as server:
        yield Publisher(server)


@pytest.fixture
def cancelled() -> Cancellation:
    return Cancellation()


@pytest.fixture
def images(tmp_path: Path, cancelled: Cancellation) -> Images:
    store = BlobStore(tmp_path / "blobs")
    skopeo = Skopeo(QUICK, cancelled, repeats=0)
    return Images(store, Results(tmp_path / "steps", store), tmp_path / "work", skopeo)


def copy(
    images: Images, publisher: Publisher, digest: str, architecture: Architecture = "amd64"
) -> StoredImage:
    address = Address(f"{publisher.registry}/{REPOSITORY}", digest, encrypted=False)
    found = images.find(address, architecture)
    return images.copy(found, digest, architecture, lambda _size: None)


@pytest.mark.parametrize("oci", [False, True])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_platform_of_an_index_is_copied_byte_for_byte(
    images: Images, publisher: Publisher, architecture: Architecture, oci: bool
) -> None:
    published = publisher.image(REPOSITORY, oci=oci)
    stored = copy(images, publisher, published.digest, architecture)
    assert stored.manifest.sha256 == sha256(published.manifests[architecture])
    assert sha256(published.layers[architecture]) in stored.blobs
    content = images.store.path(sha256(published.layers[architecture])).read_bytes()
    assert content == published.layers[architecture]
    other = {"amd64": "arm64", "arm64": "amd64"}[architecture]
    assert not images.store.path(sha256(published.layers[other])).exists()
    assert list(images.work.iterdir()) == []


def test_an_image_without_an_index_is_copied(images: Images, publisher: Publisher) -> None:
    published = publisher.image(REPOSITORY, ["amd64"], index=False)
    stored = copy(images, publisher, published.digest)
    assert f"sha256:{stored.manifest.sha256}" == published.digest


def test_a_copied_image_is_not_asked_for_again(images: Images, publisher: Publisher) -> None:
    published = publisher.image(REPOSITORY)
    stored = copy(images, publisher, published.digest)
    publisher.server.asked.clear()
    assert images.held(published.digest, "amd64") == stored
    assert images.held(published.digest, "arm64") is None
    assert publisher.server.asked == []


def test_a_damaged_layer_in_the_store_is_copied_again(images: Images, publisher: Publisher) -> None:
    published = publisher.image(REPOSITORY)
    copy(images, publisher, published.digest)
    layer = images.store.path(sha256(published.layers["amd64"]))
    layer.chmod(0o644)
    layer.write_bytes(b"\0" + layer.read_bytes()[1:])
    assert images.held(published.digest, "amd64") is None


def test_an_architecture_that_is_not_published_is_refused(
    images: Images, publisher: Publisher
) -> None:
    published = publisher.image(REPOSITORY, ["amd64", "s390x"])
    with pytest.raises(BundleError, match="not published for this architecture") as caught:
        copy(images, publisher, published.digest, "arm64")
    assert caught.value.found == "linux/amd64, linux/s390x"
    assert caught.value.wanted == "linux/arm64"


def test_an_image_that_lies_about_its_architecture_is_refused(
    images: Images, publisher: Publisher
) -> None:
    published = publisher.image(REPOSITORY, ["arm64"], configured="amd64")
    with pytest.raises(BundleError, match="for another architecture") as caught:
        copy(images, publisher, published.digest, "arm64")
    assert (caught.value.found, caught.value.wanted) == ("amd64", "arm64")


def test_a_digest_that_is_not_there_is_told_with_the_address(
    images: Images, publisher: Publisher
) -> None:
    digest = "sha256:" + "0" * 64
    with pytest.raises(BundleError, match="the image kube-apiserver cannot be read") as caught:
        copy(images, publisher, digest)
    assert caught.value.where == f"docker://{publisher.registry}/{REPOSITORY}@{digest}"
    assert "404" in caught.value.found
    assert f"skopeo inspect {caught.value.where}" in caught.value.fix


def test_other_bytes_under_a_digest_are_refused(images: Images, publisher: Publisher) -> None:
    published = publisher.image(REPOSITORY)
    path = publisher.blob_path(REPOSITORY, published.layers["amd64"])
    wrong = b"\0" * len(published.layers["amd64"])
    publisher.server.misbehave(path, Turn(content=wrong))
    with pytest.raises(BundleError) as caught:
        copy(images, publisher, published.digest)
    assert "igest did not match" in caught.value.found
    assert "--mirror" in caught.value.fix
    assert len(publisher.server.gets(path)) == 1
    assert images.held(published.digest, "amd64") is None


def test_another_manifest_under_a_digest_is_refused(images: Images, publisher: Publisher) -> None:
    published = publisher.image(REPOSITORY)
    other = publisher.image("registry.k8s.io/other")
    path = f"/v2/{REPOSITORY}/manifests/{published.digest}"
    publisher.server.content[path] = publisher.server.content[
        f"/v2/registry.k8s.io/other/manifests/{other.digest}"
    ]
    with pytest.raises(BundleError):
        copy(images, publisher, published.digest)


def test_a_connection_cut_within_a_layer_is_tried_again(
    images: Images, publisher: Publisher
) -> None:
    published = publisher.image(REPOSITORY)
    path = publisher.blob_path(REPOSITORY, published.layers["amd64"])
    publisher.server.misbehave(path, Turn(cut_after=10), Turn())
    stored = copy(images, publisher, published.digest)
    assert sha256(published.layers["amd64"]) in stored.blobs
    assert len(publisher.server.gets(path)) >= 2


def test_a_registry_gone_silent_is_given_up(images: Images, publisher: Publisher) -> None:
    published = publisher.image(REPOSITORY)
    path = publisher.blob_path(REPOSITORY, published.layers["amd64"])
    publisher.server.misbehave(path, Turn(stall_after=10))
    images.skopeo.settings = replace(QUICK, stall_timeout=0.5)
    with pytest.raises(BundleError) as caught:
        copy(images, publisher, published.digest)
    assert caught.value.found == "no byte for 0.5 s (tried 2 times)"
    assert list(images.work.iterdir()) == []


def test_a_registry_that_wants_a_login_says_how(images: Images, publisher: Publisher) -> None:
    published = publisher.image(REPOSITORY)
    path = f"/v2/{REPOSITORY}/manifests/{published.digest}"
    publisher.server.misbehave(path, Turn(status=401))
    with pytest.raises(BundleError) as caught:
        copy(images, publisher, published.digest)
    assert caught.value.fix == f"skopeo login {publisher.registry}"


def test_a_refused_connection_names_the_registry(images: Images) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        registry = f"127.0.0.1:{free.getsockname()[1]}"
        address = Address(f"{registry}/pause", "sha256:" + "0" * 64, encrypted=False)
        with pytest.raises(BundleError) as caught:
            images.find(address, "amd64")
    assert "connection refused" in caught.value.found
    assert f"skopeo inspect {address}" in caught.value.fix


def test_a_registry_without_encryption_must_be_named_as_such(
    images: Images, publisher: Publisher
) -> None:
    published = publisher.image(REPOSITORY)
    address = Address(f"{publisher.registry}/{REPOSITORY}", published.digest)
    with pytest.raises(BundleError) as caught:
        images.find(address, "amd64")
    assert caught.value.where == str(address)
    assert "http://" in caught.value.fix


def test_cancelling_ends_a_running_copy(
    images: Images, publisher: Publisher, cancelled: Cancellation
) -> None:
    published = publisher.image(REPOSITORY)
    path = publisher.blob_path(REPOSITORY, published.layers["amd64"])
    publisher.server.misbehave(path, Turn(stall_after=10))
    address = Address(f"{publisher.registry}/{REPOSITORY}", published.digest, encrypted=False)
    found = images.find(address, "amd64")
    cancelled.set()
    with pytest.raises(Cancelled):
        images.copy(found, published.digest, "amd64", lambda _size: None)
    assert list(images.work.iterdir()) == []
