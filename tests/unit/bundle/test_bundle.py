"""A bundle opens only as it was signed; every way to spoil it has its own message."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.app import Application
from provision.bundle.bundle import Bundle
from provision.bundle.layout import bring_back, exchange, write_bundle
from provision.bundle.lock import LOCK, PUBLIC_KEY, SBOM, SIGNATURE
from provision.bundle.signing import KeyRing
from provision.errors import BundleError
from tests.support.bundles import SmallBundle, small_bundle
from tests.support.cases import make_site


@pytest.fixture
def small(tmp_path: Path) -> SmallBundle:
    return small_bundle(tmp_path)


def _spoil(path: Path, change: Callable[[bytes], bytes]) -> None:
    content = change(path.read_bytes())
    path.unlink()
    path.write_bytes(content)


def test_a_bundle_says_what_is_in_it(small: SmallBundle) -> None:
    bundle = small.open()
    assert bundle.versions == {"kubernetes": "1.36.3", "pause": "1.0.0"}
    assert set(bundle.images) == {"registry.example/api:v1", "registry.example/deep/pause:1"}
    assert bundle.path("kubeadm", "amd64").read_bytes() == b"the kubeadm"
    assert bundle.file("kubelet", "amd64").size == len(b"the kubelet")
    assert bundle.image("registry.example/api:v1").architecture == "amd64"
    bundle.verify()


def test_packages_are_known_by_release(tmp_path: Path) -> None:
    made = small_bundle(tmp_path, packages={"12": ("chrony", "socat"), "13": ("chrony",)})
    bundle = made.open()
    assert bundle.os_packages == {"12": {"chrony", "socat"}, "13": {"chrony"}}
    assert bundle.path("debian-13/Packages", "amd64").read_text() == "the index of 13"
    assert bundle.versions["debian-12"] == "12"
    bundle.verify()
    assert small_bundle(tmp_path / "other").open().os_packages == {}


def test_a_site_finds_the_bundle_of_its_kind_first(tmp_path: Path) -> None:
    plain = small_bundle(tmp_path)
    folder = tmp_path / "bundles"
    assert Bundle.find(folder, "1.36.3", os_packages=True) == plain.folder
    other = small_bundle(tmp_path, "1.36.3-source-amd64-debian-12", packages={"12": ("chrony",)})
    assert Bundle.find(folder, "1.36.3") == plain.folder
    assert Bundle.find(folder, "1.36.3", os_packages=True) == other.folder


def test_a_site_finds_the_bundle_with_the_versions_that_it_names(tmp_path: Path) -> None:
    usual = small_bundle(tmp_path)
    folder = tmp_path / "bundles"
    chosen = small_bundle(tmp_path, "1.36.3-source-amd64-pause-1", chosen={"pause": "1.0.0"})
    assert Bundle.find(folder, "1.36.3") == usual.folder
    assert Bundle.find(folder, "1.36.3", versions={"pause": "1.0.0"}) == usual.folder
    shutil.rmtree(usual.folder)
    assert Bundle.find(folder, "1.36.3") == chosen.folder
    with pytest.raises(BundleError) as caught:
        Bundle.find(folder, "1.36.3", versions={"pause": "2", "etcd": "3.6.8"})
    assert (
        caught.value.what == "there is no bundle for Kubernetes 1.36.3 and etcd=3.6.8 and pause=2"
    )
    assert caught.value.fix == (
        "provision bundle build --kubernetes 1.36.3 --component etcd=3.6.8 --component pause=2"
    )


def test_a_bundle_of_other_versions_than_the_sites_is_refused(small: SmallBundle) -> None:
    bundle = small.open()
    bundle.require_versions({"pause": "1.0.0"})
    with pytest.raises(BundleError, match=r"names in bundle\.versions") as caught:
        bundle.require_versions({"pause": "2", "etcd": "3.6.8"})
    assert caught.value.found == "pause 1.0.0, etcd missing"
    assert caught.value.wanted == "pause 2, etcd 3.6.8"


@pytest.mark.parametrize("by_path", [False, True])
def test_a_sites_versions_hold_for_its_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, by_path: bool
) -> None:
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path))
    small = small_bundle(tmp_path)
    wanted = {
        "trusted_keys": [str(small.folder / PUBLIC_KEY)],
        "versions": {"pause": "1.0.0"},
        **({"path": str(small.folder)} if by_path else {}),
    }
    assert Application(make_site({"bundle": wanted})).bundle.folder == small.folder
    wrong = make_site({"bundle": {**wanted, "versions": {"pause": "2"}}})
    with pytest.raises(BundleError) as caught:
        _ = Application(wrong).bundle
    assert caught.value.fix.endswith("--component pause=2")


def test_a_site_finds_the_bundle_with_what_it_needs_on_request_and_no_more(tmp_path: Path) -> None:
    plain = small_bundle(tmp_path)
    folder = tmp_path / "bundles"
    assert Bundle.find(folder, "1.36.3", requested={"argocd"}) == plain.folder
    other = small_bundle(tmp_path, "1.36.3-source-amd64-argocd", requested=("argocd",))
    assert Bundle.find(folder, "1.36.3") == plain.folder
    assert Bundle.find(folder, "1.36.3", requested={"argocd"}) == other.folder
    more = small_bundle(tmp_path, "1.36.3-source-amd64-argocd-more", requested=("argocd", "more"))
    assert Bundle.find(folder, "1.36.3", requested={"argocd"}) == other.folder
    assert Bundle.find(folder, "1.36.3", requested={"more"}) == more.folder


def test_a_bundle_without_what_is_needed_on_request_is_refused(tmp_path: Path) -> None:
    made = small_bundle(tmp_path, packages={"12": ("chrony",)}, requested=("more",))
    bundle = made.open()
    assert bundle.lock.requested == ("more",)
    bundle.require({"more"})
    with pytest.raises(BundleError, match="has no argocd, which the site file names") as caught:
        bundle.require({"argocd"})
    assert caught.value.fix == (
        "provision bundle build --kubernetes 1.36.3 --os-packages 12 --with argocd --with more"
    )


def test_a_lock_of_before_components_on_request_keeps_its_digest(small: SmallBundle) -> None:
    assert b"requested" not in (small.folder / LOCK).read_bytes()
    assert small.open().lock.requested is None


def test_the_same_content_makes_the_same_lock(small: SmallBundle) -> None:
    first = small.open().digest
    write_bundle(small.folder, small.selection, "source", small.provided, small.store, small.keys)
    assert small.open().digest == first


def test_one_bundle_takes_the_place_of_another_in_one_step(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    assert exchange(tmp_path / "one", tmp_path / "other")
    assert (tmp_path / "one" / "name").read_text() == "other"
    assert (tmp_path / "other" / "name").read_text() == "one"
    assert not exchange(tmp_path / "one", tmp_path / "missing")


def test_nothing_of_a_replaced_bundle_stays(small: SmallBundle) -> None:
    (small.folder / "of-before").touch()
    write_bundle(small.folder, small.selection, "source", small.provided, small.store, small.keys)
    assert not (small.folder / "of-before").exists()
    assert [path for path in small.folder.parent.iterdir() if path.name.startswith(".")] == []


def test_a_bundle_that_was_moved_aside_by_a_build_that_ended_is_brought_back(
    small: SmallBundle,
) -> None:
    aside = small.folder.with_name(f".old-{small.folder.name}")
    small.folder.rename(aside)
    bring_back(small.folder)
    small.open()
    shutil.copytree(small.folder, aside)
    bring_back(small.folder)
    assert aside.exists(), "there is a newer one"


def test_a_missing_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no bundle here") as caught:
        Bundle.open(tmp_path / "nowhere")
    assert "provision bundle build" in caught.value.fix


def test_an_unsigned_bundle(small: SmallBundle) -> None:
    (small.folder / SIGNATURE).unlink()
    with pytest.raises(BundleError, match="is not signed"):
        small.open()


def test_a_changed_lock(small: SmallBundle) -> None:
    _spoil(small.folder / LOCK, lambda content: content.replace(b"kubeadm", b"kubeadn"))
    with pytest.raises(BundleError, match="changed after it was signed"):
        small.open()


def test_a_lock_signed_anew_by_a_stranger(small: SmallBundle, tmp_path: Path) -> None:
    trusted = tmp_path / "trusted.pub"
    shutil.copy(small.folder / PUBLIC_KEY, trusted)
    content = (small.folder / LOCK).read_bytes().replace(b"kubeadm", b"kubeadn")
    signature, key = KeyRing(tmp_path / "stranger").sign(content)
    for name, text in ((LOCK, content), (SIGNATURE, signature), (PUBLIC_KEY, key.pem)):
        _spoil(small.folder / name, lambda _, text=text: text)  # type: ignore[misc]
    with pytest.raises(BundleError, match="a key that is not trusted here") as caught:
        Bundle.open(small.folder, [trusted])
    assert caught.value.found == key.fingerprint
    assert "bundle.trusted_keys" in caught.value.fix


def test_no_key_is_trusted_before_one_is_pinned(
    small: SmallBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with pytest.raises(BundleError, match="not trusted here") as caught:
        Bundle.open(small.folder)
    assert "--trust" in caught.value.fix
    own = small.keys.own()
    assert own is not None
    KeyRing.default().pin(own)
    assert Bundle.open(small.folder).key == own


def test_a_missing_blob_is_named(small: SmallBundle) -> None:
    bundle = small.open()
    bundle.blob(bundle.sha256("kubelet", "amd64")).unlink()
    with pytest.raises(BundleError, match="a blob of the bundle is missing") as caught:
        small.open()
    assert "kubelet" in caught.value.found


def test_a_shortened_blob_is_seen_at_once(small: SmallBundle) -> None:
    bundle = small.open()
    _spoil(bundle.blob(bundle.sha256("kubelet", "amd64")), lambda content: content[:-1])
    with pytest.raises(BundleError, match="damaged"):
        small.open()


def test_a_changed_blob_of_the_same_size(small: SmallBundle) -> None:
    bundle = small.open()
    _spoil(bundle.blob(bundle.sha256("kubelet", "amd64")), lambda content: content[::-1])
    assert small.open().versions
    with pytest.raises(BundleError, match="changed after it was signed") as caught:
        small.open().verify()
    assert "file kubelet" in caught.value.found
    with pytest.raises(BundleError, match="damaged"):
        small.open().path("kubelet", "amd64")


def test_a_changed_layer_names_its_image(small: SmallBundle) -> None:
    bundle = small.open()
    layer = bundle.image("registry.example/api:v1").blobs[-1]
    _spoil(bundle.blob(layer), lambda content: content[::-1])
    with pytest.raises(BundleError) as caught:
        small.open().verify()
    assert "image registry.example/api:v1" in caught.value.found


@pytest.mark.parametrize("name", [SBOM, "index.json"])
def test_changed_papers(small: SmallBundle, name: str) -> None:
    _spoil(small.folder / name, lambda content: content + b"\n")
    with pytest.raises(BundleError, match="changed after it was signed") as caught:
        small.open().verify()
    assert name in caught.value.found


def test_a_blob_that_the_lock_does_not_name(small: SmallBundle) -> None:
    (small.folder / "blobs" / "sha256" / ("0" * 64)).write_bytes(b"smuggled")
    with pytest.raises(BundleError, match="does not name"):
        small.open().verify()


def test_another_architecture(small: SmallBundle) -> None:
    with pytest.raises(BundleError, match="another architecture") as caught:
        small.open().file("kubelet", "arm64")
    assert (caught.value.found, caught.value.wanted) == ("amd64", "arm64")


def test_an_unknown_file_lists_the_known_ones(small: SmallBundle) -> None:
    with pytest.raises(BundleError, match="no such file") as caught:
        small.open().sha256("kubetcl", "amd64")
    assert caught.value.wanted == "kubeadm, kubelet"


def test_a_lock_of_a_later_format(small: SmallBundle) -> None:
    document = json.loads((small.folder / LOCK).read_bytes())
    content = json.dumps({**document, "format": 2}).encode()
    signature, _ = small.keys.sign(content)
    _spoil(small.folder / LOCK, lambda _: content)
    _spoil(small.folder / SIGNATURE, lambda _: signature)
    with pytest.raises(BundleError, match="format that this version does not know"):
        small.open()


def test_the_newest_bundle_for_a_version_is_found(small: SmallBundle, tmp_path: Path) -> None:
    assert Bundle.find(tmp_path / "bundles", "1.36.3") == small.folder
    with pytest.raises(BundleError, match=r"no bundle for Kubernetes 1\.37\.2") as caught:
        Bundle.find(tmp_path / "bundles", "1.37.2")
    assert caught.value.found == small.folder.name
    assert caught.value.fix == "provision bundle build --kubernetes 1.37.2"
    with pytest.raises(BundleError, match="on arm64") as caught:
        Bundle.find(tmp_path / "bundles", "1.36.3", "arm64")
    assert caught.value.found == small.folder.name
    assert caught.value.fix.endswith("--architecture arm64")


@settings(max_examples=60, deadline=None)
@given(noise=st.binary(max_size=4096))
def test_noise_as_lock_and_signature_is_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes
) -> None:
    folder = tmp_path_factory.mktemp("noise")
    ring = KeyRing(folder / "keys")
    _, key = ring.sign(noise)
    (folder / PUBLIC_KEY).write_bytes(key.pem)
    (folder / LOCK).write_bytes(noise)
    (folder / SIGNATURE).write_bytes(noise)
    with pytest.raises(BundleError):
        Bundle.open(folder, [folder / PUBLIC_KEY])
    (folder / SIGNATURE).write_bytes(ring.sign(noise)[0])
    with pytest.raises(BundleError):
        Bundle.open(folder, [folder / PUBLIC_KEY])
