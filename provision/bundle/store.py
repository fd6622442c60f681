"""Blobs by their SHA-256, each written once and as a whole."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from provision.errors import BundleError, DiskFullError

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Blob:
    """Some bytes, by what they are."""

    sha256: str
    """In hexadecimal."""
    size: int
    """In bytes."""

    @property
    def digest(self) -> str:
        """As OCI writes it."""
        return f"sha256:{self.sha256}"


class BlobStore:
    """A folder of blobs, named by their SHA-256.

    Parameters
    ----------
    folder
        Made when missing. The layout is that of an OCI image layout's
        ``blobs`` folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "sha256"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._seen: dict[str, tuple[int, int]] = {}

    def path(self, sha256: str) -> Path:
        """Where the blob lies, or would."""
        return self.folder / sha256

    def holds(self, blob: Blob) -> bool:
        """Whether the blob is there with its size; its bytes are not read."""
        try:
            return self.path(blob.sha256).stat().st_size == blob.size
        except FileNotFoundError:
            return False

    def intact(self, blob: Blob) -> bool:
        """Whether the blob is there and its bytes are what its name says.

        A file that was read before and has not been touched since is not read again.
        """
        if not self.holds(blob):
            return False
        found = self.path(blob.sha256).stat()
        touched = (found.st_ino, found.st_mtime_ns)
        if self._seen.get(blob.sha256) == touched:
            return True
        if hash_file(self.path(blob.sha256)) != blob:
            return False
        self._seen[blob.sha256] = touched
        return True

    def add_bytes(self, content: bytes) -> Blob:
        """Keep ``content``."""
        with self.writer() as writer:
            writer.write(content)
        return writer.blob

    def add_file(self, path: Path) -> Blob:
        """Keep a copy of the file at ``path``."""
        with self.writer() as writer, path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                writer.write(chunk)
        return writer.blob

    @contextmanager
    def writer(self) -> Iterator[BlobWriter]:
        """Something to write a blob into; it is in the store when the block ends well.

        Raises
        ------
        DiskFullError
            There is no room; the store is as it was.
        """
        descriptor, name = tempfile.mkstemp(prefix=".partial-", dir=self.folder)
        partial = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                writer = BlobWriter(file)
                yield writer
                file.flush()
                os.fsync(descriptor)
            writer.finish()
            partial.chmod(0o444)
            partial.replace(self.path(writer.blob.sha256))
        except OSError as error:
            partial.unlink(missing_ok=True)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise disk_full(self.folder) from error
            raise
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def remove(self, sha256: str) -> None:
        """Forget a blob."""
        self.path(sha256).unlink(missing_ok=True)

    def all(self) -> frozenset[str]:
        """SHA-256 of every blob kept."""
        return frozenset(
            entry.name for entry in os.scandir(self.folder) if not entry.name.startswith(".")
        )


class BlobWriter(io.RawIOBase):
    """Writes bytes and hashes them on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._hash = hashlib.sha256()
        self._size = 0
        self._blob: Blob | None = None

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, chunk: Any) -> int:
        """Append ``chunk``."""
        self._hash.update(chunk)
        self._size += len(chunk)
        return self._file.write(chunk)

    def finish(self) -> None:
        """Fix the digest."""
        self._blob = Blob(self._hash.hexdigest(), self._size)

    @property
    def blob(self) -> Blob:
        """What was written; known after the store's block has ended."""
        if self._blob is None:
            raise RuntimeError("the blob is not complete")
        return self._blob


def hash_file(path: Path) -> Blob:
    """SHA-256 and size of the file at ``path``."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
        return Blob(digest.hexdigest(), file.tell())


def write_atomically(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Put ``content`` at ``path`` as a whole, or leave what is there.

    Raises
    ------
    DiskFullError
        There is no room.
    """
    descriptor, name = tempfile.mkstemp(prefix=".partial-", dir=path.parent)
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        partial.chmod(mode)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(path.parent) from error
        raise


def disk_full(folder: Path) -> DiskFullError:
    """The error for a write that found no room in ``folder``."""
    return DiskFullError(
        "the disk is full",
        where=str(folder),
        found=f"{shutil.disk_usage(folder).free >> 20} MiB free",
        why="what was finished before is kept and need not be made again",
        fix="free some space on that disk, then run the same command again",
    )


def require_space(folder: Path, needed: int, purpose: str) -> None:
    """Refuse to begin what would fill the disk.

    Parameters
    ----------
    needed
        Bytes.
    purpose
        What they are for, as a noun.

    Raises
    ------
    BundleError
        Less is free where ``folder`` lies.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DiskFullError(
            f"not enough disk space for {purpose}",
            where=str(folder),
            found=f"{free >> 20} MiB free",
            wanted=f"{needed >> 20} MiB free",
            fix="free some space, or put the caches on another disk: "
            "export PROVISION_CACHE=/some/larger/folder",
        )


def missing_blob(path: Path) -> BundleError:
    """The error for a blob that a manifest names and that is not there."""
    return BundleError("a blob is missing", where=str(path), fix="provision bundle build")
