"""Places files so that each is either the old one or the new one, whole."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from .blobs import fetch
from .commands import run
from .failure import WorkError
from .permissions import owner_ids

UNIT_FOLDERS = (
    "/etc/systemd/system/",
    "/usr/lib/systemd/system/",
    "/usr/local/lib/systemd/system/",
)
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a write fails with where the disk, a quota or a limit on files takes no more."""


def place(wanted: Mapping[str, Any]) -> None:
    """Replace the file ``wanted["path"]`` by what is wanted.

    The new file is written beside the old one, checked against its sha256 and
    by its ``validate`` command, given owner and mode, synced, and only then
    renamed over it.

    Raises
    ------
    WorkError
        Something else than a file is in the way, the content cannot be had or
        is not accepted, or there is no room.
    """
    path = Path(wanted["path"])
    if path.is_dir() and not path.is_symlink():
        raise WorkError(f"{path} has to be a file, but is a directory; move it away")
    if not path.parent.is_dir():
        raise WorkError(f"{path.parent} is missing: the role's state.yml has to list it")
    fresh = path.with_name(f".{path.name}.provision-new")
    fresh.unlink(missing_ok=True)
    try:
        with open(fresh, "xb", opener=_private) as file:
            _fill(file, wanted)
            file.flush()
            os.fchown(file.fileno(), *owner_ids(wanted, str(path)))
            os.fchmod(file.fileno(), int(wanted["mode"], 8))
            os.fsync(file.fileno())
        _validate(fresh, wanted)
        fresh.replace(path)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise WorkError(
                f"{path}: no room left in {path.parent}, and it is as it was; free some space:"
                f" df -h {path.parent}"
            ) from error
        raise WorkError(f"{path}: {error.strerror or error}") from error
    finally:
        fresh.unlink(missing_ok=True)
    _sync_folder(path.parent)


def remove(path: str) -> None:
    """Remove a file, a link or a whole directory; what is missing is fine."""
    found = Path(path)
    if found.is_dir() and not found.is_symlink():
        shutil.rmtree(found)
    else:
        found.unlink(missing_ok=True)


def remove_if_empty(path: str) -> bool:
    """Remove the directory ``path`` where nothing is left in it; whether it is gone."""
    try:
        Path(path).rmdir()
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.EBUSY):
            return False
        if error.errno == errno.ENOENT:
            return True
        raise WorkError(f"{path} cannot be removed: {error.strerror}") from error
    return True


def holds_unit(path: str) -> bool:
    """Whether systemd reads ``path`` when its definitions are loaded anew."""
    return path.startswith(UNIT_FOLDERS)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _fill(file: BinaryIO, wanted: Mapping[str, Any]) -> None:
    if "urls" in wanted:
        fetch(wanted["urls"], wanted["sha256"], file)
        return
    content = base64.b64decode(wanted["content"])
    found = hashlib.sha256(content).hexdigest()
    if found != wanted["sha256"]:
        raise WorkError(
            f"{wanted['path']}: its sha256 is {found} on arrival, not {wanted['sha256']}"
        )
    file.write(content)


def _validate(fresh: Path, wanted: Mapping[str, Any]) -> None:
    if wanted["validate"] is None:
        return
    command = [word.replace("%s", str(fresh)) for word in shlex.split(wanted["validate"])]
    try:
        run(command, show_output=not wanted["secret"])
    except WorkError as error:
        raise WorkError(f"{wanted['path']} is not accepted: {error}") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
