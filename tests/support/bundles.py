"""A small bundle with real blobs, a real lock and a real signature."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from provision.bundle.archive import Member
from provision.bundle.bundle import Bundle
from provision.bundle.catalog import (
    Architecture,
    FileKind,
    ImageBuild,
    Selected,
    Selection,
)
from provision.bundle.layout import write_bundle
from provision.bundle.lock import PUBLIC_KEY, package_index, packages_component
from provision.bundle.oci import add_image, add_layer
from provision.bundle.results import Ingredient
from provision.bundle.signing import KeyRing
from provision.bundle.sources import Provided, ProvidedFile, ProvidedImage
from provision.bundle.store import BlobStore

INGREDIENT = Ingredient(kind="go", name="example.org/library", version="v1.2.3", checksum="h1:x=")


@dataclass(frozen=True)
class SmallBundle:
    """A bundle for tests, and what it was made of."""

    folder: Path
    keys: KeyRing
    store: BlobStore
    selection: Selection
    provided: Mapping[str, Provided]

    def open(self) -> Bundle:
        """Open it by its own key."""
        return Bundle.open(self.folder, [self.folder / PUBLIC_KEY])


def selected(component: str, version: str, architecture: Architecture = "amd64") -> Selected:
    """A component without recipes."""
    return Selected(
        component=component,
        version=version,
        about="For tests.",
        home="https://example.org",
        license="MIT",
        architecture=architecture,
        downloads={},
        files=(),
        images=(),
        builds=(),
        modules={},
        sha256={},
        checksums_from="",
        digests={},
    )


def provided_file(store: BlobStore, component: str, name: str, content: bytes) -> ProvidedFile:
    """A plain file with ``content``."""
    blob = store.add_bytes(content)
    return ProvidedFile(
        component=component,
        version="1.0.0",
        name=name,
        kind="binary",
        sha256=blob.sha256,
        size=blob.size,
        origin="example.org/module@v1.0.0",
        ingredients=(INGREDIENT,),
    )


def provided_image(
    store: BlobStore, component: str, reference: str, content: bytes
) -> ProvidedImage:
    """An image with one file, ``/file``."""
    layer = add_layer(store, (Member("file", content=content),))
    manifest = add_image(store, ImageBuild(entrypoint=("/file",)), "amd64", (layer,)).blob
    config = _config_of(store, manifest.sha256)
    return ProvidedImage(
        component=component,
        version="1.0.0",
        reference=reference,
        manifest_sha256=manifest.sha256,
        manifest_size=manifest.size,
        media_type="application/vnd.oci.image.manifest.v1+json",
        blobs={config[0]: config[1], layer.blob.sha256: layer.blob.size},
        origin="example.org/module@v1.0.0",
    )


def provided_packages(store: BlobStore, release: str, names: Sequence[str]) -> Provided:
    """Debian packages with their index."""
    component = packages_component(release)

    def file(name: str, kind: FileKind, content: str) -> ProvidedFile:
        plain = provided_file(store, component, name, content.encode())
        return plain.model_copy(update={"kind": kind})

    return Provided(
        files=(
            file(package_index(release), "index", f"the index of {release}"),
            *(file(f"{component}/{name}_1_amd64.deb", "package", name) for name in names),
        )
    )


def small_bundle(
    folder: Path,
    name: str = "1.36.3-source-amd64",
    packages: Mapping[str, Sequence[str]] | None = None,
    chosen: Mapping[str, str] | None = None,
    requested: Sequence[str] = (),
) -> SmallBundle:
    """Write a bundle with two components, two files and two images below ``folder``.

    ``packages`` are names of Debian packages by release that it holds besides; ``chosen`` are
    versions that it says were asked for, ``requested`` components that it holds on request.
    """
    store = BlobStore(folder / "blobs")
    keys = KeyRing(folder / "keys")
    selection = Selection(
        kubernetes="1.36.3",
        architecture="amd64",
        components=(
            selected("kubernetes", "1.36.3"),
            selected("pause", "1.0.0"),
            *(selected(name, "1.0.0") for name in requested),
        ),
        requested=tuple(requested),
        chosen=chosen or {},
    )
    provided = {
        "kubernetes": Provided(
            files=(
                provided_file(store, "kubernetes", "kubeadm", b"the kubeadm"),
                provided_file(store, "kubernetes", "kubelet", b"the kubelet"),
            ),
            images=(
                provided_image(store, "kubernetes", "registry.example/api:v1", b"the apiserver"),
            ),
        ),
        "pause": Provided(
            images=(provided_image(store, "pause", "registry.example/deep/pause:1", b"pause"),)
        ),
        **{name: Provided() for name in requested},
    }
    for release, names in (packages or {}).items():
        component = packages_component(release)
        selection = selection.with_component(selected(component, release))
        provided[component] = provided_packages(store, release, names)
    path = folder / "bundles" / name
    write_bundle(path, selection, "source", provided, store, keys)
    return SmallBundle(path, keys, store, selection, provided)


def _config_of(store: BlobStore, manifest: str) -> tuple[str, int]:
    config = json.loads(store.path(manifest).read_bytes())["config"]
    return config["digest"].removeprefix("sha256:"), config["size"]
