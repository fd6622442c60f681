"""Programs that are published as an archive, unpacked and made ready to start."""

from __future__ import annotations

import shlex
import subprocess
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath
from typing import IO

from provision.bundle.archive import EPOCH, Member, write_tar
from provision.bundle.catalog import Architecture, ArchiveBuild, Preparation, Selected
from provision.bundle.download import Downloads
from provision.bundle.progress import Silent
from provision.bundle.results import Ingredient, Result, recipe_key, tree_result
from provision.bundle.store import BlobStore
from provision.bundle.toolchain import clean_environment
from provision.bundle.transfer import Download
from provision.errors import BundleError

_NOBODY = "65534:65534"


@dataclass(frozen=True)
class ArchiveWorkshop:
    """Where published archives become trees."""

    folder: Path
    store: BlobStore
    architecture: Architecture

    def key(self, build: ArchiveBuild, component: Selected) -> str:
        """Digest of the recipe, which has the archive's."""
        return recipe_key(
            recipe=1,
            architecture=self.architecture,
            build=build.recipe(),
            sha256=component.sha256[build.download],
        )

    def build(self, build: ArchiveBuild, component: Selected) -> Result:
        """Fetch the archive, unpack it, and run what prepares it.

        Raises
        ------
        BundleError
            It cannot be had, is not the one that was published, or cannot be prepared.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        download = Download(
            build.id, component.downloads[build.download], component.sha256[build.download]
        )
        archive, _ = Downloads(self.store, self.folder).fetch(download, Silent())
        members = tuple(unpacked(self.store.path(archive.sha256), build.strip))
        if build.prepare is not None:
            members = self._prepared(build, build.prepare, members)
        kept = (
            member
            for member in members
            if not any(fnmatch(member.path, pattern) for pattern in build.remove)
        )
        made_of = Ingredient(kind="maven", name=build.maven, version=component.version)
        return tree_result(self.store, build.tree, kept, (made_of,))

    def _prepared(
        self, build: ArchiveBuild, prepare: Preparation, members: tuple[Member, ...]
    ) -> tuple[Member, ...]:
        """``members`` after the command ran on them, in a root file system that is not kept."""
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=self.folder) as name:
            before, after = Path(name) / "before.tar", Path(name) / "after.tar"
            with before.open("wb", buffering=0) as file:
                write_tar(members, file)
            done = subprocess.run(
                command(prepare, self.architecture, before, after),
                env=clean_environment(SOURCE_DATE_EPOCH=str(EPOCH)),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise BundleError(
                    "a published program could not be prepared",
                    where=build.id,
                    found="\n".join((done.stdout + done.stderr).strip().splitlines()[-10:]),
                    fix="see that apt reaches its archive: apt-get update",
                )
            # Its paths begin with the folder's own name.
            return tuple(unpacked(after, 1))


def command(
    prepare: Preparation, architecture: Architecture, before: Path, after: Path
) -> tuple[str, ...]:
    """What runs ``prepare`` on the archive ``before`` and writes ``after``.

    Its command is nobody there and has no network, whatever the archive holds.
    """
    folder = shlex.quote(prepare.folder)
    run = shlex.join(
        (
            *("/usr/bin/env", "-i", "HOME=/tmp", "LANG=C.UTF-8", f"SOURCE_DATE_EPOCH={EPOCH}"),
            *("PATH=/usr/local/bin:/usr/bin:/bin", *prepare.command),
        )
    )
    hooks = (
        f'mkdir -p "$1"{folder}',
        f"tar-in {shlex.quote(str(before))} {folder}",
        f'chown -R {_NOBODY} "$1"{folder}',
        f'unshare --net chroot --userspec={_NOBODY} "$1" {run}',
        f"tar-out {folder} {shlex.quote(str(after))}",
    )
    return (
        *("mmdebstrap", "--quiet", "--variant=essential", "--format=null"),
        f"--architectures={architecture}",
        f"--include={','.join(prepare.packages)}",
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--customize-hook={hook}" for hook in hooks),
        prepare.suite,
    )


def unpacked(archive: Path, strip: int = 0) -> Iterator[Member]:
    """The members of a ``.zip`` or ``.tar.gz``, without the first ``strip`` folders of their paths.

    Raises
    ------
    BundleError
        It is neither, or holds other things than files, folders and links.
    """
    try:
        # Asked in this order: a tar archive that ends in a .jar looks like a .zip, too.
        members = _tar_members if tarfile.is_tarfile(archive) else _zip_members
        for member in members(archive):
            parts = PurePosixPath(member.path).parts[strip:]
            if parts:
                yield replace(member, path="/".join(parts))
    except (tarfile.TarError, zipfile.BadZipFile) as error:
        raise BundleError(
            "a published archive is neither a .tar.gz nor a .zip",
            where=str(archive),
            found=str(error),
        ) from error


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as content:
        for info in content.infolist():
            if info.is_dir():
                yield Member(info.filename, "folder")
            else:
                executable = info.external_attr >> 16 & 0o111
                mode = 0o755 if executable else 0o644
                yield Member(info.filename, content=content.read(info), mode=mode)


def _tar_members(archive: Path) -> Iterator[Member]:
    with tarfile.open(archive) as tar:
        for info in tar:
            path = str(PurePosixPath(info.name.removeprefix("/")))
            file = _content(tar, info)
            if info.isdir():
                yield Member(path, "folder")
            elif info.issym():
                yield Member(path, "link", target=info.linkname)
            elif file is not None:
                mode = 0o755 if info.mode & 0o111 else 0o644
                yield Member(path, content=file.read(), mode=mode)
            else:
                raise BundleError(
                    "a published archive holds what is neither a file, a folder nor a link",
                    where=f"{archive}: {path}",
                    found=_described(info),
                    why="a bundle has no other kinds",
                    fix="name another archive in the catalog",
                )


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes] | None:
    """The content of a file, or of that which a hard link is another name of."""
    try:
        return tar.extractfile(info) if info.isreg() or info.islnk() else None
    except KeyError:
        return None


def _described(info: tarfile.TarInfo) -> str:
    if info.islnk():
        return f"another name of {info.linkname}, which is not in it"
    return f"an entry of type {info.type.decode('ascii', 'replace')!r}"
