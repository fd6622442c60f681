"""The lock: what is in a bundle, every byte of it by digest."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import ValidationError

from provision.bundle.catalog import Architecture, Digest, FileKind, Model, Sha256, SourceKind
from provision.errors import BundleError

LOCK = "bundle.lock.json"
SIGNATURE = "bundle.lock.json.sig"
PUBLIC_KEY = "bundle.pub"
SBOM = "sbom.cdx.json"
FILES_REPOSITORY = "provision/files"
"""Repository of the depot that serves every plain file."""


def packages_component(release: str) -> str:
    """Name of the component that Debian's packages for a release are."""
    return f"debian-{release}"


def package_index(release: str) -> str:
    """Name of the file that is apt's index of these packages."""
    return f"{packages_component(release)}/Packages"


class LockedFile(Model):
    """A plain file."""

    name: str
    kind: FileKind
    component: str
    version: str
    architecture: Architecture
    any_architecture: bool = False
    sha256: Sha256
    size: int
    """In bytes."""
    origin: str


class LockedImage(Model):
    """An image for one platform."""

    reference: str
    component: str
    version: str
    architecture: Architecture
    media_type: str
    digest: Digest
    """Of the manifest."""
    manifest_size: int
    size: int
    """Of manifest, configuration and layers, in bytes."""
    blobs: tuple[Sha256, ...]
    """Configuration and layers."""
    origin: str


class LockedComponent(Model):
    """A component, and the manifest that names its plain files."""

    name: str
    version: str
    license: str
    home: str
    digest: Digest | None = None
    manifest_size: int = 0


class Lock(Model):
    """Everything in a bundle."""

    format: int = 1
    name: str
    kubernetes: str
    architecture: Architecture
    source: SourceKind
    components: tuple[LockedComponent, ...]
    chosen: Mapping[str, str] | None = None
    """Version by component, of those that were asked for instead of the newest."""
    requested: tuple[str, ...] | None = None
    """Components among them that it has because it was built with them by name."""
    files: tuple[LockedFile, ...]
    images: tuple[LockedImage, ...]
    sbom: Sha256
    """SHA-256 of the bill of materials."""
    index: Sha256
    """SHA-256 of the layout's ``index.json``."""
    blobs: Mapping[Sha256, int]
    """Size in bytes of every blob of the layout, by SHA-256."""

    def encode(self) -> bytes:
        """The lock as it is written and signed."""
        document = self.model_dump(mode="json", exclude_none=True)
        return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def decode(cls, content: bytes, where: str) -> Lock:
        """Read what ``encode`` wrote.

        Raises
        ------
        BundleError
            It is something else, or of a format that is not known here.
        """
        try:
            lock = cls.model_validate_json(content)
        except ValidationError as error:
            raise BundleError(
                "this is not a bundle's lock", where=where, found=str(error.errors()[0]["msg"])
            ) from error
        if lock.format != 1:
            raise BundleError(
                "the bundle has a format that this version does not know",
                where=where,
                found=str(lock.format),
                wanted="1",
                fix="use the version of provision that built it, or build it anew",
            )
        return lock

    @property
    def size(self) -> int:
        """Of all blobs, in bytes."""
        return sum(self.blobs.values())


def repository(reference: str) -> tuple[str, str]:
    """Repository and tag under which a depot serves the image ``reference``.

    The repository begins with the upstream registry's name, since two
    registries may have a repository of the same name.
    """
    path, _, tag = reference.rpartition(":")
    return path, tag
