"""Starts the process in which pyinfra talks to machines, ``adapters/pyinfra_worker.py``.

It needs as long to import what it needs as the rest of the program does, so it is
started before anything else is imported; hence this small module. Its connections
stay open for a minute after a run, as those of Ansible and ``ssh -o ControlPersist``
do, and a run that comes in that time goes on with them.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from provision.paths import cache_path

_ENVIRONMENT = ("HOME", "LANG", "LOGNAME", "PATH", "SHELL", "SSH_AUTH_SOCK", "TZ", "USER")
"""All that the worker inherits: what SSH needs to find keys and agent."""

WORKER = Path(__file__).with_name("adapters") / "pyinfra_worker.py"
LONGEST_PATH = 100
"""Bytes in the path of a socket; the kernel takes 107 (unix(7))."""
GREETING_SECONDS = 2.0
"""How long a worker of an earlier run may take to say that it listens to us."""
END_SECONDS = 5.0
"""How long a worker may take to end after its last request."""


class Worker:
    """A worker, ours or that of an earlier run.

    Parameters
    ----------
    stream
        Takes requests and gives replies, a line of JSON each.
    child
        Number of the process, where it is ours.
    """

    def __init__(self, stream: socket.socket, child: int | None) -> None:
        self.stream = stream
        self.child = child
        self.replies = stream.makefile("rb")

    def send(self, line: bytes) -> None:
        """Hand over a request; a worker that is gone cannot take it, and its replies end."""
        with suppress(OSError):
            self.stream.sendall(line)

    def finish(self) -> None:
        """Say that no request follows; the replies end when the worker has taken that in."""
        with suppress(OSError):
            self.stream.shutdown(socket.SHUT_WR)

    def kill(self) -> None:
        """End it where it is ours, and the replies in any case."""
        if self.child is not None:
            os.kill(self.child, signal.SIGKILL)
            os.waitpid(self.child, 0)
            self.child = None
        with suppress(OSError):
            self.stream.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of it."""
        self.replies.close()
        self.stream.close()

    def discard(self) -> None:
        """Let go of a worker that nothing was asked of; ours ends."""
        self.kill()
        self.close()


def start_worker(script: Path = WORKER, place: Path | None = None) -> Worker:
    """Start ``script``; without a ``place`` it ends when our end of the stream closes.

    It is a session of its own, so that Ctrl-C at the terminal reaches only us.

    Parameters
    ----------
    place
        Where it may wait for the next run: path of a socket that it makes.
    """
    ours, theirs = socket.socketpair()
    # -P: the folder of the script holds a pyinfra.py of ours.
    command = [sys.executable, "-P", str(script), *([] if place is None else [str(place)])]
    # Not by subprocess, which waits for its children or complains: this one may outlive us.
    with theirs:
        child = os.posix_spawn(
            sys.executable,
            command,
            _environment(),
            file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), number) for number in (0, 1)],
            setsid=True,
        )
    return Worker(ours, child)


_early: list[Worker] = []


def start_early() -> None:
    """Start the worker that the next :func:`take_worker` gives."""
    _early.append(_find_or_start())


def take_worker() -> Worker:
    """The worker that was started early, else another one."""
    return _early.pop() if _early else _find_or_start()


def discard_early() -> None:
    """End a worker that was started early and that nobody took."""
    while _early:
        _early.pop().discard()


def _find_or_start() -> Worker:
    place = _meeting_place()
    stream = None if place is None else _met(place)
    return start_worker(place=place) if stream is None else Worker(stream, None)


def _met(place: Path) -> socket.socket | None:
    """The stream to a worker that waits at ``place``, if one does."""
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(GREETING_SECONDS)
    try:
        stream.connect(str(place))
        # One that was found by somebody else a moment before listens to that one only.
        greeted = stream.recv(1) == b"\n"
    except OSError:
        greeted = False
    if not greeted:
        stream.close()
        return None
    stream.settimeout(None)
    return stream


def _meeting_place() -> Path | None:
    """Where runs by the same program and in the same environment find each other's worker.

    None where others could come there too, or nobody.
    """
    text = repr([sys.executable, str(WORKER), WORKER.stat().st_mtime_ns, _environment()])
    folder = cache_path() / "run"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return None
    place = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.sock"
    is_ours = status.st_uid == os.getuid() and not status.st_mode & 0o077
    return place if is_ours and len(os.fsencode(place)) <= LONGEST_PATH else None


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
