from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from provision.ansible.plugins.module_utils.site_state import files, permissions
from provision.ansible.plugins.module_utils.site_state.failure import WorkError
from provision.ansible.work import encoded


def wanted(
    path: Path, mine: dict[str, str], content: bytes = b"new\n", **other: Any
) -> dict[str, Any]:
    return {
        "path": str(path),
        **mine,
        "sha256": hashlib.sha256(content).hexdigest(),
        "validate": None,
        "restore": False,
        "secret": False,
        **encoded(content),
        **other,
    }


def test_a_file_is_placed_with_its_permissions(tmp_path: Path, mine: dict[str, str]) -> None:
    path = tmp_path / "conf"
    files.place(wanted(path, mine))
    assert path.read_bytes() == b"new\n"
    assert path.stat().st_mode & 0o7777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


FULL = """\
import json, resource, sys
from provision.ansible.plugins.module_utils.site_state import files
resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))
try:
    files.place(json.loads(sys.argv[1]))
except files.WorkError as error:
    print(error)
"""


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, mine: dict[str, str]) -> None:
    """A real limit on the size of files stands for the disk."""
    path = tmp_path / "conf"
    path.write_text("old\n")
    order = json.dumps(wanted(path, mine, b"more than fits\n"))
    done = subprocess.run(
        [sys.executable, "-c", FULL, order], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"{path}: no room left in {tmp_path}, and it is as it was")
    assert f"df -h {tmp_path}" in done.stdout
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_validation_refuses_leaves_the_old_file(
    tmp_path: Path, mine: dict[str, str]
) -> None:
    path = tmp_path / "conf"
    path.write_text("old\n")
    with pytest.raises(WorkError, match=r"conf is not accepted"):
        files.place(wanted(path, mine, validate="grep -q old %s"))
    assert path.read_text() == "old\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_refused_secret_is_not_quoted(tmp_path: Path, mine: dict[str, str]) -> None:
    with pytest.raises(WorkError) as caught:
        files.place(
            wanted(
                tmp_path / "key",
                mine,
                b"hunter2\n",
                secret=True,
                validate="sh -c 'cat %s; exit 1'",
            )
        )
    assert "hunter2" not in str(caught.value)


def test_bytes_that_arrive_changed_are_refused(tmp_path: Path, mine: dict[str, str]) -> None:
    with pytest.raises(WorkError, match=r"on arrival"):
        files.place(wanted(tmp_path / "conf", mine, sha256="0" * 64))
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_replaced(tmp_path: Path, mine: dict[str, str]) -> None:
    (tmp_path / ".conf.provision-new").write_text("half")
    files.place(wanted(tmp_path / "conf", mine))
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]


def test_a_link_is_replaced_and_its_target_kept(tmp_path: Path, mine: dict[str, str]) -> None:
    target = tmp_path / "target"
    target.write_text("other's\n")
    (tmp_path / "conf").symlink_to(target)
    files.place(wanted(tmp_path / "conf", mine))
    assert not (tmp_path / "conf").is_symlink()
    assert target.read_text() == "other's\n"


def test_a_directory_in_the_way_is_named(tmp_path: Path, mine: dict[str, str]) -> None:
    (tmp_path / "conf").mkdir()
    with pytest.raises(WorkError, match=r"conf has to be a file, but is a directory"):
        files.place(wanted(tmp_path / "conf", mine))


def test_a_missing_folder_is_named(tmp_path: Path, mine: dict[str, str]) -> None:
    with pytest.raises(WorkError, match=r"no/where is missing"):
        files.place(wanted(tmp_path / "no" / "where" / "conf", mine))


def test_an_unknown_owner_is_named(tmp_path: Path, mine: dict[str, str]) -> None:
    with pytest.raises(WorkError, match=r"there is no user nobody-such"):
        files.place(wanted(tmp_path / "conf", {**mine, "owner": "nobody-such"}))


def test_only_an_empty_directory_is_removed(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "kept").touch()
    assert not files.remove_if_empty(str(full))
    (full / "kept").unlink()
    assert files.remove_if_empty(str(full))
    assert files.remove_if_empty(str(full))


def test_a_directory_is_made_with_those_above_it(tmp_path: Path, mine: dict[str, str]) -> None:
    permissions.make_directory({"path": str(tmp_path / "a" / "b"), **mine, "mode": "0750"})
    assert (tmp_path / "a" / "b").stat().st_mode & 0o7777 == 0o750
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o755


def test_a_file_where_a_directory_belongs_is_named(tmp_path: Path, mine: dict[str, str]) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(WorkError, match=r"a has to be a directory, but is a file"):
        permissions.make_directory({"path": str(tmp_path / "a"), **mine})


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/etc/systemd/system/x.service", True),
        ("/etc/systemd/system/x.service.d/10-site.conf", True),
        ("/etc/systemd/journald.conf", False),
    ],
)
def test_unit_files_are_known_by_their_folder(path: str, unit: bool) -> None:
    assert files.holds_unit(path) is unit
