"""Single files are taken out of published archives of both kinds."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.bundle.store import BlobStore
from provision.bundle.unpack import unpack
from provision.errors import BundleError


def tar(path: Path) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in (("./bin/vault", b"program"), ("LICENSE", b"words")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bin/", b"")
        archive.writestr("./bin/vault", b"program")
        archive.writestr("LICENSE", b"words")
    return path


@pytest.mark.parametrize("make", [tar, zipped])
def test_a_file_is_taken_out_by_its_path(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    archive = make(tmp_path / "archive")
    store = BlobStore(tmp_path / "blobs")
    found = unpack(archive, ["bin/vault"], store)
    assert list(found) == ["bin/vault"]
    assert store.path(found["bin/vault"].sha256).read_bytes() == b"program"


@pytest.mark.parametrize("make", [tar, zipped])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    archive = make(tmp_path / "archive")
    with pytest.raises(BundleError, match="lacks a file") as caught:
        unpack(archive, ["bin/other"], BlobStore(tmp_path / "blobs"))
    assert caught.value.found == "bin/other"


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(b"<html>")
    with pytest.raises(BundleError, match=r"neither a .tar.gz nor a .zip"):
        unpack(path, ["bin/vault"], BlobStore(tmp_path / "blobs"))
