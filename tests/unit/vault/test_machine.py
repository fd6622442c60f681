"""What is done on a machine: storage is put aside and never deleted, markers are believed."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.ansible.plugins.module_utils.vault.machine import (
    WorkError,
    empty,
    mark,
    put_aside,
    unmark,
)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A folder as Vault leaves it."""
    folder = tmp_path / "vault"
    (folder / "raft").mkdir(parents=True)
    (folder / "raft" / "raft.db").write_text("log")
    (folder / "vault.db").write_text("data")
    return folder


def test_storage_is_put_aside_and_kept(state: Path) -> None:
    put_aside("a1", state)
    assert [entry.name for entry in state.iterdir()] == ["aside-a1-0"]
    assert (state / "aside-a1-0" / "raft" / "raft.db").read_text() == "log"
    assert (state / "aside-a1-0" / "vault.db").read_text() == "data"
    assert (state / "aside-a1-0").stat().st_mode & 0o777 == 0o700


def test_what_was_put_aside_before_is_kept_too(state: Path) -> None:
    (state / "aside-a1-0").mkdir()
    (state / "aside-a1-0" / "vault.db").write_text("older")
    put_aside("a1", state)
    assert (state / "aside-a1-0" / "vault.db").read_text() == "older"
    assert (state / "aside-a1-1" / "vault.db").read_text() == "data"


def test_what_a_killed_run_left_behind_is_put_aside_too(state: Path) -> None:
    (state / "aside-a1-0").mkdir()
    (state / "raft").rename(state / "aside-a1-0" / "raft")
    put_aside("a1", state)
    assert (state / "aside-a1-1" / "vault.db").read_text() == "data"


def test_without_storage_there_is_nothing_to_put_aside(tmp_path: Path) -> None:
    put_aside("a1", tmp_path)
    put_aside("a1", tmp_path / "absent")
    assert list(tmp_path.iterdir()) == []


def test_a_vault_of_another_attempt_is_not_touched(state: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    with pytest.raises(WorkError, match="nothing says that it was never used"):
        empty("a1", marker, state)
    assert mark("a2", marker)
    assert not mark("a2", marker)
    with pytest.raises(WorkError, match="provision secrets import FILE"):
        empty("a1", marker, state)
    assert (state / "vault.db").exists()
    assert unmark(marker)
    assert not unmark(marker)
