"""What a depot holds for one bundle, as data: the storage files of its registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provision.phase import BundleView

STORAGE = "docker/registry/v2"
"""Folder below the registry's root directory that holds everything (distribution's layout)."""


@dataclass(frozen=True)
class DepotTree:
    """Every file that a depot must hold, and no other."""

    bundle: str
    """Digest of the bundle's lock, ``sha256:…``."""
    blobs: Mapping[str, int]
    """Size in bytes by sha256 in hexadecimal."""
    links: Mapping[str, str]
    """Content (``sha256:…``) by path below the registry's root directory."""

    @classmethod
    def of(cls, bundle: BundleView) -> DepotTree:
        """What ``bundle`` has for a depot."""
        files = bundle.depot_tree()
        return cls(
            bundle.digest,
            {file.sha256: file.size for file in files if file.sha256},
            {file.path: file.content.decode("ascii") for file in files if not file.sha256},
        )


def blob_path(sha256: str) -> str:
    """Path of a blob below the registry's root directory."""
    return f"{STORAGE}/blobs/sha256/{sha256[:2]}/{sha256}/data"


def registry(reference: str) -> str:
    """The registry that an image reference names, which is its first part.

    >>> registry("registry.example/team/tool:1.0")
    'registry.example'
    """
    return reference.partition("/")[0]
