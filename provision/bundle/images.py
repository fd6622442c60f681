"""Copies published images into the blob store, one platform of each, byte for byte."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from provision.bundle.catalog import Architecture
from provision.bundle.results import Output, Result, Results, recipe_key
from provision.bundle.skopeo import Address, Skopeo
from provision.bundle.store import Blob, BlobStore, hash_file
from provision.errors import BundleError

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
SINGLE = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
SEVERAL = frozenset({OCI_INDEX, DOCKER_INDEX})
BASE_VARIANTS = {"amd64": ("", "v1"), "arm64": ("", "v8")}
"""Variants that every machine of the architecture runs."""


@dataclass(frozen=True)
class PlatformImage:
    """One platform's image, found but not copied yet."""

    address: Address
    manifest: bytes
    media_type: str

    @property
    def blobs(self) -> dict[str, int]:
        """Size by SHA-256 of the configuration and every layer."""
        document = json.loads(self.manifest)
        parts = [document["config"], *document["layers"]]
        return {part["digest"].removeprefix("sha256:"): int(part["size"]) for part in parts}


@dataclass(frozen=True)
class StoredImage:
    """One platform's image, whole in the store."""

    manifest: Blob
    media_type: str
    blobs: dict[str, int]


class Images:
    """Brings images into ``store``.

    Parameters
    ----------
    store
        Where manifests, configurations and layers go.
    results
        What earlier runs completed.
    work
        Folder for copies under way.
    skopeo
        Reads from registries.
    """

    def __init__(self, store: BlobStore, results: Results, work: Path, skopeo: Skopeo) -> None:
        self.store = store
        self.results = results
        self.work = work
        self.skopeo = skopeo

    def clean(self) -> None:
        """Drop copies that a killed run left half-done; no other run may be under way."""
        if self.work.exists():
            shutil.rmtree(self.work)

    def held(self, digest: str, architecture: Architecture) -> StoredImage | None:
        """The image published as ``digest``, if an earlier run brought all of it."""
        result = self.results.read(_key(digest, architecture))
        if result is None:
            return None
        manifest = result.outputs["manifest"].blob
        document = json.loads(self.store.path(manifest.sha256).read_bytes())
        blobs = {
            output.sha256: output.size
            for name, output in result.outputs.items()
            if name != "manifest"
        }
        return StoredImage(manifest, _media_type(document), blobs)

    def find(self, address: Address, architecture: Architecture) -> PlatformImage:
        """The image for ``architecture`` at ``address``, which may hold several platforms.

        Raises
        ------
        BundleError
            It is not there, its bytes are not what its digest says, or it is
            not published for ``architecture``.
        """
        manifest = self._manifest(address)
        document = json.loads(manifest)
        media_type = _media_type(document)
        if media_type in SINGLE:
            return PlatformImage(address, manifest, media_type)
        if media_type not in SEVERAL:
            raise BundleError(
                "the image has a manifest of an unknown kind",
                where=str(address),
                found=media_type or "no media type",
                wanted=", ".join(sorted(SINGLE | SEVERAL)),
            )
        chosen = _choose(document, architecture, address)
        instance = Address(address.repository, chosen["digest"], encrypted=address.encrypted)
        manifest = self._manifest(instance)
        return PlatformImage(instance, manifest, _media_type(json.loads(manifest)))

    def copy(
        self,
        image: PlatformImage,
        digest: str,
        architecture: Architecture,
        arrived: Callable[[int], None],
    ) -> StoredImage:
        """Copy ``image``, found under the published ``digest``, into the store.

        Raises
        ------
        OperatorError
            As :meth:`Skopeo.copy`, or the image is for another architecture
            than its index says.
        """
        blobs = image.blobs
        self.work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.work, prefix="image-") as name:
            folder = Path(name) / "image"
            self.skopeo.copy(image.address, folder, arrived)
            _check_architecture(folder, image, architecture)
            for sha256, size in blobs.items():
                self._keep(folder / sha256, Blob(sha256, size), image.address)
        manifest = self.store.add_bytes(image.manifest)
        outputs = {sha256: Output(sha256=sha256, size=size) for sha256, size in blobs.items()}
        outputs["manifest"] = Output(sha256=manifest.sha256, size=manifest.size)
        self.results.write(_key(digest, architecture), Result(outputs=outputs))
        return StoredImage(manifest, image.media_type, blobs)

    def _manifest(self, address: Address) -> bytes:
        manifest = self.skopeo.manifest(address)
        found = "sha256:" + hashlib.sha256(manifest).hexdigest()
        if found != address.digest:
            raise BundleError(
                "the registry serves another manifest than was published",
                where=str(address),
                found=found,
                wanted=address.digest,
                fix="name another registry by --mirror",
            )
        return manifest

    def _keep(self, file: Path, blob: Blob, address: Address) -> None:
        found = hash_file(file)
        if found != blob:
            raise BundleError(
                "a layer of the image is not what its manifest says",
                where=str(address),
                found=f"{found.digest} ({found.size} bytes)",
                wanted=f"{blob.digest} ({blob.size} bytes)",
                fix="run the same command again",
            )
        file.chmod(0o444)
        file.replace(self.store.path(blob.sha256))


def _key(digest: str, architecture: Architecture) -> str:
    return recipe_key(kind="upstream-image", digest=digest, architecture=architecture)


def _media_type(document: dict[str, Any]) -> str:
    """What a manifest is; OCI's own may leave it out."""
    named = str(document.get("mediaType", ""))
    if named:
        return named
    if "manifests" in document:
        return OCI_INDEX
    return OCI_MANIFEST if "config" in document else ""


def _choose(index: dict[str, Any], architecture: Architecture, address: Address) -> dict[str, Any]:
    platforms = [(one.get("platform", {}), one) for one in index["manifests"]]
    for platform, one in platforms:
        fits = (platform.get("os"), platform.get("architecture")) == ("linux", architecture)
        if fits and platform.get("variant", "") in BASE_VARIANTS[architecture]:
            return dict(one)
    there = sorted(f"{one.get('os')}/{one.get('architecture')}" for one, _ in platforms)
    raise BundleError(
        "the image is not published for this architecture",
        where=str(address),
        found=", ".join(dict.fromkeys(there)),
        wanted=f"linux/{architecture}",
    )


def _check_architecture(folder: Path, image: PlatformImage, architecture: Architecture) -> None:
    config = json.loads(image.manifest)["config"]["digest"].removeprefix("sha256:")
    found = str(json.loads((folder / config).read_bytes()).get("architecture", ""))
    if found != architecture:
        raise BundleError(
            "the image is for another architecture",
            where=str(image.address),
            found=found or "none named",
            wanted=architecture,
        )
