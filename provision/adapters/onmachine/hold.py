"""Holds the site's lock on this machine for as long as the controller keeps talking.

The lock is an flock, so the kernel frees it when this process ends; it ends when
its standard input does, or stays silent for too long. Nothing outlives it: the
file lies in /run and is removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LOCK = Path("/run/provision/lock")


def main() -> None:
    """Take the lock for the holder on standard input; say ``held`` and the holder as JSON."""
    request = json.loads(sys.stdin.buffer.readline())
    for number in (signal.SIGALRM, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, _leave)
    signal.alarm(request["silence_seconds"])
    path = Path(request.get("path", LOCK))
    with _door(path.parent):
        descriptor = _take(path)
        if descriptor is None:
            _say({"held": False, "holder": _holder(path)})
            return
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(request["holder"]).encode(), 0)
    try:
        _say({"held": True, "holder": request["holder"]})
        _listen(request["silence_seconds"])
    finally:
        with _door(path.parent):
            path.unlink()
            with suppress(OSError):
                path.parent.rmdir()
        os.close(descriptor)


@contextmanager
def _door(folder: Path) -> Iterator[None]:
    """Let one process at a time take and sign, or leave; whoever is refused reads a name."""
    while True:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            # The holder before removed the folder in this very moment.
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is(descriptor, folder):
                yield
                return
        finally:
            os.close(descriptor)


def _take(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))  # noqa: PTH116
    except FileNotFoundError:
        return False


def _holder(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        # Its holder stopped on the very line that signs.
        return {}


def _say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def _listen(silence_seconds: int) -> None:
    signal.alarm(silence_seconds)
    while sys.stdin.buffer.readline():
        signal.alarm(silence_seconds)


def _leave(number: int, frame: Any) -> None:  # noqa: ARG001 - the signature is Python's
    sys.exit(0)
