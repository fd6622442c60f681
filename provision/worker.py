"""Starts the process in which pyinfra talks to machines, ``adapters/pyinfra_worker.py``.

It needs as long to import what it needs as the rest of the program does, so it is
started before anything else is imported; hence this small module.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

_ENVIRONMENT = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "SSH_AUTH_SOCK", "TZ", "USER")
"""All that the worker inherits: what SSH needs to find keys and agent."""

WORKER = Path(__file__).with_name("adapters") / "pyinfra_worker.py"


def start_worker(script: Path = WORKER) -> subprocess.Popen[bytes]:
    """Start ``script``; it ends when our end of its input closes, however we die.

    It is a session of its own, so that Ctrl-C at the terminal reaches only us.
    """
    return subprocess.Popen(
        # -P: the folder of the script holds a pyinfra.py of ours.
        [sys.executable, "-P", str(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        start_new_session=True,
    )


_early: list[subprocess.Popen[bytes]] = []


def start_early() -> None:
    """Start the worker that the next :func:`take_worker` gives."""
    _early.append(start_worker())


def take_worker() -> subprocess.Popen[bytes]:
    """The worker that was started early, else a new one."""
    return _early.pop() if _early else start_worker()


def discard_early() -> None:
    """End a worker that was started early and that nobody took."""
    while _early:
        discard(_early.pop())


def discard(worker: subprocess.Popen[bytes]) -> None:
    """End a worker that nothing was asked of."""
    with worker:
        worker.kill()
