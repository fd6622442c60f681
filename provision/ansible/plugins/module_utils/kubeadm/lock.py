"""One kubeadm at a time, even when a killed run left one behind."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .failure import WorkError

LOCK = Path("/run/lock/provision-kubeadm")
LONGEST = 900.0
"""Seconds; kubeadm's own deadlines end a hanging run well before."""


@contextmanager
def alone(path: Path = LOCK, longest: float = LONGEST) -> Iterator[int]:
    """Hold the lock; gives the descriptor, which commands have to inherit.

    A command that outlives this process then still holds the lock, until it
    ends by itself.

    Raises
    ------
    WorkError
        Another kubeadm did not end within ``longest`` seconds.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + longest
        while not _taken(descriptor):
            if time.monotonic() > deadline:
                raise WorkError(
                    f"another kubeadm has been running on this machine for {longest:.0f} seconds;"
                    f" see which one: fuser -v {path}"
                )
            time.sleep(0.2)
        yield descriptor
    finally:
        os.close(descriptor)


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
