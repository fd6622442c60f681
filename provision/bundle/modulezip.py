"""The ``.zip`` of a Go module, vouched for by the Go checksum database.

The database does not know the archive, but what is in it: the ``h1:`` checksum
is one over the names and checksums of all its files (golang.org/x/mod,
``dirhash.HashZip``).
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO

import yaml

from provision.bundle.archive import Member, write_tar_gz
from provision.bundle.gomodules import CHART
from provision.bundle.store import Blob, BlobStore
from provision.errors import BundleError


def module_sum(archive: Path | IO[bytes]) -> str:
    """The ``h1:`` checksum of the module in ``archive``.

    Raises
    ------
    BundleError
        It is no ``.zip``.
    """
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(archive) as content:
            for name in sorted(content.namelist()):
                found = hashlib.sha256(content.read(name)).hexdigest()
                digest.update(f"{found}  {name}\n".encode())
    except zipfile.BadZipFile as error:
        raise BundleError(
            "a Go module's archive is no .zip", where=str(archive), found=str(error)
        ) from error
    return f"h1:{base64.b64encode(digest.digest()).decode()}"


def require_sum(archive: Path, module: str, wanted: str) -> None:
    """Refuse an ``archive`` with other files than those of ``module``.

    Raises
    ------
    BundleError
        Its checksum is not ``wanted``.
    """
    found = module_sum(archive)
    if found != wanted:
        raise BundleError(
            "a Go module's checksum is wrong; it was not used",
            where=module,
            found=found,
            wanted=wanted,
            why="the catalog's two checksums of it are not of the same archive",
        )


def pack_chart(archive: Path, folder: str, store: BlobStore) -> Blob:
    """The chart in ``folder`` of ``archive``, packed as the source ``source`` packs it.

    Raises
    ------
    BundleError
        There is no chart.
    """
    with zipfile.ZipFile(archive) as content:
        files = {
            str(PurePosixPath(name).relative_to(folder)): content.read(name)
            for name in content.namelist()
            if PurePosixPath(name).is_relative_to(folder)
        }
    if CHART not in files:
        raise BundleError(
            "a published archive lacks a file that the catalog names",
            where=str(archive),
            found=f"{folder}/{CHART}",
            why="the catalog's path is wrong for this version",
        )
    name = yaml.safe_load(files[CHART])["name"]
    members = [Member(f"{name}/{path}", content=text, mode=0o644) for path, text in files.items()]
    with store.writer() as writer:
        write_tar_gz(members, writer)
    return writer.blob
