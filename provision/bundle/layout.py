"""Writes a bundle's folder: an OCI image layout with its lock, its bill and its signature."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from provision.bundle.catalog import Selection, SourceKind
from provision.bundle.lock import (
    FILES_REPOSITORY,
    LOCK,
    PUBLIC_KEY,
    SBOM,
    SIGNATURE,
    Lock,
    LockedComponent,
    LockedFile,
    LockedImage,
)
from provision.bundle.oci import FILE, INDEX, Descriptor, add_artifact, encode
from provision.bundle.sbom import bill_of_materials
from provision.bundle.signing import KeyRing
from provision.bundle.sources import Provided
from provision.bundle.store import Blob, BlobStore, hash_file, write_atomically

_FROM_HERE, _RENAME_EXCHANGE = -100, 2
"""AT_FDCWD of <fcntl.h> and RENAME_EXCHANGE of <linux/fs.h>; Python has no renameat2."""
_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"


def write_bundle(
    folder: Path,
    selection: Selection,
    source: SourceKind,
    provided: Mapping[str, Provided],
    store: BlobStore,
    keys: KeyRing,
) -> Lock:
    """Write the bundle into ``folder``, replacing what is there at the very end.

    Blobs are linked from the store, not copied, where the file system can.

    Returns
    -------
    Lock
        What is in it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".partial-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    blobs = partial / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    components, descriptors, held = _components(selection, provided, store)
    files = _files(selection, provided)
    images = _images(selection, provided)
    for made in provided.values():
        for image in made.images:
            name = {"org.opencontainers.image.ref.name": image.reference}
            manifest = image.descriptor(selection.architecture)
            descriptors.append(
                Descriptor(manifest.media_type, manifest.blob, name, manifest.architecture)
            )
            held[image.manifest_sha256] = image.manifest_size
            held.update(image.blobs)
    held.update({file.sha256: file.size for file in files})
    for sha256 in held:
        _link(store.path(sha256), blobs / sha256)

    index = encode(_index(descriptors))
    bill = bill_of_materials(selection, provided)
    write_atomically(partial / "oci-layout", encode({"imageLayoutVersion": "1.0.0"}))
    write_atomically(partial / "index.json", index)
    write_atomically(partial / SBOM, bill)
    lock = Lock(
        name=folder.name,
        kubernetes=selection.kubernetes,
        architecture=selection.architecture,
        source=source,
        components=components,
        chosen=selection.chosen or None,
        requested=selection.requested or None,
        files=files,
        images=images,
        sbom=hash_file(partial / SBOM).sha256,
        index=hash_file(partial / "index.json").sha256,
        blobs=dict(sorted(held.items())),
    )
    content = lock.encode()
    signature, key = keys.sign(content)
    write_atomically(partial / LOCK, content)
    write_atomically(partial / SIGNATURE, signature)
    write_atomically(partial / PUBLIC_KEY, key.pem)
    _replace(folder, partial)
    return lock


def _components(
    selection: Selection, provided: Mapping[str, Provided], store: BlobStore
) -> tuple[tuple[LockedComponent, ...], list[Descriptor], dict[str, int]]:
    """Components, the manifests of their plain files, and these manifests' blobs."""
    components = []
    descriptors = []
    held: dict[str, int] = {}
    for chosen in selection.components:
        files = provided[chosen.component].files
        locked = LockedComponent(
            name=chosen.component, version=chosen.version, license=chosen.license, home=chosen.home
        )
        if files:
            reference = f"{FILES_REPOSITORY}:{chosen.component}-{chosen.version}"
            manifest = add_artifact(
                store,
                (
                    (file.name, file.blob, _CHART if file.kind == "chart" else FILE)
                    for file in files
                ),
                {"org.opencontainers.image.version": chosen.version},
            )
            descriptors.append(
                Descriptor(
                    manifest.media_type,
                    manifest.blob,
                    {"org.opencontainers.image.ref.name": reference},
                    artifact_type=manifest.artifact_type,
                )
            )
            empty = store.add_bytes(b"{}")
            held[empty.sha256] = empty.size
            held[manifest.blob.sha256] = manifest.blob.size
            locked = locked.model_copy(
                update={"digest": manifest.blob.digest, "manifest_size": manifest.blob.size}
            )
        components.append(locked)
    return tuple(components), descriptors, held


def _files(selection: Selection, provided: Mapping[str, Provided]) -> tuple[LockedFile, ...]:
    return tuple(
        LockedFile(
            name=file.name,
            kind=file.kind,
            component=file.component,
            version=file.version,
            architecture=selection.architecture,
            any_architecture=file.any_architecture,
            sha256=file.sha256,
            size=file.size,
            origin=file.origin,
        )
        for made in provided.values()
        for file in made.files
    )


def _images(selection: Selection, provided: Mapping[str, Provided]) -> tuple[LockedImage, ...]:
    return tuple(
        LockedImage(
            reference=image.reference,
            component=image.component,
            version=image.version,
            architecture=selection.architecture,
            media_type=image.media_type,
            digest=Blob(image.manifest_sha256, 0).digest,
            manifest_size=image.manifest_size,
            size=image.manifest_size + sum(image.blobs.values()),
            blobs=tuple(image.blobs),
            origin=image.origin,
        )
        for made in provided.values()
        for image in made.images
    )


def _index(descriptors: list[Descriptor]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [descriptor.as_json() for descriptor in descriptors],
    }


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        shutil.copyfile(source, target)


def bring_back(folder: Path) -> None:
    """Put back the bundle that a build had moved aside when it ended between two steps."""
    old = _aside(folder)
    if old.exists() and not folder.exists():
        old.rename(folder)


def _replace(folder: Path, partial: Path) -> None:
    """Put ``partial`` where ``folder`` is; what was there goes."""
    if folder.exists() and exchange(folder, partial):
        shutil.rmtree(partial, ignore_errors=True)
        return
    old = _aside(folder)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".old-{folder.name}")


def exchange(one: Path, other: Path) -> bool:
    """Swap two folders' names in one step; False where the file system or the C library cannot."""
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return False
    names = (_FROM_HERE, os.fsencode(one), _FROM_HERE, os.fsencode(other))
    return bool(swap(*names, _RENAME_EXCHANGE) == 0)
