"""The built wheel carries the roles and playbooks, and the package inside finds them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
SOURCES = ("LICENSE", "README.md", "playbooks", "provision", "pyproject.toml", "roles", "scripts")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content, as an installation has it."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, source],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("provision-*.whl")
    target = folder / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    return target


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not {"__pycache__", "molecule"} & set(path.parts)
    }


@pytest.mark.parametrize("name", ["playbooks", "roles"])
def test_every_role_and_playbook_is_inside(installed: Path, name: str) -> None:
    expected = files_below(ROOT / name)
    assert expected
    assert files_below(installed / "provision" / name) == expected


def test_the_whole_package_is_inside(installed: Path) -> None:
    inside = files_below(installed / "provision")
    for name, content in files_below(ROOT / "provision").items():
        assert inside[name] == content


def in_installation(installed: Path, code: str) -> str:
    """What the code prints with the installation in place of the checkout."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=installed,
        env={**os.environ, "PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_the_installed_package_finds_its_own_roles_and_playbooks(installed: Path) -> None:
    code = "from provision.paths import {0}_path as path; print(path())"
    for name in ("playbooks", "roles"):
        found = Path(in_installation(installed, code.format(name)))
        assert found == installed / "provision" / name
        assert found.is_dir()


def test_the_checkout_finds_its_own_roles_and_playbooks() -> None:
    from provision.paths import playbooks_path, roles_path

    assert roles_path() == ROOT / "roles"
    assert playbooks_path() == ROOT / "playbooks"


def test_the_installed_package_finds_its_phases_with_their_state(installed: Path) -> None:
    code = (
        "from provision.plan import discover; from provision.phase import AnsiblePhase;"
        "phases = [phase for phase in discover() if isinstance(phase, AnsiblePhase)];"
        "mains = [phase.role / 'tasks/main.yml' for phase in phases];"
        "print(bool(mains) and all(main.is_file() for main in mains))"
    )
    assert in_installation(installed, code) == "True"
