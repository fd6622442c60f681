"""Packages of npm, laid out by their lock alone."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest

from provision.bundle.catalog import NpmBuild
from provision.bundle.npm import LOCKS, NpmWorkshop
from provision.bundle.store import BlobStore
from provision.errors import BundleError
from tests.support import fakenpm

PACKAGES = {"tool@1.0.0": "the tool", "@scope/part@2.1.0": "a part", "tests@3.0.0": "tests"}
BUILD = NpmBuild(kind="npm", id="tool", lock="tool", tree="packages", disk=1, minutes=1)


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NpmWorkshop:
    fakenpm.install(tmp_path / "bin", PACKAGES)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    (tmp_path / "tool").mkdir()
    (tmp_path / "tool" / "package.json").write_text("{}")
    (tmp_path / "tool" / "package-lock.json").write_text(fakenpm.lock(PACKAGES, ("tests@3.0.0",)))
    return NpmWorkshop(tmp_path / "npm", BlobStore(tmp_path / "blobs"), "amd64", locks=tmp_path)


def test_what_the_lock_names_becomes_a_folder(workshop: NpmWorkshop) -> None:
    result = workshop.build(BUILD)
    with tarfile.open(workshop.store.path(result.outputs["packages"].sha256)) as tar:
        files = [name for name in tar.getnames() if not tar.getmember(name).isdir()]
        assert files == [
            "node_modules/.bin/tool",
            "node_modules/@scope/part/index.js",
            "node_modules/tool/index.js",
        ]
        assert tar.getmember("node_modules/.bin/tool").linkname == "../tool/index.js"
    assert [one.purl for one in result.ingredients["packages"]] == [
        "pkg:npm/%40scope/part@2.1.0",
        "pkg:npm/tool@1.0.0",
    ]
    assert list(workshop.folder.iterdir()) == []


def test_another_package_than_the_locks_is_refused(workshop: NpmWorkshop) -> None:
    lock = workshop.locks / "tool" / "package-lock.json"
    before = workshop.key(BUILD)
    lock.write_text(fakenpm.lock({"tool@1.0.0": "another"}))
    assert workshop.key(BUILD) != before
    with pytest.raises(BundleError, match="npm cannot fetch") as caught:
        workshop.build(BUILD)
    assert caught.value.where == str(lock)
    assert caught.value.found == "npm error code EINTEGRITY"
    assert list(workshop.folder.iterdir()) == []


@pytest.mark.parametrize("name", ["npm_config_offline", "NPM_CONFIG_OFFLINE"])
def test_npm_is_configured_by_the_environment(
    workshop: NpmWorkshop, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "true")
    with pytest.raises(BundleError, match="npm cannot fetch") as caught:
        workshop.build(BUILD)
    assert caught.value.found == "npm error code ENOTCACHED"


@pytest.mark.parametrize("lock", sorted(LOCKS.iterdir()), ids=lambda path: path.name)
def test_shipped_locks_pin_every_package_and_name_no_registry(lock: Path) -> None:
    packages = json.loads((lock / "package-lock.json").read_text())["packages"]
    for path, package in packages.items():
        if path:
            assert package["integrity"].startswith("sha512-")
            assert "resolved" not in package
