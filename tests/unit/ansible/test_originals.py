from __future__ import annotations

from pathlib import Path

from provision.ansible.plugins.module_utils.site_state import originals


def test_the_first_file_is_put_back_and_not_a_later_one(tmp_path: Path) -> None:
    path, folder = tmp_path / "hosts", tmp_path / "originals"
    path.write_text("the administrator's\n")
    path.chmod(0o640)
    originals.keep(str(path), folder)
    path.write_text("ours\n")
    path.chmod(0o644)
    originals.keep(str(path), folder)
    originals.put_back(str(path), folder)
    assert path.read_text() == "the administrator's\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(folder.iterdir()) == []


def test_what_was_not_there_is_gone_again(tmp_path: Path) -> None:
    path, folder = tmp_path / "hosts", tmp_path / "originals"
    originals.keep(str(path), folder)
    path.write_text("ours\n")
    originals.put_back(str(path), folder)
    assert not path.exists()
    assert list(folder.iterdir()) == []


def test_what_was_never_kept_stays(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("the administrator's\n")
    originals.put_back(str(path), tmp_path / "originals")
    assert path.read_text() == "the administrator's\n"
