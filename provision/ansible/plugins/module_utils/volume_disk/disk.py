"""What is on a disk, and making a file system for volumes on an empty one."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import tempfile
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LABEL = "provision-vols"
"""Label of the file systems made here; ext4 takes sixteen characters."""
LOOKED_AT = 1 << 20
"""Bytes at the beginning and at the end that must be zero."""


class DiskError(Exception):
    """A disk that cannot be used; the message says why."""


def is_ours(device: str) -> bool:
    """Whether an earlier run made the file system on it."""
    return [(one["type"], one["label"]) for one in _signatures(device)] == [("ext4", LABEL)]


def contents(device: str) -> str:
    """What the disk holds, in words; nothing when it is empty.

    Raises
    ------
    DiskError
        It is no disk of this machine.
    """
    found = [
        f'{one["type"]} "{one["label"]}"' if one["label"] else one["type"]
        for one in _signatures(device)
    ]
    if found:
        return ", ".join(found)
    return _use(device) or _data(device)


def make(device: str) -> None:
    """Make the file system; only root may look into it.

    Raises
    ------
    DiskError
        It cannot be made.
    """
    _run("mkfs.ext4", "-q", "-F", "-L", LABEL, device)
    with tempfile.TemporaryDirectory() as folder:
        _run("mount", "-t", "ext4", device, folder)
        try:
            Path(folder).chmod(0o700)
        finally:
            _run("umount", folder)


def _signatures(device: str) -> list[dict[str, str]]:
    _require_block(device)
    printed = _run("wipefs", "--json", "--output", "TYPE,LABEL", device)
    listed = json.loads(printed or "{}").get("signatures", [])
    return [{"type": one["type"], "label": one.get("label") or ""} for one in listed]


def _require_block(device: str) -> None:
    try:
        mode = Path(device).stat().st_mode
    except OSError as error:
        raise DiskError(f"{device} is no disk of this machine: {error.strerror}") from error
    if not stat.S_ISBLK(mode):
        raise DiskError(f"{device} is no disk of this machine: it is no block device")


def _use(device: str) -> str:
    name = Path(device).resolve().name
    block = Path("/sys/class/block") / name
    holders = sorted(path.name for path in (block / "holders").glob("*"))
    if holders:
        return f"parts of {', '.join(holders)}"
    parts = sorted(path.parent.name for path in block.glob("*/partition"))
    if parts:
        return f"partitions {', '.join(parts)}"
    try:
        # The kernel refuses this while the disk is mounted, or anyone else's alone.
        os.close(os.open(device, os.O_RDWR | os.O_EXCL))
    except OSError as error:
        return f"something that is in use ({error.strerror})"
    return ""


def _data(device: str) -> str:
    with Path(device).open("rb") as disk:
        size = disk.seek(0, os.SEEK_END)
        for offset in (0, max(size - LOOKED_AT, 0)):
            disk.seek(offset)
            if any(disk.read(LOOKED_AT)):
                return "data of an unknown kind"
    return ""


def _run(*command: str) -> str:
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PATH": PATH, "LC_ALL": "C"},
            text=True,
            check=False,
        )
    except OSError as error:
        raise DiskError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        raise DiskError(f"`{' '.join(command)}` ended with code {done.returncode}: {said}")
    return done.stdout
