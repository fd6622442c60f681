"""A bundle as the files of a registry's storage.

A depot runs the distribution registry read-only; nothing is ever pushed to
it. Its content is laid out on its disk instead, the way the registry's
``filesystem`` driver keeps it (``docker/registry/v2`` of distribution 3).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from provision.bundle.lock import FILES_REPOSITORY, Lock, repository

ROOT = "docker/registry/v2"


@dataclass(frozen=True)
class DepotFile:
    """One file of a registry's storage, its content a blob or a few bytes."""

    path: str
    """Below the registry's root folder."""
    sha256: str = ""
    """The bundle's blob that is its content; empty when ``content`` is."""
    size: int = 0
    """In bytes."""
    content: bytes = b""


def depot_files(lock: Lock) -> tuple[DepotFile, ...]:
    """Everything that a depot's storage must hold to serve a bundle, by path.

    Nothing else belongs into the storage.
    """
    files = {one.path: one for one in _files(lock)}
    return tuple(files[path] for path in sorted(files))


def _files(lock: Lock) -> Iterator[DepotFile]:
    for sha256, size in lock.blobs.items():
        path = f"{ROOT}/blobs/sha256/{sha256[:2]}/{sha256}/data"
        yield DepotFile(path, sha256=sha256, size=size)
    for image in lock.images:
        name, tag = repository(image.reference)
        yield from _manifest(name, image.digest, tag)
        for sha256 in image.blobs:
            yield _layer(name, sha256)
    for component in lock.components:
        if component.digest is not None:
            tag = f"{component.name}-{component.version}"
            yield from _manifest(FILES_REPOSITORY, component.digest, tag)
    for file in lock.files:
        yield _layer(FILES_REPOSITORY, file.sha256)
    yield _layer(FILES_REPOSITORY, EMPTY_SHA256)


EMPTY_SHA256 = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
"""SHA-256 of ``{}``, the configuration of every manifest of plain files."""


def _layer(name: str, sha256: str) -> DepotFile:
    return _link(f"{ROOT}/repositories/{name}/_layers/sha256/{sha256}/link", f"sha256:{sha256}")


def _manifest(name: str, digest: str, tag: str) -> Iterator[DepotFile]:
    sha256 = digest.removeprefix("sha256:")
    folder = f"{ROOT}/repositories/{name}/_manifests"
    yield _link(f"{folder}/revisions/sha256/{sha256}/link", digest)
    yield _link(f"{folder}/tags/{tag}/current/link", digest)
    yield _link(f"{folder}/tags/{tag}/index/sha256/{sha256}/link", digest)


def _link(path: str, digest: str) -> DepotFile:
    content = digest.encode()
    return DepotFile(path, size=len(content), content=content)
