"""Debian's archives, trimmed, and the packages they were made of."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from provision.bundle.catalog import DebianBuild, Link
from provision.bundle.debian import headers_of, parse_status, programs_of, trim
from provision.bundle.store import BlobStore

STATUS = """\
Package: bash
Status: install ok installed
Version: 5.2.15-2
Description: GNU Bourne Again SHell
 Version: of a continued line
 Package: no

Package: libc6
Version: 2.36-9+deb12u14
Conffiles:
 /etc/ld.so.conf 4317c6de8564b68d628c21efa96b37e4
"""


def test_versions_are_read_from_the_status_file() -> None:
    assert parse_status(STATUS) == {"bash": "5.2.15-2", "libc6": "2.36-9+deb12u14"}
    assert parse_status("") == {}


def test_an_archive_loses_what_is_removed_and_gains_links(tmp_path: Path) -> None:
    archive = tmp_path / "root.tar"
    with tarfile.open(archive, "w") as tar:
        for name, content in (
            ("./usr/bin/clang-19", b"binary"),
            ("./var/cache/apt/pkgcache.bin", b"cache"),
            ("./dev/null", b""),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.uname = "root"
            tar.addfile(info, io.BytesIO(content))
    build = DebianBuild(
        kind="debian",
        id="base",
        suite="bookworm",
        packages=("clang-19",),
        remove=("/dev/*", "/var/cache/*"),
        links=(Link(path="/usr/bin/clang", target="clang-19"),),
        tree="root",
        disk=1,
        minutes=1,
    )
    store = BlobStore(tmp_path / "blobs")
    with store.writer() as writer:
        trim(archive, writer, build)
    with tarfile.open(store.path(writer.blob.sha256)) as tar:
        assert tar.getnames() == ["./usr/bin/clang-19", "./usr/bin/clang"]
        assert tar.getmember("./usr/bin/clang").linkname == "clang-19"
        kept = tar.extractfile("./usr/bin/clang-19")
        assert kept is not None
        assert kept.read() == b"binary"


def test_needed_packages_are_known_by_what_they_install() -> None:
    assert programs_of(("mmdebstrap", "libc6-dev")) == {"mmdebstrap": "mmdebstrap"}
    assert headers_of(("libseccomp-dev", "gcc"), "no-such-triplet") == ("libseccomp-dev",)
