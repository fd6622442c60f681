"""Where a bundle's content comes from: published files, or a build from source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from provision.bundle.catalog import FileKind, Model, Selected, Selection, Sha256
from provision.bundle.oci import Descriptor
from provision.bundle.progress import Progress
from provision.bundle.results import Ingredient
from provision.bundle.store import Blob

SourceKind = Literal["source", "upstream"]


class ProvidedFile(Model):
    """A plain file, its bytes in the blob store."""

    component: str
    version: str
    name: str
    kind: FileKind
    any_architecture: bool = False
    sha256: Sha256
    size: int
    """In bytes."""
    origin: str
    """The URL, or the module and version, that it comes from."""
    ingredients: tuple[Ingredient, ...] = ()

    @property
    def blob(self) -> Blob:
        """Its bytes."""
        return Blob(self.sha256, self.size)


class ProvidedImage(Model):
    """An image for one platform, manifest and everything below it in the blob store."""

    component: str
    version: str
    reference: str
    """Upstream name, ``registry/repository:tag``."""
    manifest_sha256: Sha256
    manifest_size: int
    media_type: str
    """Of the manifest: OCI's, or Docker's schema 2."""
    blobs: Mapping[Sha256, int]
    """Size by SHA-256 of the configuration and every layer."""
    origin: str
    ingredients: tuple[Ingredient, ...] = ()

    def descriptor(self, architecture: str) -> Descriptor:
        """The manifest."""
        return Descriptor(
            self.media_type,
            Blob(self.manifest_sha256, self.manifest_size),
            architecture=architecture,
        )


class Provided(Model):
    """Everything one source made of one component."""

    files: tuple[ProvidedFile, ...] = ()
    images: tuple[ProvidedImage, ...] = ()


class Source(Protocol):
    """A way to fill a bundle."""

    @property
    def kind(self) -> SourceKind:
        """Its name on the command line."""

    def require(self, selection: Selection) -> None:
        """Refuse early what cannot be completed: programs, disk, checksums.

        Raises
        ------
        OperatorError
            Something is missing; the error names it and how to get it.
        """

    def provide(self, selection: Selection, progress: Progress) -> Mapping[str, Provided]:
        """Make or fetch everything of ``selection``; the result by component.

        What an interrupted run finished is used again. The bytes are in the
        blob store when this returns.

        Raises
        ------
        OperatorError
            Something cannot be had. What was finished is kept.
        """


def published(component: Selected) -> str:
    """Where the component is at home, for messages."""
    return f"{component.component} {component.version} ({component.home})"
