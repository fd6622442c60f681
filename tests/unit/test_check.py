"""``check`` where something is wrong with the bundle: the rest is judged all the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from provision.app import Application
from provision.bundle.catalog import catalog
from provision.bundle.lock import SIGNATURE
from provision.bundle.signing import KeyRing
from provision.checks import Finding
from provision.errors import UnreachableError
from provision.facts import MachineFacts
from provision.verbs.check import check_site
from tests.support.bundles import SmallBundle, small_bundle
from tests.support.cases import make_site

BUILD = "provision bundle build --kubernetes 1.36.3"
NO_HELM = "charts of the platform were not rendered, for want of the bundle's helm"


@dataclass(frozen=True)
class SilentMachines:
    """Machines of which none answers."""

    def read(self, queries: Mapping[str, Any]) -> Mapping[str, MachineFacts]:
        fault = UnreachableError("it does not answer")
        return {host: MachineFacts(host, error=fault) for host in queries}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site's repository: a chart that makes the applications."""
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "site/platform").mkdir(parents=True)
    (tmp_path / "site/platform/Chart.yaml").touch()
    return tmp_path / "site"


def bundle(folder: Path, **given: Any) -> SmallBundle:
    made = small_bundle(folder.parent / "cache", **given)
    own = made.keys.own()
    assert own is not None
    KeyRing.default().pin(own)
    return made


def checked(
    folder: Path, *components: str, changes: Mapping[str, Any] = MappingProxyType({})
) -> list[Finding]:
    """Findings about the site as a whole; those about machines are there besides."""
    site = make_site(changes, *components)
    site.place(folder)
    application = Application(site)
    vars(application)["machines"] = SilentMachines()
    found = check_site(application)
    assert {one.host for one in found} >= set(site.hosts)
    return [one for one in found if not one.host]


def test_no_bundle_at_all(folder: Path) -> None:
    missing, unrendered = checked(folder, "argocd", "platform")
    assert missing.what == "there is no bundle for Kubernetes 1.36.3"
    assert (missing.severity, missing.fix) == ("error", f"{BUILD} --with argocd")
    assert (unrendered.what, unrendered.found) == (NO_HELM, "platform")


def test_a_bundle_without_argo_cd(folder: Path) -> None:
    bundle(folder)
    findings = checked(folder, "argocd", "platform")
    lacking, helm, unrendered = findings
    assert lacking.what == "the bundle has no argocd, which the site file names"
    assert (lacking.severity, lacking.fix) == ("error", f"{BUILD} --with argocd")
    assert (helm.what, helm.found.split(": ")[-1]) == ("the bundle has no such file", "helm")
    assert unrendered.what == NO_HELM


def test_a_bundle_without_the_images_of_the_applications(folder: Path) -> None:
    bundle(folder, requested=("argocd",))
    changes = {"platform": {"images": ["keycloak", "openldap"]}}
    lacking, *_ = checked(folder, "argocd", "platform", changes=changes)
    assert lacking.what == "the bundle has no keycloak, openldap, which the site file names"
    assert lacking.fix == f"{BUILD} --with argocd --with keycloak --with openldap"


@pytest.mark.parametrize("there_is_one", [True, False])
def test_images_that_there_are_not(folder: Path, *, there_is_one: bool) -> None:
    if there_is_one:
        bundle(folder)
    changes = {"platform": {"images": ["keycloak", "ldap"]}}
    unknown, *_ = checked(folder, "argocd", "platform", changes=changes)
    assert unknown.what == ("the catalog has no component of this name that is built on request")
    assert unknown.found == "the site file: ldap"
    assert unknown.wanted == ", ".join(catalog().on_request())


def test_a_damaged_bundle_is_not_called_a_missing_one(folder: Path) -> None:
    made = bundle(folder, requested=("argocd",))
    (made.folder / SIGNATURE).unlink()
    damaged, unrendered = checked(folder, "argocd", "platform")
    assert damaged.what == "the bundle is not signed"
    assert damaged.found.startswith(str(made.folder / SIGNATURE))
    assert unrendered.what == NO_HELM


def test_the_folder_is_judged_without_a_bundle(folder: Path) -> None:
    (folder / "platform/Chart.yaml").unlink()
    (folder / "platform/web.yaml").write_text("just text")
    assert [one.what for one in checked(folder, "argocd", "platform")] == [
        "there is no bundle for Kubernetes 1.36.3",
        "platform platform: platform/web.yaml holds something that is no Kubernetes object",
    ]


def test_a_site_of_which_nothing_is_judged_by_a_bundle_needs_none(folder: Path) -> None:
    assert checked(folder) == []
