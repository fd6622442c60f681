"""Published archives: unpacked, made ready, and nothing else."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest

from provision.bundle.catalog import (
    ArchiveBuild,
    Content,
    ImageBuild,
    ImageSpec,
    Preparation,
    Selected,
    Selection,
)
from provision.bundle.progress import Silent
from provision.bundle.published import ArchiveWorkshop, unpacked
from provision.bundle.results import Results
from provision.bundle.source import SourceSource, drop_work
from provision.bundle.store import BlobStore
from provision.bundle.toolchain import Toolchain
from provision.errors import BundleError
from tests.support import fakemmdebstrap
from tests.support.bundles import selected

PREPARE = Preparation(
    suite="trixie", packages=("java",), folder="/opt/it", command=("/opt/it/bin/it", "build")
)


def _zip() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("it-1.0/lib/it.jar", "classes")
        archive.writestr("it-1.0/bin/it.bat", "for another system")
        program = zipfile.ZipInfo("it-1.0/bin/it")
        program.external_attr = 0o744 << 16
        archive.writestr(program, "#!/bin/sh\n")
    return content.getvalue()


def _build(prepare: Preparation | None = None) -> ArchiveBuild:
    return ArchiveBuild(
        kind="archive",
        id="it",
        download="archive",
        maven="example:it",
        strip=1,
        remove=("bin/*.bat",),
        prepare=prepare,
        tree="it",
        disk=1,
        minutes=1,
    )


class _Bench:
    """A workshop whose store has the archive already, and an mmdebstrap."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "bin"
        fakemmdebstrap.install(self.programs)
        self.store = BlobStore(folder / "blobs")
        self.workshop = ArchiveWorkshop(folder / "published", self.store, "amd64")
        self.component = self.publish(_zip())

    def publish(self, content: bytes) -> Selected:
        """A component whose archive has ``content``."""
        sha256 = self.store.add_bytes(content).sha256
        return selected("it", "1.0", "amd64").model_copy(
            update={
                "downloads": {"archive": "https://example.invalid/it.zip"},
                "sha256": {"archive": sha256},
            }
        )

    def tree(self, build: ArchiveBuild) -> dict[str, tuple[int, str]]:
        """Mode and text of every file, by path."""
        output = self.workshop.build(build, self.component).outputs["it"]
        assert output.kind == "tree"
        with tarfile.open(self.store.path(output.sha256)) as tar:
            return {
                one.name: (one.mode, file.read().decode())
                for one in tar
                if one.isreg() and (file := tar.extractfile(one))
            }


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Bench:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return _Bench(tmp_path)


def test_an_archive_becomes_a_tree(bench: _Bench) -> None:
    assert bench.tree(_build()) == {
        "bin/it": (0o755, "#!/bin/sh\n"),
        "lib/it.jar": (0o644, "classes"),
    }
    (made_of,) = bench.workshop.build(_build(), bench.component).ingredients["it"]
    assert made_of.purl == "pkg:maven/example/it@1.0"


def test_it_is_made_ready_as_nobody_and_without_a_network(bench: _Bench) -> None:
    tree = bench.tree(_build(PREPARE))
    assert tree["lib/it.jar"] == (0o644, "classes")
    _, note = tree["built"]
    assert note.startswith("unshare --net chroot --userspec=65534:65534 $1 /usr/bin/env -i ")
    assert note.endswith(" /opt/it/bin/it build")
    assert "bin/it.bat" not in tree
    assert list(bench.workshop.folder.iterdir()) == []


def test_what_cannot_be_made_ready_is_told(bench: _Bench) -> None:
    (bench.programs / "fails").write_text("no Java")
    with pytest.raises(BundleError, match="could not be prepared") as caught:
        bench.workshop.build(_build(PREPARE), bench.component)
    assert (caught.value.where, caught.value.found) == ("it", "no Java")
    assert list(bench.workshop.folder.iterdir()) == []


def test_recipes_differ_by_archive_and_command(bench: _Bench) -> None:
    keys = {
        bench.workshop.key(_build(), bench.component),
        bench.workshop.key(_build(PREPARE), bench.component),
        bench.workshop.key(_build(), bench.publish(b"another")),
    }
    assert len(keys) == 3


def test_an_image_names_the_archive_that_it_is_made_of(bench: _Bench, tmp_path: Path) -> None:
    image = ImageSpec(
        reference="registry.example/it:1.0",
        source=ImageBuild(contents=(Content(build="it", output="it", path="/opt/it"),)),
    )
    component = bench.component.model_copy(update={"builds": (_build(),), "images": (image,)})
    selection = Selection(kubernetes="1.36.3", architecture="amd64", components=(component,))
    results = Results(tmp_path / "steps", bench.store)
    source = SourceSource(
        tmp_path, bench.store, results, jobs=1, toolchain=lambda _: Toolchain("1.99.0", tmp_path)
    )
    (provided,) = source.provide(selection, Silent())["it"].images
    assert provided.origin == "https://example.invalid/it.zip"
    assert [one.purl for one in provided.ingredients] == ["pkg:maven/example/it@1.0"]
    assert bench.workshop.folder.exists()
    drop_work(tmp_path)
    assert not bench.workshop.folder.exists()


def test_archives_of_tar_have_links_too(tmp_path: Path) -> None:
    archive = tmp_path / "it.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo("./it/link")
        info.type, info.linkname = tarfile.SYMTYPE, "it"
        tar.addfile(info)
    (link,) = unpacked(archive, 1)
    assert (link.path, link.kind, link.target) == ("link", "link", "it")


def test_a_hard_link_is_the_file_that_it_names(tmp_path: Path) -> None:
    archive = tmp_path / "it.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        program = tarfile.TarInfo("./it/program")
        program.size, program.mode = 4, 0o755
        tar.addfile(program, io.BytesIO(b"code"))
        other = tarfile.TarInfo("./it/other")
        other.type, other.linkname, other.mode = tarfile.LNKTYPE, "./it/program", 0o755
        tar.addfile(other)
    found = [(one.path, one.kind, one.content, one.mode) for one in unpacked(archive, 1)]
    assert found == [("program", "file", b"code", 0o755), ("other", "file", b"code", 0o755)]


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.LNKTYPE])
def test_what_a_bundle_has_not_is_refused(tmp_path: Path, kind: bytes) -> None:
    archive = tmp_path / "it.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        info = tarfile.TarInfo("./it/device")
        info.type, info.linkname = kind, "it/missing"
        tar.addfile(info)
    with pytest.raises(BundleError, match="neither a file, a folder nor a link") as caught:
        list(unpacked(archive))
    assert caught.value.where == f"{archive}: it/device"


def test_an_archive_of_tar_that_ends_in_a_zip_is_one_of_tar(tmp_path: Path) -> None:
    archive = tmp_path / "it.tar"
    with tarfile.open(archive, "w") as tar:
        info = tarfile.TarInfo("it/it.jar")
        info.size = len(_zip())
        tar.addfile(info, io.BytesIO(_zip()))
    assert zipfile.is_zipfile(archive)
    assert [one.path for one in unpacked(archive, 1)] == ["it.jar"]


def test_what_is_no_archive_is_refused(bench: _Bench) -> None:
    bench.component = bench.publish(b"a log-in page")
    with pytest.raises(BundleError, match=r"neither a \.tar\.gz nor a \.zip"):
        bench.tree(_build())
