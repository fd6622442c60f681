"""Root file systems, and single files, from Debian's own packages."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from urllib.parse import unquote

from provision.bundle.archive import EPOCH
from provision.bundle.catalog import Architecture, DebianBuild
from provision.bundle.results import Ingredient, Output, Result, recipe_key
from provision.bundle.store import BlobStore
from provision.bundle.toolchain import clean_environment
from provision.errors import BundleError

_STATUS = "./var/lib/dpkg/status"
_ARCHIVES = "./var/cache/apt/archives/"


@dataclass(frozen=True)
class DebianWorkshop:
    """Where Debian file systems are made."""

    folder: Path
    store: BlobStore
    architecture: Architecture

    def key(self, build: DebianBuild) -> str:
        """Digest of the recipe; the packages' versions are Debian's of the day."""
        return recipe_key(
            recipe=1,
            architecture=self.architecture,
            build=build.recipe(),
        )

    def build(self, build: DebianBuild, key: str) -> Result:
        """Unpack the packages and keep what ``build`` names.

        apt verifies the packages by the distribution's own signatures.

        Raises
        ------
        BundleError
            A package cannot be had.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        archive = self.folder / f"{key}.tar"
        self._bootstrap(build, archive)
        outputs = {}
        if build.tree:
            with self.store.writer() as writer:
                trim(archive, writer, build)
            blob = writer.blob
            outputs[build.tree] = Output(sha256=blob.sha256, size=blob.size, kind="tree")
        with tarfile.open(archive) as tar:
            packages = _installed(tar) if build.tree else _unpacked(tar)
            for name, path in build.files.items():
                member = tar.getmember(f".{path}") if f".{path}" in tar.getnames() else None
                source = tar.extractfile(member) if member else None
                if source is None:
                    raise BundleError("the packages hold no such file", where=build.id, found=path)
                blob = self.store.add_bytes(source.read())
                outputs[name] = Output(sha256=blob.sha256, size=blob.size)
        archive.unlink()
        return Result(outputs=outputs, ingredients=dict.fromkeys(outputs, packages))

    def _bootstrap(self, build: DebianBuild, archive: Path) -> None:
        # Single files need no installed system around them, only their packages unpacked;
        # the packages' own files then tell the versions, where dpkg has no record.
        variant = (
            ["--variant=essential"] if build.tree else ["--variant=extract", "--skip=cleanup/apt"]
        )
        command = [
            *("mmdebstrap", "--quiet", *variant, "--format=tar"),
            f"--architectures={self.architecture}",
            f"--include={','.join(build.packages)}",
            '--aptopt=APT::Install-Recommends "false"',
            *(f"--dpkgopt=path-exclude={pattern}" for pattern in build.exclude),
            build.suite,
            str(archive),
        ]
        done = subprocess.run(
            command,
            env=clean_environment(SOURCE_DATE_EPOCH=str(EPOCH)),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            archive.unlink(missing_ok=True)
            raise BundleError(
                "Debian's packages could not be unpacked",
                where=build.id,
                found="\n".join(done.stderr.strip().splitlines()[-10:]),
                fix="see that apt reaches its archive: apt-get update",
            )


def trim(archive: Path, file: io.RawIOBase, build: DebianBuild) -> None:
    """Copy a root file system's archive without what ``build`` removes, and with its links.

    It is the archive that is changed, never a folder: while packages are
    installed, the machine's own ``/dev`` and ``/proc`` are mounted in it.
    """
    with (
        tarfile.open(archive) as old,
        tarfile.open(fileobj=file, mode="w|", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in old:
            path = member.name.removeprefix(".")
            if any(fnmatch(path, pattern) for pattern in build.remove):
                continue
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
        for link in build.links:
            added = tarfile.TarInfo(f".{link.path}")
            added.type = tarfile.SYMTYPE
            added.mode = 0o777
            added.mtime = EPOCH
            added.linkname = link.target
            new.addfile(added)


def _installed(tar: tarfile.TarFile) -> tuple[Ingredient, ...]:
    source = tar.extractfile(_STATUS)
    found = parse_status(source.read().decode()) if source else {}
    return tuple(
        Ingredient(kind="deb", name=name, version=version)
        for name, version in sorted(found.items())
    )


def _unpacked(tar: tarfile.TarFile) -> tuple[Ingredient, ...]:
    names = (name.removeprefix(_ARCHIVES) for name in tar.getnames() if name.endswith(".deb"))
    fields = (unquote(name).split("_") for name in sorted(names))
    return tuple(Ingredient(kind="deb", name=name, version=version) for name, version, _ in fields)


def parse_status(text: str) -> dict[str, str]:
    """Version by package, from dpkg's status file."""
    found = {}
    for paragraph in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1)
            for line in paragraph.splitlines()
            if re.match(r"[A-Z]", line) and ": " in line
        )
        if "Package" in fields:
            found[fields["Package"]] = fields["Version"]
    return found


def programs_of(packages: tuple[str, ...]) -> dict[str, str]:
    """Debian package by a program that shows that it is installed."""
    shown_by = {"mmdebstrap", "gcc", "pkg-config", "npm"}
    return {package: package for package in packages if package in shown_by}


def headers_of(packages: tuple[str, ...], triplet: str) -> tuple[str, ...]:
    """Packages that show in no program and whose files are missing."""
    shown_by = {
        "libseccomp-dev": Path(f"/usr/lib/{triplet}/libseccomp.a"),
        "libc6-dev": Path(f"/usr/lib/{triplet}/libc.a"),
    }
    return tuple(
        package for package in packages if package in shown_by and not shown_by[package].exists()
    )
