"""What a depot's storage holds is what the registry's file system driver reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.bundle.bundle import Bundle
from provision.bundle.depot import ROOT
from provision.bundle.lock import FILES_REPOSITORY, repository
from tests.support.bundles import small_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return small_bundle(tmp_path).open()


def test_every_blob_is_there_once(bundle: Bundle) -> None:
    data = [one for one in bundle.depot_tree() if one.sha256]
    assert {one.sha256: one.size for one in data} == dict(bundle.lock.blobs)
    for one in data:
        assert one.path == f"{ROOT}/blobs/sha256/{one.sha256[:2]}/{one.sha256}/data"


def test_links_hold_the_digest_that_their_path_names(bundle: Bundle) -> None:
    for one in bundle.depot_tree():
        if one.content and "/tags/" not in one.path:
            assert one.content == f"sha256:{one.path.split('/')[-2]}".encode()
        assert one.size == (len(one.content) or bundle.lock.blobs[one.sha256])


def test_an_image_is_found_by_its_tag_and_has_all_its_layers(bundle: Bundle) -> None:
    tree = {one.path: one for one in bundle.depot_tree()}
    image = bundle.image("registry.example/deep/pause:1")
    folder = f"{ROOT}/repositories/registry.example/deep/pause"
    tag = tree[f"{folder}/_manifests/tags/1/current/link"]
    assert tag.content.decode() == image.digest
    for sha256 in image.blobs:
        assert f"{folder}/_layers/sha256/{sha256}/link" in tree


def test_plain_files_are_in_one_repository(bundle: Bundle) -> None:
    paths = {one.path for one in bundle.depot_tree()}
    for file in bundle.lock.files:
        layers = f"{ROOT}/repositories/{FILES_REPOSITORY}/_layers/sha256"
        assert f"{layers}/{file.sha256}/link" in paths
    assert any(f"{FILES_REPOSITORY}/_manifests/tags/kubernetes-1.36.3" in path for path in paths)


def test_paths_are_in_order_and_unique(bundle: Bundle) -> None:
    paths = [one.path for one in bundle.depot_tree()]
    assert paths == sorted(set(paths))


def test_the_repository_keeps_the_registry() -> None:
    assert repository("registry.example:5000/a/b:v1") == ("registry.example:5000/a/b", "v1")
