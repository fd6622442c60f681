"""A site that names what a bundle has only on request, and what a bundle without it means."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.app import Application
from provision.bundle.signing import KeyRing
from provision.errors import BundleError
from tests.support.bundles import SmallBundle, small_bundle
from tests.support.cases import make_site

COMMAND = "provision bundle build --kubernetes 1.36.3 --with argocd"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROVISION_CACHE", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def trusted(made: SmallBundle) -> SmallBundle:
    own = made.keys.own()
    assert own is not None
    KeyRing.default().pin(own)
    return made


def application(*components: str) -> Application:
    return Application(make_site({}, *components))


def test_a_site_that_needs_none_takes_any_bundle(cache: Path) -> None:
    made = trusted(small_bundle(cache))
    assert application("cert_manager").bundle.folder == made.folder


def test_a_site_is_refused_with_the_command_that_helps(cache: Path) -> None:
    trusted(small_bundle(cache))
    with pytest.raises(BundleError, match="has no argocd, which the site file names") as caught:
        application("argocd").context()
    assert caught.value.fix == COMMAND


def test_the_bundle_that_was_built_with_it_is_found(cache: Path) -> None:
    small_bundle(cache)
    made = trusted(small_bundle(cache, "1.36.3-source-amd64-argocd", requested=("argocd",)))
    assert application("argocd").bundle.folder == made.folder


def test_where_there_is_none_at_all_the_command_asks_for_it(cache: Path) -> None:
    with pytest.raises(BundleError, match="there is no bundle for Kubernetes") as caught:
        application("argocd").context()
    assert caught.value.fix == COMMAND
