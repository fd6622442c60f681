"""A bundle of a few blobs for a depot, and what the reader answers about a depot."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from provision.adapters import reader
from provision.depot_content import MODE, STAMP, content_query
from provision.depot_tree import STORAGE, DepotTree, blob_path
from provision.phase import StoredFile


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Stored:
    """One file of a depot's storage."""

    path: str
    sha256: str = ""
    size: int = 0
    content: bytes = b""


@dataclass
class DepotBundle:
    """A bundle with the blobs ``contents``, which lie below ``folder``."""

    folder: Path
    contents: Sequence[bytes]
    digest: str = "sha256:" + "a" * 64
    versions: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        for content in self.contents:
            self.blob(sha256(content)).write_bytes(content)

    def blob(self, sha256: str) -> Path:
        return self.folder / sha256

    def depot_tree(self) -> Sequence[StoredFile]:
        files = []
        for content in self.contents:
            name = sha256(content)
            link = f"{STORAGE}/repositories/registry.example/tool/_layers/sha256/{name}/link"
            files.append(Stored(blob_path(name), name, len(content)))
            files.append(Stored(link, content=f"sha256:{name}".encode()))
        return files

    def sha256(self, name: str, architecture: str) -> str:
        return sha256(f"{name} {architecture}".encode())

    def path(self, name: str, architecture: str) -> Path:
        raise FileNotFoundError(name, architecture)


def complete(tree: DepotTree, folder: str) -> dict[str, Any]:
    """The reader's answer about a depot that holds its bundle, as root's."""
    query = content_query(tree, folder)
    right = {"type": "file", "mode": MODE, "owner": "root", "group": "root"}
    blobs = {f"{folder}/{blob_path(name)}": {**right, "sha256": name} for name in tree.blobs}
    links = {
        f"{folder}/{path}": {**right, "sha256": sha256(content.encode())}
        for path, content in tree.links.items()
    }
    globs: dict[str, list[str]] = {pattern: [] for pattern in query.globs}
    for pattern in globs:
        globs[pattern] = sorted(blobs if pattern.endswith("/data") else links)
    return {
        "files": {**blobs, **links},
        "globs": globs,
        "texts": {f"{folder}/{STAMP}": f"{tree.bundle}\n"},
    }


def read(tree: DepotTree, folder: Path) -> dict[str, Any]:
    """What the reader really answers about the depot in ``folder``."""
    return reader.answer(content_query(tree, str(folder)).as_dict())
