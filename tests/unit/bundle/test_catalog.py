"""The shipped catalog is whole, and refuses what it cannot give."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.bundle.catalog import (
    ARCHITECTURES,
    Catalog,
    CBuild,
    GoBuild,
    Selection,
    catalog,
    default_kubernetes_version,
    minor,
    version_key,
)
from provision.bundle.gomodules import GOMOD
from provision.bundle.toolchain import go_pin
from provision.errors import BundleError

BUILDABLE = catalog().obtainable("amd64", "source")


def _select(version: str) -> Selection:
    """Everything, with what there is on request."""
    return catalog().select(version, "amd64", "source", requested=catalog().on_request())


def test_several_minors_stand_side_by_side() -> None:
    assert {minor(version) for version in BUILDABLE} >= {"1.35", "1.36", "1.37"}
    assert default_kubernetes_version() in BUILDABLE


@pytest.mark.parametrize("version", BUILDABLE)
def test_every_module_is_pinned(version: str) -> None:
    for component in _select(version).components:
        for build in component.builds:
            if not isinstance(build, GoBuild | CBuild):
                continue
            assert component.modules[f"{build.module}@{build.version}"].startswith("h1:")


@pytest.mark.parametrize("version", BUILDABLE)
def test_every_own_module_is_there_and_requires_what_is_built(version: str) -> None:
    for component in _select(version).components:
        for build in component.builds:
            if isinstance(build, GoBuild) and build.own_module:
                folder = GOMOD / build.own_module
                assert f"{build.module} {build.version}" in (folder / "go.mod").read_text()
                assert (folder / "go.sum").stat().st_size > 0


@pytest.mark.parametrize("version", BUILDABLE)
def test_names_are_unique_and_everything_has_a_recipe(version: str) -> None:
    selection = _select(version)
    files = [file.name for one in selection.components for file in one.files]
    images = [image.reference for one in selection.components for image in one.images]
    assert len(set(files)) == len(files)
    assert len(set(images)) == len(images)
    assert all(file.source for one in selection.components for file in one.files)
    assert all(image.source for one in selection.components for image in one.images)
    assert not any("{" in text for text in (*files, *images))


def test_placeholders_are_filled_for_the_architecture() -> None:
    for architecture in ARCHITECTURES:
        selection = catalog().select(default_kubernetes_version(), architecture, "source")
        kubernetes = next(one for one in selection.components if one.component == "kubernetes")
        assert f"/bin/linux/{architecture}/kubelet" in kubernetes.downloads["kubelet"]


def test_versions_that_go_together_are_chosen() -> None:
    versions = _select("1.36.3").versions
    assert (versions["etcd"], versions["coredns"], versions["pause"]) == (
        "3.6.8",
        "1.14.2",
        "3.10.2",
    )


def test_what_is_on_request_is_there_when_it_is_asked_for() -> None:
    assert "argocd" in catalog().on_request()
    assert "argocd" not in catalog().select("1.36.3", "amd64").versions
    chosen = catalog().select("1.36.3", "amd64", requested={"argocd"})
    assert (chosen.versions["argocd"], chosen.requested) == ("3.6.1", ("argocd",))


def test_what_cannot_be_requested_is_refused() -> None:
    with pytest.raises(BundleError, match="no component of this name") as caught:
        catalog().select("1.36.3", "amd64", requested={"vault"})
    assert (caught.value.found, caught.value.wanted) == ("vault", ", ".join(catalog().on_request()))


def test_what_only_a_build_gives_on_request_says_so() -> None:
    with pytest.raises(BundleError, match="no published checksums of argocd") as caught:
        catalog().select("1.36.3", "amd64", "upstream", requested={"argocd"})
    assert caught.value.fix == "provision bundle build --source source --with argocd"


def test_argo_cds_helm_is_the_bundles_own() -> None:
    """By the very same recipe, so that it is built once."""
    by_name = {one.component: one for one in _select("1.36.3").components}
    (own,) = by_name["helm"].builds
    assert own in by_name["argocd"].builds
    checksum = by_name["helm"].modules.items()
    assert checksum <= by_name["argocd"].modules.items()


def test_an_unknown_version_lists_the_known_ones() -> None:
    with pytest.raises(BundleError, match="does not have this Kubernetes version") as caught:
        _select("1.20.0")
    assert "1.36.3" in caught.value.wanted
    assert caught.value.fix.startswith("choose one of them: provision bundle build")


def test_another_version_than_the_newest_can_be_asked_for() -> None:
    asked = {"containerd": "2.3.4"}
    newest = catalog().select("1.36.3", "amd64", "upstream").versions
    chosen = catalog().select("1.36.3", "amd64", "upstream", versions=asked).versions
    assert chosen == {**newest, **asked}
    assert newest != chosen


@pytest.mark.parametrize(
    ("asked", "wanted", "fix"),
    [
        (
            {"metallb": "0.16.1"},
            "0.13.12",
            "provision bundle build --source source --component metallb=0.13.12",
        ),
        ({"kubernetes": "1.35.4"}, "1.36.3", "--component kubernetes=1.36.3"),
    ],
)
def test_a_version_that_a_source_does_not_have_is_refused_with_those_it_has(
    asked: dict[str, str], wanted: str, fix: str
) -> None:
    ((name, version),) = asked.items()
    with pytest.raises(BundleError, match=f"does not have this version of {name}") as caught:
        catalog().select("1.36.3", "amd64", "source", versions=asked)
    assert (caught.value.found, caught.value.wanted) == (version, wanted)
    assert caught.value.fix.endswith(fix)


def test_a_component_that_a_source_does_not_have_at_all_is_refused() -> None:
    asked = {"vault-plugin-auth-kubernetes": "0.23.1"}
    with pytest.raises(BundleError) as caught:
        catalog().select("1.36.3", "amd64", "upstream", versions=asked)
    assert caught.value.wanted == "another source"


def test_a_version_of_no_component_is_refused() -> None:
    with pytest.raises(BundleError, match="no such component") as caught:
        catalog().select("1.36.3", "amd64", "source", versions={"metalb": "0.13.12"})
    assert caught.value.found == "metalb"
    assert "metallb" in caught.value.wanted


def test_versions_are_ordered_by_number() -> None:
    assert sorted(["1.10.0", "1.9.3", "1.9.12"], key=version_key) == ["1.9.3", "1.9.12", "1.10.0"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: [", "while parsing"),
        ("name: x\ncolour: red\n", "colour"),
        (
            """{name: x, about: a, home: h, license: l, releases: [{version: '1'}],
            files: [{name: f, source: {build: none, output: f}}]}""",
            "no build 'none'",
        ),
    ],
)
def test_a_wrong_file_is_named_with_what_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(BundleError, match="cannot be used") as caught:
        Catalog.load(tmp_path)
    assert caught.value.where.endswith("x.yaml")
    assert says in caught.value.found


def test_go_is_pinned_for_every_architecture() -> None:
    pin = go_pin()
    assert set(pin.sha256) == set(pin.platforms) == set(ARCHITECTURES)
