"""Runs on a machine: takes pieces of blobs from standard input, and keeps blobs that are whole.

The input is a row of pieces, each a line of JSON (``sha256``, ``size`` of the
blob, ``offset`` and ``length`` of the piece, in bytes) and the piece's bytes,
closed by the line ``end``. A blob whose last piece has come is hashed, and
only then renamed to where the registry finds it. What came before a connection
broke is kept, for the next run to go on from.

Standard library only, and no other file of this project: the text travels in
front of the blobs.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import IO, Any, Protocol

DIGESTS = Path("/var/lib/provision/digests/depot_load.json")
"""Digests that need not be computed again: path -> sha256, size, mtime, ctime, inode."""
LOCK = Path("/run/lock/provision-depot_load")
CHUNK = 1 << 20
SILENCE = 60
"""Seconds without a byte after which the controller is taken for gone."""

Digests = dict[str, list[Any]]


class Input(Protocol):
    """Where the pieces come from."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes, none at the end."""

    def readline(self) -> bytes:
        """The next line."""


class ReceiveError(Exception):
    """Why the blobs cannot be taken; its message is for the administrator."""


def data_file(folder: Path, sha256: str) -> Path:
    """Where the registry finds a blob."""
    return folder / "docker/registry/v2/blobs/sha256" / sha256[:2] / sha256 / "data"


def partial_file(folder: Path, sha256: str) -> Path:
    """Where a blob grows until it is whole."""
    return folder / "incoming" / sha256


def make_folder(path: Path) -> None:
    """Make a folder, and those above it, which all may enter; the registry is not root."""
    for missing in reversed([path, *path.parents]):
        if not missing.is_dir():
            missing.mkdir(exist_ok=True)
            missing.chmod(0o755)


def fingerprint(path: Path) -> list[Any]:
    """What must be unchanged for a noted digest to hold."""
    status = path.lstat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def receive(
    stream: Input, folder: Path, digests: Path | None = DIGESTS, lock: Path = LOCK
) -> list[str]:
    """Take everything from ``stream``; returns the blobs that became whole.

    Parameters
    ----------
    digests
        Where to note what need not be hashed again; None for blobs that do not stay.

    Raises
    ------
    ReceiveError
        The disk is full, the connection broke, or a blob is not what its name says.
    """
    whole: Digests = {}
    with open(lock, "w", encoding="ascii", opener=_private) as handle:
        # A run that was killed may have left a process like this one, which ends at once:
        # its connection is gone.
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            while (line := stream.readline()) != b"end\n":
                if not line.endswith(b"\n"):
                    raise ReceiveError("the connection broke; what arrived is kept")
                _take(stream, json.loads(line), folder, whole)
        finally:
            if whole and digests is not None:
                note(digests, {**known(digests), **whole})
    return [Path(path).parent.name for path in whole]


def known(digests: Path) -> Digests:
    """The digests noted so far."""
    try:
        return dict(json.loads(digests.read_bytes()))
    except (OSError, ValueError):
        # Missing or torn: the blobs are hashed again, no more.
        return {}


def note(digests: Path, entries: Digests) -> None:
    """Replace the noted digests."""
    for above in (digests.parent.parent, digests.parent):
        above.mkdir(mode=0o700, exist_ok=True)
    write_whole(digests, json.dumps(entries).encode(), 0o600)


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Replace a file by one with this content, or leave it as it is."""
    fresh = path.with_name(f".{path.name}.provision-new")
    fresh.unlink(missing_ok=True)
    with open(fresh, "xb", opener=_private) as file:
        file.write(content)
        file.flush()
        os.fchmod(file.fileno(), mode)
        os.fsync(file.fileno())
    fresh.replace(path)


def _take(stream: Input, piece: dict[str, Any], folder: Path, whole: Digests) -> None:
    partial = partial_file(folder, piece["sha256"])
    make_folder(partial.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
    with os.fdopen(os.open(partial, flags, 0o600), "r+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END) < piece["offset"]:
            raise ReceiveError(f"{partial} was changed while it was being written; run again")
        file.truncate(piece["offset"])
        file.seek(piece["offset"])
        _copy(stream, file, piece["length"])
        if piece["offset"] + piece["length"] < piece["size"]:
            return
        os.fsync(file.fileno())
        file.seek(0)
        found = hashlib.file_digest(file, "sha256").hexdigest()
        os.fchmod(file.fileno(), 0o444)
    if found != piece["sha256"]:
        partial.unlink()
        raise ReceiveError(
            f"the blob sha256:{piece['sha256']} arrived with the sha256 {found} and is refused"
        )
    target = data_file(folder, found)
    make_folder(target.parent)
    partial.replace(target)
    whole[str(target)] = [found, *fingerprint(target)]


def _copy(stream: Input, file: IO[bytes], length: int) -> None:
    while length:
        chunk = stream.read(min(length, CHUNK))
        if not chunk:
            raise ReceiveError("the connection broke; what arrived is kept")
        length -= len(chunk)
        view = memoryview(chunk)
        while view:
            view = view[file.write(view) :]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


class Watched:
    """A stream whose silence ends this process, so that it does not hold its lock for ever."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.stream = stream

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes."""
        signal.alarm(SILENCE)
        return self.stream.read(size)

    def readline(self) -> bytes:
        """The next line."""
        signal.alarm(SILENCE)
        return self.stream.readline()


def main() -> None:
    """Take the rest of standard input into the folder that is the first argument.

    With ``noted`` for the second, the digests are noted.
    """
    folder = Path(sys.argv[1])
    digests = DIGESTS if sys.argv[2:] == ["noted"] else None
    try:
        json.dump(receive(Watched(sys.stdin.buffer), folder, digests), sys.stdout)
    except ReceiveError as error:
        sys.exit(str(error))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            sys.exit(
                f"no room left in {folder}; what arrived whole is kept; free some space:"
                f" df -h {folder}"
            )
        sys.exit(f"{error.filename or folder}: {error.strerror}")


if __name__ == "__main__":
    main()
