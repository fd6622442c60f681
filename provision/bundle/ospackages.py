"""Debian's packages for machines that reach no mirror, with all that they depend on.

apt itself resolves, downloads and verifies, in a root of its own: against the
mirrors that this machine's apt uses for Debian, by Debian's archive keys, and
from nothing installed. So everything is there whatever a machine has already,
and however old it is.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from provision.bundle.catalog import Architecture, Selected
from provision.bundle.lock import package_index, packages_component
from provision.bundle.progress import Outcome, Progress
from provision.bundle.results import Ingredient
from provision.bundle.sources import Provided, ProvidedFile
from provision.bundle.store import Blob, BlobStore, require_space
from provision.bundle.toolchain import clean_environment, require_programs
from provision.errors import BundleError
from provision.paths import roles_path
from provision.state import declared_packages

SUITES: Mapping[str, str] = {"12": "bookworm", "13": "trixie"}
"""Debian's suites by the release that machines name in /etc/os-release."""
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
FIELDS = (
    *("Package", "Version", "Architecture", "Multi-Arch", "Essential", "Protected", "Priority"),
    *("Section", "Installed-Size", "Pre-Depends", "Depends", "Provides", "Conflicts", "Breaks"),
    *("Replaces", "Size", "SHA256"),
)
"""What apt decides by and verifies with; descriptions and the like are left out."""

_URI = re.compile(r"^'[^']+' (\S+\.deb) \d+", re.MULTILINE)
_FIELD = re.compile(r"^([A-Z][A-Za-z0-9-]*): (.*)$", re.MULTILINE)


def role_packages() -> tuple[str, ...]:
    """Every Debian package that a role may install, by the lists of the roles themselves."""
    roles = sorted(path.parent for path in roles_path().glob("*/state.yml"))
    return tuple(sorted({name for role in roles for name in declared_packages(role)}))


@dataclass(frozen=True)
class _Package:
    """A package that apt chose."""

    fields: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.fields["Package"]

    @property
    def version(self) -> str:
        return self.fields["Version"]

    @property
    def label(self) -> str:
        """What Debian's own archive calls it, without ``.deb``."""
        return f"{self.name}_{self.version}_{self.fields['Architecture']}"

    @property
    def blob(self) -> Blob:
        return Blob(self.fields["SHA256"], int(self.fields["Size"]))

    @property
    def stanza(self) -> str:
        """Its part of the index, in which files have their digest for a name."""
        lines = [f"{name}: {self.fields[name]}" for name in FIELDS if name in self.fields]
        return "\n".join([*lines, f"Filename: {self.blob.sha256}.deb", ""])


@dataclass(frozen=True)
class PackageArchive:
    """Gets packages of one release.

    Parameters
    ----------
    folder
        Where apt's root of its own is made; what an interrupted run downloaded there is used.
    """

    folder: Path
    store: BlobStore
    architecture: Architecture
    release: str

    @property
    def step(self) -> str:
        """What the progress calls this."""
        return packages_component(self.release)

    def provide(self, names: Iterable[str], progress: Progress) -> tuple[Selected, Provided]:
        """Get ``names`` and all that they depend on.

        Raises
        ------
        BundleError
            apt cannot: a name is unknown, the mirror is not reached or not signed by Debian.
        """
        begin = time.monotonic()
        progress.started(self.step)
        try:
            version, packages, missing = self._get(tuple(names), progress)
        except BaseException:
            progress.finished(self.step, "failed", time.monotonic() - begin)
            raise
        outcome: Outcome = "downloaded" if missing else "kept"
        progress.finished(self.step, outcome, time.monotonic() - begin)
        return self._selected(version), self._provided(version, packages)

    def _get(
        self, names: tuple[str, ...], progress: Progress
    ) -> tuple[str, tuple[_Package, ...], int]:
        self._lay_out()
        self._run("apt-get", "update", "--error-on=any")
        install = ("apt-get", "install", "--yes", "--no-install-recommends")
        archives = _URI.findall(self._run(*install, "--print-uris", *names))
        packages = tuple(self._packages(archives))
        by_archive = {unquote(archive).removesuffix(".deb"): archive for archive in archives}
        missing = [one for one in packages if not self.store.intact(one.blob)]
        size = sum(one.blob.size for one in missing)
        require_space(self.store.folder, 2 * size, "Debian's packages")
        progress.detail(self.step, f"{len(missing)} of {len(packages)} to download")
        folder = self.folder / "archives"
        for one in packages:
            if one not in missing:
                path = folder / by_archive[one.label]
                path.unlink(missing_ok=True)
                path.symlink_to(self.store.path(one.blob.sha256))
        if missing:
            self._run(*install, "--download-only", *names)
        for one in missing:
            found = self.store.add_file(folder / by_archive[one.label])
            if found != one.blob:
                raise BundleError(
                    "a package is not what Debian's index says",
                    where=one.label,
                    found=f"sha256:{found.sha256}",
                    wanted=one.blob.digest,
                    fix=f"rm -r {self.folder}; then the same command again",
                )
        version = self._release_version()
        shutil.rmtree(self.folder)
        return version, packages, len(missing)

    def _lay_out(self) -> None:
        for name in ("lists/partial", "archives/partial"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "status").touch()
        suite = SUITES[self.release]
        main, security = _mirrors()
        parts = [(main, suite), (main, f"{suite}-updates"), (security, f"{suite}-security")]
        lines = [f"deb [signed-by={KEYRING}] {url} {part} main\n" for url, part in parts if url]
        (self.folder / "sources.list").write_text("".join(lines), encoding="utf-8")
        # This machine's proxies and certificates hold here too; its pins and hooks do not.
        kept = [line for line in _run("apt-config", "dump").splitlines() if _is_network(line)]
        options = {
            "Dir::Etc::main": "/dev/null",
            "Dir::Etc::parts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "Dir::Etc::trusted": "/dev/null",
            "Dir::Etc::trustedparts": "/dev/null",
            "Dir::Etc::sourcelist": f"{self.folder}/sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State": str(self.folder),
            "Dir::State::status": f"{self.folder}/status",
            "Dir::State::lists": f"{self.folder}/lists",
            "Dir::Cache": str(self.folder),
            "Dir::Cache::archives": f"{self.folder}/archives",
            "APT::Architecture": self.architecture,
            "APT::Architectures": self.architecture,
            "APT::Sandbox::User": "root",
            "Acquire::Languages": "none",
        }
        text = [*kept, *(f'{name} "{value}";' for name, value in options.items()), ""]
        (self.folder / "apt.conf").write_text("\n".join(text), encoding="utf-8")

    def _packages(self, archives: Iterable[str]) -> Iterator[_Package]:
        chosen = [unquote(archive).split("_")[:2] for archive in archives]
        shown = self._run("apt-cache", "show", *(f"{name}={version}" for name, version in chosen))
        # A package that two mirrors have is shown twice.
        found = {}
        for paragraph in shown.strip().split("\n\n"):
            package = _Package(dict(_FIELD.findall(paragraph)))
            found[package.label] = package
        return iter(found[label] for label in sorted(found))

    def _release_version(self) -> str:
        """The point release, such as ``12.15``."""
        for path in self.folder.glob(f"lists/*_dists_{SUITES[self.release]}_*Release"):
            found = re.search(r"^Version: (\S+)$", path.read_text("utf-8"), re.MULTILINE)
            if found:
                return found[1]
        return self.release

    def _selected(self, version: str) -> Selected:
        return Selected(
            component=packages_component(self.release),
            version=version,
            about=f"Packages of Debian {self.release} that the roles install.",
            home="https://www.debian.org",
            license="LicenseRef-Debian",
            architecture=self.architecture,
            downloads={},
            files=(),
            images=(),
            builds=(),
            modules={},
            sha256={},
            checksums_from="",
            digests={},
        )

    def _provided(self, version: str, packages: tuple[_Package, ...]) -> Provided:
        component = packages_component(self.release)
        origin = f"debian {SUITES[self.release]}"
        index = self.store.add_bytes("\n".join(one.stanza for one in packages).encode())
        listed = ProvidedFile(
            component=component,
            version=version,
            name=package_index(self.release),
            kind="index",
            sha256=index.sha256,
            size=index.size,
            origin=origin,
        )
        files = (
            ProvidedFile(
                component=component,
                version=one.version,
                name=f"{component}/{one.label}.deb",
                kind="package",
                sha256=one.blob.sha256,
                size=one.blob.size,
                origin=origin,
                ingredients=(Ingredient(kind="deb", name=one.name, version=one.version),),
            )
            for one in packages
        )
        return Provided(files=(listed, *files))

    def _run(self, program: str, *arguments: str) -> str:
        return _run(
            program,
            "--quiet=2",
            *arguments,
            where=f"Debian {self.release}",
            APT_CONFIG=f"{self.folder}/apt.conf",
        )


def require_apt() -> None:
    """Refuse a machine that cannot get Debian's packages.

    Raises
    ------
    BundleError
        apt or Debian's keys are not there, or apt knows no mirror of Debian.
    """
    require_programs({"apt-get": "apt", "apt-cache": "apt", "apt-config": "apt"})
    if not Path(KEYRING).exists():
        raise BundleError(
            "the keys by which Debian signs its archive are not installed",
            found=f"no {KEYRING}",
            fix="apt-get install debian-archive-keyring",
        )
    _mirrors()


def _mirrors() -> tuple[str, str]:
    """Where this machine's apt gets Debian, and Debian's security updates (empty: nowhere)."""
    shown = _run(
        *("apt-get", "indextargets", "--format", "$(ORIGIN) $(CODENAME) $(REPO_URI)"),
        "Created-By: Packages",
    )
    found: dict[bool, str] = {}
    for line in shown.splitlines():
        origin, _, rest = line.partition(" ")
        codename, _, url = rest.partition(" ")
        if origin == "Debian":
            found.setdefault(codename.endswith("-security"), url)
    if False not in found:
        raise BundleError(
            "apt knows no mirror of Debian on this machine",
            found="no source of origin Debian",
            fix="name one in /etc/apt/sources.list, then: apt-get update",
        )
    return found[False], found.get(True, "")


def _is_network(line: str) -> bool:
    return line.startswith(("Acquire::http", "Acquire::ftp", "Acquire::Retries"))


def _run(*command: str, where: str = "apt", **environment: str) -> str:
    done = subprocess.run(
        command,
        env=clean_environment(LC_ALL="C.UTF-8", **environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise BundleError(
            "Debian's packages cannot be had",
            where=where,
            found="\n".join(done.stderr.strip().splitlines()[-10:]),
            fix="see that apt reaches its mirror: apt-get update",
        )
    return done.stdout
