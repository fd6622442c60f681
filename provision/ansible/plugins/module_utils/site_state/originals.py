"""Keeps what stood in a file's place before the role, for the day the role is removed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import quote

FOLDER = Path("/var/lib/provision/originals")


def keep(path: str, folder: Path = FOLDER) -> None:
    """Copy the file ``path`` once, or note once that there was none."""
    copy, none = _records(path, folder)
    if copy.exists() or none.exists():
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    if Path(path).is_file():
        _copy(Path(path), copy)
    else:
        none.touch(mode=0o600)


def put_back(path: str, folder: Path = FOLDER) -> None:
    """Make ``path`` what it was when it was kept; without a record nothing happens."""
    copy, none = _records(path, folder)
    if copy.exists():
        _copy(copy, Path(path))
        copy.unlink()
    elif none.exists():
        Path(path).unlink(missing_ok=True)
        none.unlink()


def _records(path: str, folder: Path) -> tuple[Path, Path]:
    name = quote(path, safe="")
    return folder / name, folder / f"{name}.none"


def _copy(source: Path, target: Path) -> None:
    """Copy content, mode and owner, so that ``target`` is either whole or as before."""
    fresh = target.with_name(f".{target.name}.provision-new")
    status = source.stat()
    shutil.copy2(source, fresh)
    os.chown(fresh, status.st_uid, status.st_gid)
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.replace(target)
