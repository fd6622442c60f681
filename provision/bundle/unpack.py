"""Takes single files out of a published archive, into the blob store."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from provision.bundle.store import Blob, BlobStore
from provision.errors import BundleError

_CHUNK = 1 << 20


def unpack(archive: Path, members: Iterable[str], store: BlobStore) -> dict[str, Blob]:
    """Keep each of ``members`` of a ``.tar.gz`` or ``.zip``; the blobs by the names asked for.

    Paths are compared without a leading ``./``; only plain files count.

    Raises
    ------
    BundleError
        The archive does not have one of them, or is no such archive.
    """
    wanted = {_plain(member): member for member in members}
    blobs: dict[str, Blob] = {}
    try:
        for path, file in _files(archive, wanted):
            with store.writer() as writer:
                while chunk := file.read(_CHUNK):
                    writer.write(chunk)
            blobs[wanted[path]] = writer.blob
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise BundleError(
            "a published archive is neither a .tar.gz nor a .zip",
            where=str(archive),
            found=str(error),
        ) from error
    if missing := sorted(set(wanted.values()) - set(blobs)):
        raise BundleError(
            "a published archive lacks a file that the catalog names",
            where=str(archive),
            found=", ".join(missing),
            why="the catalog's path is wrong for this version",
        )
    return blobs


def _files(archive: Path, wanted: Iterable[str]) -> Iterator[tuple[str, IO[bytes]]]:
    """Each wanted file of an archive that is one, open for reading."""
    names = set(wanted)
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as content:
            for info in content.infolist():
                if _plain(info.filename) in names and not info.is_dir():
                    with content.open(info) as opened:
                        yield _plain(info.filename), opened
        return
    with tarfile.open(archive, "r:gz") as tar:
        for entry in tar:
            file = tar.extractfile(entry) if _plain(entry.name) in names and entry.isreg() else None
            if file is not None:
                yield _plain(entry.name), file


def _plain(path: str) -> str:
    return path.removeprefix("./")
