"""Takes single files out of a published archive, into the blob store."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from pathlib import Path

from provision.bundle.store import Blob, BlobStore
from provision.errors import BundleError

_CHUNK = 1 << 20


def unpack(archive: Path, members: Iterable[str], store: BlobStore) -> dict[str, Blob]:
    """Keep each of ``members`` of a ``.tar.gz``; the blobs by the names asked for.

    Paths are compared without a leading ``./``; only plain files count.

    Raises
    ------
    BundleError
        The archive does not have one of them, or is no such archive.
    """
    wanted = {_plain(member): member for member in members}
    blobs: dict[str, Blob] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for entry in tar:
                name = wanted.get(_plain(entry.name))
                file = tar.extractfile(entry) if name and entry.isreg() else None
                if name is None or file is None:
                    continue
                with store.writer() as writer:
                    while chunk := file.read(_CHUNK):
                        writer.write(chunk)
                blobs[name] = writer.blob
    except (tarfile.TarError, EOFError) as error:
        raise BundleError(
            "a published archive is no .tar.gz", where=str(archive), found=str(error)
        ) from error
    if missing := sorted(set(wanted.values()) - set(blobs)):
        raise BundleError(
            "a published archive lacks a file that the catalog names",
            where=str(archive),
            found=", ".join(missing),
            why="the catalog's path is wrong for this version",
        )
    return blobs


def _plain(path: str) -> str:
    return path.removeprefix("./")
