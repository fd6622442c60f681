"""The lock files: everything named, pinned and with digests, and nothing said of where from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENDS_OF_PYTHON = ("3.11.2", "3.13.5")


def entries(name: str) -> list[str]:
    """A lock file's entries, each on one line."""
    text = (ROOT / "requirements" / name).read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def pinned(name: str, python: str) -> dict[str, str]:
    """Version of each package that the lock file gives one Python."""
    environment = {"python_full_version": python, "python_version": python.rpartition(".")[0]}
    found: dict[str, str] = {}
    for entry in entries(name):
        requirement = Requirement(re.split(r"\s+--hash", entry)[0])
        if requirement.marker is None or requirement.marker.evaluate(environment):
            (specifier,) = requirement.specifier
            found[canonicalize_name(requirement.name)] = specifier.version
    return found


@pytest.mark.parametrize("name", ["run.txt", "dev.txt", "collections.txt"])
def test_every_entry_is_pinned_with_digests_and_names_no_server(name: str) -> None:
    for entry in entries(name):
        assert re.match(r"[\w.-]+==[\w.!+-]+ ", entry), entry
        assert "--hash=sha256:" in entry, entry
        assert "://" not in entry, entry
        assert "--index" not in entry, entry


@pytest.mark.parametrize("python", ENDS_OF_PYTHON)
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("run.txt", PROJECT["project"]["dependencies"]),
        ("dev.txt", PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]),
    ],
)
def test_the_lock_satisfies_the_project(name: str, wanted: list[str], python: str) -> None:
    versions = pinned(name, python)
    for text in wanted:
        requirement = Requirement(text)
        version = versions[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), text


def test_both_ends_of_the_ansible_range_are_used() -> None:
    oldest, newest = (pinned("dev.txt", python)["ansible-core"] for python in ENDS_OF_PYTHON)
    assert oldest.startswith("2.19.")
    assert newest.startswith("2.21.")
