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
from contextlib import suppress
from pathlib import Path
from typing import Any

LOCK = Path("/run/provision/lock")


def main() -> None:
    """Take the lock for the holder on standard input; say ``held`` and the holder as JSON."""
    request = json.loads(sys.stdin.buffer.readline())
    for number in (signal.SIGALRM, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, _leave)
    path = Path(request.get("path", LOCK))
    descriptor = _take(path)
    if descriptor is None:
        _say({"held": False, "holder": _holder(path)})
        return
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(request["holder"]).encode(), 0)
        _say({"held": True, "holder": request["holder"]})
        _listen(request["silence_seconds"])
    finally:
        # Removed while still locked, so that nobody who holds it loses the name.
        path.unlink()
        with suppress(OSError):
            path.parent.rmdir()
        os.close(descriptor)


def _take(path: Path) -> int | None:
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            # The holder before removed the folder in this very moment.
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):  # noqa: PTH116
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            return None
        except FileNotFoundError:
            # Locked a file that its holder had just removed: it guards nothing.
            pass
        os.close(descriptor)


def _holder(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        # Taken in this moment, and not signed yet.
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
