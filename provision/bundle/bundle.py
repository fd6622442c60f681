"""A finished bundle: opened only when its signature and its lock are right."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

from provision.bundle.depot import DepotFile, depot_files
from provision.bundle.lock import (
    LOCK,
    PUBLIC_KEY,
    SBOM,
    SIGNATURE,
    Lock,
    LockedFile,
    LockedImage,
    packages_component,
)
from provision.bundle.signing import KeyRing, PublicKey, signer
from provision.bundle.store import hash_file
from provision.errors import BundleError

_REBUILD = "provision bundle build"


@dataclass(frozen=True)
class Bundle:
    """Everything a site installs.

    Opening reads the lock and looks at the sizes of the files; it does not
    read gigabytes. ``verify`` does. Machines check what they fetch, each
    file by its digest.
    """

    folder: Path
    lock: Lock
    key: PublicKey
    """The trusted key that signed it."""

    @classmethod
    def open(cls, path: Path, trusted_keys: Iterable[Path] = ()) -> Bundle:
        """Open the bundle at ``path``.

        Parameters
        ----------
        trusted_keys
            Files with public keys, one of which must have signed it. Without
            any: this controller's own key and those pinned by ``provision
            bundle verify --trust``.

        Raises
        ------
        BundleError
            It is missing, unsigned, signed by another key, changed after it
            was signed, or not complete.
        """
        content = _read(path / LOCK, path)
        signature = _read_signature(path)
        files = tuple(trusted_keys)
        keys = (
            tuple(PublicKey.read(file) for file in files) if files else KeyRing.default().trusted()
        )
        key = signer(content, signature, keys)
        if key is None:
            raise _not_trusted(path, content, signature, keys, named=bool(files))
        bundle = cls(path, Lock.decode(content, str(path / LOCK)), key)
        bundle._complete()
        return bundle

    @classmethod
    def find(
        cls,
        folder: Path,
        kubernetes: str,
        architecture: str | None = None,
        *,
        os_packages: bool = False,
        versions: Mapping[str, str] = MappingProxyType({}),
        requested: Collection[str] = (),
    ) -> Path:
        """The newest bundle in ``folder`` for a Kubernetes version; its folder.

        One that was made with versions of somebody's choice comes after those that were not.

        Parameters
        ----------
        architecture
            Only bundles for it; None: for any.
        versions
            Version by component; only bundles that have these.
        os_packages
            Whether those that hold Debian packages, or those that do not, come first.
        requested
            Components on request: a bundle that has all of them comes before all others, and
            one that has these alone before one with more.

        Raises
        ------
        BundleError
            There is none.
        """
        wanted = set(requested)
        found = {
            path.parent: claims
            for path in folder.glob(f"[!.]*/{LOCK}")
            if (claims := _claims(path)).get("kubernetes") == kubernetes
            and architecture in (None, claims.get("architecture"))
            and versions.items() <= _claims_versions(claims).items()
        }
        if not found:
            others = sorted(path.parent.name for path in folder.glob(f"[!.]*/{LOCK}"))
            asked = [f"{name}={version}" for name, version in sorted(versions.items())]
            chosen = f" --architecture {architecture}" if architecture and others else ""
            more = "".join(f" --with {name}" for name in sorted(wanted))
            raise BundleError(
                " and ".join([f"there is no bundle for Kubernetes {kubernetes}", *asked])
                + (f" on {architecture}" if chosen else ""),
                where=str(folder),
                found=", ".join(others) or "no bundle at all",
                fix=" --component ".join(
                    [f"provision bundle build --kubernetes {kubernetes}{chosen}{more}", *asked]
                ),
            )

        def worth(path: Path) -> tuple[bool, bool, bool, bool, int]:
            has = set(found[path].get("requested") or ())
            return (
                wanted <= has,
                _claims_packages(found[path]) == os_packages,
                not found[path].get("chosen"),
                wanted == has,
                (path / LOCK).stat().st_mtime_ns,
            )

        return max(found, key=worth)

    def require_versions(self, versions: Mapping[str, str]) -> None:
        """Refuse a bundle of other versions than the site's.

        Raises
        ------
        BundleError
            A component has another version, or is not in it.
        """
        wrong = [name for name in versions if self.versions.get(name) != versions[name]]
        if wrong:
            raise BundleError(
                "the bundle does not have the versions that the site names in bundle.versions",
                where=str(self.folder),
                found=", ".join(f"{name} {self.versions.get(name, 'missing')}" for name in wrong),
                wanted=", ".join(f"{name} {versions[name]}" for name in wrong),
                fix=" --component ".join(
                    [_REBUILD, *(f"{name}={version}" for name, version in versions.items())]
                ),
            )

    @property
    def name(self) -> str:
        """Its name, such as ``1.36.3-source-amd64``."""
        return self.lock.name

    @property
    def digest(self) -> str:
        """Digest of the lock, and so of everything in the bundle."""
        return f"sha256:{hashlib.sha256(self.lock.encode()).hexdigest()}"

    @property
    def kubernetes(self) -> str:
        """Version of Kubernetes in it."""
        return self.lock.kubernetes

    @property
    def architecture(self) -> str:
        """Architecture of everything in it."""
        return self.lock.architecture

    @cached_property
    def versions(self) -> Mapping[str, str]:
        """Version by component."""
        return {component.name: component.version for component in self.lock.components}

    @cached_property
    def images(self) -> Mapping[str, str]:
        """Digest by image reference."""
        return {image.reference: image.digest for image in self.lock.images}

    @cached_property
    def os_packages(self) -> Mapping[str, frozenset[str]]:
        """Names of the Debian packages in it, by release."""
        found: dict[str, set[str]] = {}
        for file in self.lock.files:
            if file.kind == "package":
                component, _, name = file.name.partition("/")
                release = component.removeprefix(packages_component(""))
                found.setdefault(release, set()).add(name.partition("_")[0])
        return {release: frozenset(names) for release, names in found.items()}

    @cached_property
    def _files(self) -> Mapping[str, LockedFile]:
        return {file.name: file for file in self.lock.files}

    def file(self, name: str, architecture: str) -> LockedFile:
        """The plain file called ``name``.

        Raises
        ------
        BundleError
            The bundle has none, or is for another architecture.
        """
        found = self._files.get(name)
        if found is None:
            raise BundleError(
                "the bundle has no such file",
                where=str(self.folder),
                found=name,
                wanted=", ".join(file.name for file in self.lock.files if file.kind != "package"),
                fix=_REBUILD,
            )
        if architecture != self.architecture and not found.any_architecture:
            raise BundleError(
                "the bundle is for machines of another architecture",
                where=str(self.folder),
                found=self.architecture,
                wanted=architecture,
                fix=f"{_REBUILD} --architecture {architecture}",
            )
        return found

    def sha256(self, name: str, architecture: str) -> str:
        """SHA-256 of the plain file ``name``, in hexadecimal.

        Raises
        ------
        BundleError
            As ``file``.
        """
        return self.file(name, architecture).sha256

    def path(self, name: str, architecture: str) -> Path:
        """Where the plain file ``name`` lies, its bytes verified.

        Raises
        ------
        BundleError
            As ``file``; or its bytes are not what the lock says.
        """
        locked = self.file(name, architecture)
        path = self.blob(locked.sha256)
        if hash_file(path).sha256 != locked.sha256:
            raise _damaged(path)
        return path

    def image(self, reference: str) -> LockedImage:
        """The image called ``reference``.

        Raises
        ------
        BundleError
            The bundle has none.
        """
        for image in self.lock.images:
            if image.reference == reference:
                return image
        raise BundleError(
            "the bundle has no such image",
            where=str(self.folder),
            found=reference,
            wanted=", ".join(self.images),
        )

    def blob(self, sha256: str) -> Path:
        """Where a blob lies."""
        return self.folder / "blobs" / "sha256" / sha256

    def depot_tree(self) -> tuple[DepotFile, ...]:
        """Everything that a depot's storage must hold to serve this bundle."""
        return depot_files(self.lock)

    def require(self, components: Collection[str]) -> None:
        """Refuse to go on without ``components``, which are in a bundle on request only.

        Raises
        ------
        BundleError
            Some of them are missing; the error gives the command that makes a bundle with them.
        """
        missing = sorted(set(components) - set(self.versions))
        if missing:
            releases = sorted(self.os_packages)
            command = [
                f"{_REBUILD} --kubernetes {self.kubernetes}",
                *(f"--os-packages {release}" for release in releases),
                *(f"--with {name}" for name in sorted({*components, *(self.lock.requested or ())})),
            ]
            raise BundleError(
                f"the bundle has no {', '.join(missing)}, which the site file names",
                where=str(self.folder),
                why="it takes long to build, so a bundle has it only on request",
                fix=" ".join(command),
            )

    def verify(self) -> None:
        """Read every byte and compare it with the lock.

        Raises
        ------
        BundleError
            Something differs; the error names every such file.
        """
        wrong = [
            sha256 for sha256 in self.lock.blobs if hash_file(self.blob(sha256)).sha256 != sha256
        ]
        for name, wanted in ((SBOM, self.lock.sbom), ("index.json", self.lock.index)):
            if hash_file(self.folder / name).sha256 != wanted:
                wrong.append(name)
        if wrong:
            raise BundleError(
                "the bundle was changed after it was signed",
                where=str(self.folder),
                found=", ".join(self._describe(one) for one in wrong),
                why="a machine that got these bytes would refuse them",
                fix=_REBUILD,
            )
        self._no_strangers()

    def _complete(self) -> None:
        """Every file of the lock is there with its size."""
        folder = self.folder / "blobs" / "sha256"
        for sha256, size in self.lock.blobs.items():
            try:
                found = (folder / sha256).stat().st_size
            except FileNotFoundError as error:
                raise BundleError(
                    "a blob of the bundle is missing",
                    where=str(folder / sha256),
                    found=self._describe(sha256),
                    fix=_REBUILD,
                ) from error
            if found != size:
                raise _damaged(folder / sha256)
        for name in (SBOM, "index.json", "oci-layout"):
            if not (self.folder / name).is_file():
                raise BundleError(
                    "a file of the bundle is missing", where=str(self.folder / name), fix=_REBUILD
                )

    def _no_strangers(self) -> None:
        folder = self.folder / "blobs" / "sha256"
        strange = sorted({path.name for path in folder.iterdir()} - self.lock.blobs.keys())
        if strange:
            raise BundleError(
                "the bundle holds blobs that its lock does not name",
                where=str(folder),
                found=", ".join(strange),
                fix=f"remove them, or build it anew: {_REBUILD}",
            )

    def _describe(self, sha256: str) -> str:
        """What a blob is, for people."""
        for file in self.lock.files:
            if file.sha256 == sha256:
                return f"file {file.name} (sha256:{sha256})"
        for image in self.lock.images:
            if sha256 in (*image.blobs, image.digest.removeprefix("sha256:")):
                return f"image {image.reference} (sha256:{sha256})"
        return sha256


def _read(file: Path, folder: Path) -> bytes:
    try:
        return file.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(
            "there is no bundle here",
            where=str(folder),
            found=f"no {file.name}" if folder.is_dir() else "no such folder",
            fix=f"{_REBUILD}, or name another folder in the site's bundle.path",
        ) from error
    except OSError as error:
        raise BundleError(
            "the bundle cannot be read", where=str(file), found=error.strerror or str(error)
        ) from error


def _read_signature(folder: Path) -> bytes:
    try:
        return (folder / SIGNATURE).read_bytes()
    except OSError as error:
        raise BundleError(
            "the bundle is not signed",
            where=str(folder / SIGNATURE),
            found=error.strerror or str(error),
            why="an unsigned bundle may hold anything",
            fix=f"get a signed one, or build it: {_REBUILD}",
        ) from error


def _not_trusted(
    folder: Path,
    content: bytes,
    signature: bytes,
    keys: Iterable[PublicKey],
    *,
    named: bool,
) -> BundleError:
    """Why no trusted key made the signature: another key did, or nothing fits.

    ``named`` says that the keys to believe were given, so that none that is pinned counts.
    """
    trusted = ", ".join(key.fingerprint for key in keys) or "no key is trusted yet"
    beside = folder / PUBLIC_KEY
    if beside.is_file():
        own = PublicKey.read(beside)
        if own.signed(content, signature):
            trust = (
                f"name its key in bundle.trusted_keys: {beside}"
                if named
                else f"provision bundle verify {folder} --trust"
            )
            return BundleError(
                "the bundle is signed by a key that is not trusted here",
                where=str(folder),
                found=own.fingerprint,
                wanted=trusted,
                why="anyone can sign with a key of their own",
                fix=f"compare the fingerprint with the one its maker tells you, then: {trust}",
            )
    return BundleError(
        "the bundle was changed after it was signed, or its signature is broken",
        where=str(folder / LOCK),
        found=f"sha256 {hashlib.sha256(content).hexdigest()}",
        wanted=f"a signature by {trusted}",
        fix=f"get it again from where it came, or build it: {_REBUILD}",
    )


def _damaged(path: Path) -> BundleError:
    return BundleError(
        "a blob of the bundle is damaged",
        where=str(path),
        wanted=f"sha256:{path.name}",
        fix=_REBUILD,
    )


def _claims(lock: Path) -> Mapping[str, Any]:
    """What a lock says before it is verified; only to choose between folders."""
    try:
        document = json.loads(lock.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _claims_versions(claims: Mapping[str, Any]) -> Mapping[str, str]:
    components = claims.get("components", ())
    return {
        str(one.get("name")): str(one.get("version")) for one in components if isinstance(one, dict)
    }


def _claims_packages(claims: Mapping[str, Any]) -> bool:
    files = claims.get("files", ())
    return any(isinstance(file, dict) and file.get("kind") == "package" for file in files)
