"""What this toolkit notes on a machine about its own work.

A restart marker says that a unit runs with files which were replaced since: it
is written before the first file is, and goes when the unit was restarted, so
that a crash between is healed by the next run. A digest cache spares the
reader to hash large files again.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

STATE = Path("/var/lib/provision")
LOCKS = Path("/run/lock")


class Marks:
    """Markers and digests of one role, below ``state``."""

    def __init__(self, role: str, state: Path = STATE) -> None:
        self.state = state
        self.pending = state / "restart-pending"
        self.digests = state / "digests" / f"{role}.json"

    def prepare(self) -> None:
        """Make the folders, readable by root alone."""
        for folder in (self.state, self.pending, self.digests.parent):
            folder.mkdir(mode=0o700, exist_ok=True)

    def mark(self, unit: str) -> None:
        """Note that ``unit`` has to be restarted."""
        (self.pending / unit).touch(mode=0o600)
        _sync(self.pending)

    def is_marked(self, unit: str) -> bool:
        """Whether ``unit`` has to be restarted."""
        return (self.pending / unit).exists()

    def clear(self, unit: str) -> None:
        """Note that ``unit`` was restarted."""
        (self.pending / unit).unlink(missing_ok=True)

    def known(self) -> dict[str, list[str | int]]:
        """The digest cache: path → sha256, size, mtime, ctime, inode."""
        try:
            data = json.loads(self.digests.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    def write(self, digests: Mapping[str, list[str | int]]) -> None:
        """Replace the digest cache."""
        if not digests:
            self.digests.unlink(missing_ok=True)
            return
        fresh = self.digests.with_suffix(".new")
        with open(fresh, "w", encoding="utf-8", opener=_private) as file:
            json.dump(digests, file)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.digests)

    def forget(self) -> None:
        """Remove the role's digests."""
        self.digests.unlink(missing_ok=True)


@contextmanager
def locked(name: str, locks: Path = LOCKS) -> Iterator[None]:
    """Hold the machine's lock ``name``; wait while another process has it.

    A run that was killed may have left its worker on the machine, which ends
    by itself: the kernel lets go of its lock then.
    """
    with open(locks / f"provision-{name}", "w", encoding="ascii", opener=_private) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
