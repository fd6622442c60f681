"""The content of a depot on this machine: read, complete, verify, remove."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

# Relative, because the package has one name here and another inside a module on a machine.
from ..site_state import reader  # noqa: TID252
from ..site_state.failure import WorkError  # noqa: TID252
from ..site_state.files import remove_if_empty  # noqa: TID252
from ..site_state.marks import LOCKS, locked  # noqa: TID252
from . import receive

STORAGE = Path("docker/registry/v2")


class Store:
    """The depot's content in ``folder``.

    Parameters
    ----------
    folder
        The registry's root directory.
    digests
        File of digests that need not be computed again.
    locks
        Folder of the lock that the receiver takes too.
    """

    def __init__(self, folder: Path, digests: Path = receive.DIGESTS, locks: Path = LOCKS) -> None:
        self.folder = folder
        self.digests = digests
        self.locks = locks

    def read(self, query: dict[str, Any]) -> dict[str, Any]:
        """The reader's answer, with what came of unfinished blobs and the free bytes."""
        partial = self.folder / "incoming"
        existing = next(path for path in (self.folder, *self.folder.parents) if path.is_dir())
        # What a killed run still had on the way ends first.
        with locked("depot_load", self.locks):
            free = os.statvfs(existing)
            return {
                "observed": reader.answer(query),
                "partial": {entry.name: entry.lstat().st_size for entry in _entries(partial)},
                "free": free.f_bavail * free.f_frsize,
            }

    def complete(self, blobs: Mapping[str, int], links: Mapping[str, str], stamp: str) -> None:
        """Link the blobs, which are all there, and drop everything else.

        Parameters
        ----------
        blobs
            Size by sha256.
        links
            Content by path below the folder.
        stamp
            Digest of the bundle's lock, noted last.

        Raises
        ------
        WorkError
            A blob is missing, or there is no room.
        """
        with locked("depot_load", self.locks):
            self._note_digests(blobs)
            for path, content in links.items():
                self._write(self.folder / path, content)
            self._prune(blobs, links)
            self._write(self.folder / "bundle", f"{stamp}\n")

    def verify(self, blobs: Mapping[str, int], *, forget: bool) -> dict[str, str]:
        """Hash every blob as it lies on the disk; what was found instead, by sha256.

        With ``forget``, a damaged blob's noted digest is dropped, so that the
        plan sees the damage too.
        """
        found = {}
        for sha256 in blobs:
            path = receive.data_file(self.folder, sha256)
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except FileNotFoundError:
                found[sha256] = "missing"
                continue
            except OSError as error:
                found[sha256] = f"unreadable: {error.strerror}"
                continue
            if digest != sha256:
                found[sha256] = f"damaged, its sha256 is {digest}"
        if found and forget:
            damaged = {str(receive.data_file(self.folder, sha256)) for sha256 in found}
            entries = receive.known(self.digests)
            kept = {path: entry for path, entry in entries.items() if path not in damaged}
            receive.note(self.digests, kept)
        return found

    def remove(self) -> None:
        """Take away all content; the folder itself stays."""
        with locked("depot_load", self.locks):
            for entry in _entries(self.folder):
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
            self.digests.unlink(missing_ok=True)
        for folder in (self.digests.parent, self.digests.parent.parent):
            remove_if_empty(str(folder))

    def _note_digests(self, blobs: Mapping[str, int]) -> None:
        entries = receive.known(self.digests)
        noted = {}
        for sha256, size in blobs.items():
            path = receive.data_file(self.folder, sha256)
            if not path.is_file() or path.stat().st_size != size:
                raise WorkError(f"the blob sha256:{sha256} is not in {self.folder}")
            if path.stat().st_mode & 0o7777 != 0o444 or path.stat().st_uid != os.geteuid():
                os.chown(path, os.geteuid(), os.getegid())
                path.chmod(0o444)
            entry = entries.get(str(path))
            if entry is None or entry[1:] != receive.fingerprint(path):
                entry = self._hashed(path, sha256)
            noted[str(path)] = entry
        receive.note(self.digests, noted)

    def _hashed(self, path: Path, sha256: str) -> list[Any]:
        before = receive.fingerprint(path)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            raise WorkError(f"the blob sha256:{sha256} in {self.folder} has the sha256 {found}")
        return [found, *before]

    def _write(self, path: Path, content: str) -> None:
        receive.make_folder(path.parent)
        encoded = content.encode()
        if path.is_file() and not path.is_symlink() and path.read_bytes() == encoded:
            os.chown(path, os.geteuid(), os.getegid())
            path.chmod(0o444)
        else:
            receive.write_whole(path, encoded, 0o444)

    def _prune(self, blobs: Mapping[str, int], links: Mapping[str, str]) -> None:
        kept = {receive.data_file(self.folder, sha256) for sha256 in blobs}
        kept |= {self.folder / path for path in links}
        for part in ("blobs", "repositories"):
            _prune_folder(self.folder / STORAGE / part, kept)
        incoming = self.folder / "incoming"
        if incoming.is_dir():
            shutil.rmtree(incoming)


def _prune_folder(folder: Path, kept: set[Path]) -> None:
    """Remove what is not in ``kept``, and folders that are empty then."""
    for top, folders, files in os.walk(folder, topdown=False):
        for name in files:
            path = Path(top, name)
            if path not in kept:
                path.unlink()
        for name in folders:
            path = Path(top, name)
            if path.is_symlink():
                path.unlink()
            else:
                remove_if_empty(str(path))


def _entries(folder: Path) -> Iterator[Path]:
    return iter(sorted(folder.iterdir())) if folder.is_dir() else iter(())
