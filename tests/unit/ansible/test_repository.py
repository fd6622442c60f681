from __future__ import annotations

import os
from pathlib import Path

import pytest

from provision.ansible.plugins.module_utils.depot_content.receive import data_file
from provision.ansible.plugins.module_utils.site_state.failure import WorkError
from provision.ansible.plugins.module_utils.site_state.repository import Repository
from provision.secrets import SecretStore
from provision.secretspec import Authority
from tests.support.fakeapt import FakeApt, fake_apt


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeApt:
    made = fake_apt(tmp_path / "bin", {"chrony": "4.3-2", "libx": "1"})
    monkeypatch.setenv("PATH", f"{made.folder}:{os.environ['PATH']}")
    return made


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository("machine", tmp_path / "state" / "packages")


def arrived(repository: Repository, sha256: str) -> Path:
    path = data_file(repository.folder, sha256)
    path.parent.mkdir(parents=True)
    path.write_text("a package")
    return path


def test_apt_says_what_is_needed_and_asks_nobody_else(apt: FakeApt, repository: Repository) -> None:
    answer = repository.offer("Package: chrony\n", ["chrony"], [])
    needed = [apt.sha256("chrony"), apt.sha256("libx")]
    assert answer == {"needed": needed, "arrived": {}}
    assert (repository.folder / "Packages").read_text() == "Package: chrony\n"
    source = (repository.folder / "sources.list").read_text()
    assert source == f"deb [trusted=yes] file:{repository.folder} ./\n"
    assert repository.folder.parent.parent.stat().st_mode & 0o777 == 0o700
    for line in apt.log:
        assert f"--option=Dir::Etc::sourcelist={repository.folder}/sources.list" in line
        assert "--option=Dir::Etc::sourceparts=/dev/null" in line


def test_what_arrived_is_not_needed_again(apt: FakeApt, repository: Repository) -> None:
    repository.offer("", ["chrony"], [])
    whole = arrived(repository, apt.sha256("chrony"))
    part = repository.folder / "incoming" / apt.sha256("libx")
    part.parent.mkdir()
    part.write_text("a pa")
    answer = repository.offer("", ["chrony"], [])
    assert answer == {"needed": [apt.sha256("libx")], "arrived": {apt.sha256("libx"): 4}}
    assert not whole.exists()
    assert (repository.folder / f"{apt.sha256('chrony')}.deb").read_text() == "a package"


def test_depots_give_what_they_have(apt: FakeApt, tmp_path: Path) -> None:
    specs = (Authority("site-ca", "unit site CA"),)
    store = SecretStore(tmp_path / "secrets", specs=specs, site="unit")
    store.ensure(specs)
    depots = [tmp_path / name for name in ("dead", "corrupt", "whole")]
    for depot, content in zip(depots[1:], ("other", "the package chrony"), strict=True):
        depot.mkdir()
        (depot / apt.sha256("chrony")).write_text(content)
    urls = [f"file://{depot}/" for depot in depots]
    folder = tmp_path / "state" / "packages"
    before = Repository("machine", folder, str(tmp_path / "no-certificate-yet"))
    assert len(before.offer("", ["chrony"], urls)["needed"]) == 2
    repository = Repository("machine", folder, str(store.path / "site-ca.crt"))
    answer = repository.offer("", ["chrony"], urls)
    assert answer["needed"] == [apt.sha256("libx")]
    fetched = repository.folder / f"{apt.sha256('chrony')}.deb"
    assert fetched.read_text() == "the package chrony"


def test_packages_that_do_not_fit_are_told_with_what_to_do(
    apt: FakeApt, repository: Repository
) -> None:
    with pytest.raises(WorkError, match=r"(?s)locate package other.*provision bundle build"):
        repository.offer("", ["other"], [])


def test_nothing_stays(apt: FakeApt, repository: Repository) -> None:
    repository.offer("", ["chrony"], [])
    other = Repository("dns", repository.folder.parent)
    other.offer("", ["chrony"], [])
    repository.drop()
    assert not repository.folder.exists()
    assert other.folder.exists()
    other.drop()
    assert not other.folder.parent.exists()
