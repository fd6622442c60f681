"""What the removal of containerd takes away, where no containerd runs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from provision.paths import roles_path


@pytest.fixture
def withdraw() -> ModuleType:
    path = roles_path() / "containerd" / "files" / "withdraw.py"
    spec = importlib.util.spec_from_file_location("withdraw", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_folder_goes_with_everything_in_it(
    withdraw: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "containerd"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "file").write_text("x")
    (folder / "link").symlink_to(tmp_path)
    withdraw.remove(folder)
    assert not folder.exists()
    assert tmp_path.is_dir(), "a link is removed, not what it leads to"
    assert capsys.readouterr().out == f"folder {folder}\n"


def test_what_is_not_there_is_not_told(
    withdraw: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    withdraw.remove(tmp_path / "missing")
    assert capsys.readouterr().out == ""
