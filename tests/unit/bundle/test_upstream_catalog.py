"""The shipped catalog, as the upstream source sees it."""

from __future__ import annotations

import re

import pytest

from provision.bundle.catalog import (
    ARCHITECTURES,
    Architecture,
    ArchiveBuild,
    Catalog,
    default_kubernetes_version,
    minor,
)
from provision.errors import BundleError


@pytest.fixture(scope="module")
def shipped() -> Catalog:
    return Catalog.load()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_several_kubernetes_minors_are_published_side_by_side(
    shipped: Catalog, architecture: Architecture
) -> None:
    versions = shipped.obtainable(architecture, "upstream")
    assert {minor(version) for version in versions} >= {"1.35", "1.36", "1.37"}
    assert "1.36.3" in versions


def test_every_published_number_names_its_table(shipped: Catalog) -> None:
    for component in shipped.components:
        for release in component.releases:
            numbered = bool(release.sha256 or release.digests)
            assert numbered == bool(release.checksums_from), (component.name, release.version)


def test_no_two_files_share_a_checksum(shipped: Catalog) -> None:
    """A number copied into the wrong line would stand there twice."""
    seen: dict[str, tuple[str, str, str]] = {}
    for component in shipped.components:
        any_architecture = {
            file.upstream.download
            for file in component.files
            if file.any_architecture and file.upstream
        } | {build.download for build in component.builds if isinstance(build, ArchiveBuild)}
        for release in component.releases:
            for download, by_architecture in release.sha256.items():
                for number in by_architecture.values():
                    where = (component.name, release.version, download)
                    assert number not in seen or download in any_architecture, (where, seen[number])
                    seen[number] = where


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_upstream_selection_is_wholly_published(
    shipped: Catalog, architecture: Architecture
) -> None:
    for version in shipped.obtainable(architecture, "upstream"):
        selection = shipped.select(version, architecture, "upstream")
        assert {chosen.unpublished for chosen in selection.components} == {()}
        left_out = {one.name for one in shipped.components} - set(selection.versions)
        spare = (shipped.component(name) for name in left_out)
        assert all(one.optional or one.on_request for one in spare)
        for chosen in selection.components:
            for url in chosen.downloads.values():
                assert re.fullmatch(r"https://[a-z0-9.-]+/[^{}\s]+", url)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_only_what_published_vault_has_built_in_is_not_published(
    shipped: Catalog, architecture: Architecture
) -> None:
    """A site with all services can be made of published files alone."""
    selection = shipped.select(default_kubernetes_version(), architecture, "upstream")
    usual = {one.name for one in shipped.components} - set(shipped.on_request())
    left_out = usual - set(selection.versions)
    assert left_out == {"vault-plugin-auth-kubernetes"}


def test_a_source_selection_never_picks_what_is_only_downloaded(shipped: Catalog) -> None:
    downloaded = {
        (component.name, release.version)
        for component in shipped.components
        for release in component.releases
        if not release.buildable
    }
    for version in shipped.obtainable("amd64", "source"):
        selection = shipped.select(version, "amd64", "source")
        assert downloaded.isdisjoint(selection.versions.items())


def test_a_version_without_published_checksums_is_refused_with_those_that_have_them(
    shipped: Catalog,
) -> None:
    with pytest.raises(BundleError) as caught:
        shipped.select("1.37.2", "arm64", "upstream")
    assert "no published checksums of kubernetes for Kubernetes 1.37.2 (arm64)" in caught.value.what
    assert "1.35.3, 1.36.3" in caught.value.wanted
    assert "--source source --kubernetes 1.37.2" in caught.value.fix
    assert "--source upstream --kubernetes" in caught.value.fix


def test_a_version_that_is_only_published_is_refused_by_source(shipped: Catalog) -> None:
    with pytest.raises(BundleError, match="no recipe builds kubernetes") as caught:
        shipped.select("1.35.3", "amd64", "source")
    assert "--source upstream --kubernetes 1.35.3" in caught.value.fix
