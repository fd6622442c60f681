"""A scaffolded component is one that the project's own rules accept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PARTS = (
    "provision",
    "roles",
    "playbooks",
    "docs",
    "tests",
    "scripts",
    "inventory",
    "changelog.d",
    "mkdocs.yml",
    "pyproject.toml",
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's files, to write into."""
    for name in PARTS:
        source, target = ROOT / name, tmp_path / name
        if source.is_dir():
            shutil.copytree(
                source, target, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True
            )
        else:
            shutil.copy(source, target)
    return tmp_path


def test_a_scaffolded_component_conforms(copy: Path) -> None:
    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}
    printed = run("-m", "provision", "new", "component", "trial_component", "--after", "cilium")
    assert "wrote roles/trial_component/state.yml" in printed
    assert all(path.read_bytes() == content for path, content in before.items())
    run("scripts/role_readmes.py")
    run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance", "-k", "trial_component"
    )
