"""Mode and owner of files and directories."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

from .failure import WorkError

Permissions = Mapping[str, str]
"""Keys ``mode`` (octal digits), ``owner`` and ``group`` (names)."""


def owner_ids(wanted: Permissions, path: str) -> tuple[int, int]:
    """User and group number of what ``path`` should belong to.

    Raises
    ------
    WorkError
        The machine has no such user or group.
    """
    try:
        user = pwd.getpwnam(wanted["owner"]).pw_uid
    except KeyError as error:
        raise WorkError(f"{path}: there is no user {wanted['owner']}") from error
    try:
        group = grp.getgrnam(wanted["group"]).gr_gid
    except KeyError as error:
        raise WorkError(f"{path}: there is no group {wanted['group']}") from error
    return user, group


def set_permissions(path: str, wanted: Permissions) -> None:
    """Give the file or directory ``path`` its owner and mode, never through a link."""
    user, group = owner_ids(wanted, path)
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        os.fchown(handle, user, group)
        os.fchmod(handle, int(wanted["mode"], 8))
    finally:
        os.close(handle)


def make_directory(wanted: Mapping[str, str]) -> None:
    """Make the directory ``wanted["path"]`` with those above it, or set its permissions."""
    path = Path(wanted["path"])
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise WorkError(f"{path} has to be a directory, but is a {_kind(path)}; move it away")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    set_permissions(str(path), wanted)


def _kind(path: Path) -> str:
    return "link" if path.is_symlink() else "file"
