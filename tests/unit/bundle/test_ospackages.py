"""Debian's packages for machines without a mirror: chosen, downloaded and verified by apt."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from provision.bundle.ospackages import SUITES, PackageArchive, require_apt, role_packages
from provision.bundle.progress import Silent
from provision.bundle.store import BlobStore
from provision.checks.needs import DEBIAN_RELEASES
from provision.cli_bundle import Debian
from provision.errors import BundleError
from tests.support.fakeapt import FakeApt, fake_apt

VERSIONS = {"chrony": "4.3-2+deb12u1", "conntrack": "1:1.4.7-1"}


class Heard(Silent):
    """Remembers how steps ended."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def finished(self, name: str, outcome: str, seconds: float) -> None:
        self.outcomes.append(f"{name} {outcome}")


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    made = fake_apt(tmp_path / "bin", VERSIONS)
    monkeypatch.setenv("PATH", f"{made.folder}:{os.environ['PATH']}")
    return made


@pytest.fixture
def archive(tmp_path: Path) -> PackageArchive:
    return PackageArchive(tmp_path / "work", BlobStore(tmp_path / "blobs"), "amd64", "12")


def test_every_release_that_machines_may_have_has_a_suite() -> None:
    assert tuple(SUITES) == DEBIAN_RELEASES == tuple(release.value for release in Debian)


def test_the_roles_name_the_packages() -> None:
    names = role_packages()
    # Of a plain list, of a loop, and of entries whose conditions hold on some sites only.
    assert {"haproxy", "chrony", "nfs-common", "ceph-common"} <= set(names)
    assert list(names) == sorted(names)


def test_packages_come_with_an_index_that_names_them_by_digest(
    apt: FakeApt, archive: PackageArchive
) -> None:
    selected, provided = archive.provide(["chrony"], Silent())
    assert (selected.component, selected.version) == ("debian-12", "12.15")
    index, *packages = provided.files
    assert [file.name for file in packages] == [
        "debian-12/chrony_4.3-2+deb12u1_amd64.deb",
        "debian-12/conntrack_1:1.4.7-1_amd64.deb",
    ]
    assert [file.ingredients[0].purl for file in packages] == [
        "pkg:deb/debian/chrony@4.3-2%2Bdeb12u1",
        "pkg:deb/debian/conntrack@1:1.4.7-1",
    ]
    assert [file.sha256 for file in packages] == [apt.sha256(name) for name in VERSIONS]
    text = archive.store.path(index.sha256).read_text()
    assert index.name == "debian-12/Packages"
    assert f"Filename: {apt.sha256('chrony')}.deb\n" in text
    assert "Depends: libc6\n" in text
    assert "longer" not in text
    assert not archive.folder.exists()


def test_what_is_there_is_not_downloaded_again(apt: FakeApt, archive: PackageArchive) -> None:
    heard = Heard()
    first = archive.provide(["chrony"], heard)
    before = len(apt.log)
    assert archive.provide(["chrony"], heard) == first
    assert heard.outcomes == ["debian-12 downloaded", "debian-12 kept"]
    assert not [line for line in apt.log[before:] if "--download-only" in line]


def test_only_the_machines_network_settings_hold_for_this_apt(
    apt: FakeApt, archive: PackageArchive
) -> None:
    with pytest.raises(BundleError) as caught:
        archive.provide(["chrony", "no-such"], Silent())
    assert caught.value.where == "Debian 12"
    assert caught.value.found == "E: Unable to locate package no-such"
    settings = (archive.folder / "apt.conf").read_text()
    assert 'Acquire::http::Proxy "http://proxy.example:3128";' in settings
    assert "Install-Recommends" not in settings
    sources = (archive.folder / "sources.list").read_text()
    assert "http://mirror.example/debian/ bookworm main" in sources
    assert "bookworm-security" not in sources
    assert sources.count("signed-by=/usr/share/keyrings/debian-archive-keyring.gpg") == 2


def test_other_bytes_than_the_index_says_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: PackageArchive
) -> None:
    apt = fake_apt(tmp_path / "bin", VERSIONS, lying="chrony")
    monkeypatch.setenv("PATH", f"{apt.folder}:{os.environ['PATH']}")
    heard = Heard()
    with pytest.raises(BundleError, match="not what Debian's index says"):
        archive.provide(["chrony"], heard)
    assert heard.outcomes == ["debian-12 failed"]


def test_a_machine_whose_apt_knows_no_debian_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = fake_apt(tmp_path / "bin", {}, targets=("Other stable http://other.example/",))
    monkeypatch.setenv("PATH", f"{apt.folder}:{os.environ['PATH']}")
    with pytest.raises(BundleError, match=r"apt knows no mirror|keys by which Debian signs"):
        require_apt()
