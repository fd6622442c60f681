"""One run per site on this controller; the kernel frees the lock when its holder dies."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from provision.errors import LockedError
from provision.privatefiles import writing


@contextmanager
def local_lock(
    folder: Path,
    holder: str,
    what: str = "another run is working on this site from this controller",
    fix: str = "wait for it, or read what it does: provision runs show",
) -> Iterator[None]:
    """Hold the lock of the site whose state lies in ``folder``.

    Parameters
    ----------
    what, fix
        What the error says where another process holds it.

    Raises
    ------
    LockedError
        Another process of this controller holds it; the error names it.
    DiskFullError, SecretsError
        Who holds it cannot be written down.
    """
    path = folder / "lock"
    otherwise = "the site's lock cannot be written; nothing was changed"
    with writing(path, otherwise):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LockedError(
                what,
                where=str(path),
                found=os.pread(descriptor, 4096, 0).decode(errors="replace").strip(),
                fix=fix,
            ) from error
        with writing(path, otherwise):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{holder}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
