"""The machine image's name follows its recipe: an old image is never taken for a new one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what builds the image."""
    shutil.copytree(ROOT / "lab" / "image", tmp_path / "lab" / "image")
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "common.sh", tmp_path / "scripts")
    return tmp_path


def name_of(checkout: Path, release: str = "12") -> str:
    done = subprocess.run(
        [checkout / "lab/image/build", "--print", release],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_name_is_the_same_wherever_the_checkout_lies(checkout: Path) -> None:
    assert name_of(checkout) == name_of(ROOT)


@pytest.mark.parametrize("part", ["build", "init", "packages", "vagrant.pub"])
def test_the_name_changes_with_every_part_of_the_recipe(checkout: Path, part: str) -> None:
    before = name_of(checkout)
    with (checkout / "lab/image" / part).open("a") as recipe:
        recipe.write("# changed\n")
    assert name_of(checkout) != before


def test_each_release_has_an_image_of_its_own(checkout: Path) -> None:
    assert name_of(checkout, "12") != name_of(checkout, "13")


def test_another_release_is_refused_with_what_is_possible(checkout: Path) -> None:
    done = subprocess.run(
        [checkout / "lab/image/build", "11"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "usage: lab/image/build [--print] 12|13" in done.stderr
