"""The bundle: everything a site installs, locked by digest, signed, in one folder."""

from provision.bundle.bundle import Bundle
from provision.bundle.depot import DepotFile
from provision.bundle.lock import (
    FILES_REPOSITORY,
    LockedFile,
    LockedImage,
    package_index,
    repository,
)

__all__ = [
    "FILES_REPOSITORY",
    "Bundle",
    "DepotFile",
    "LockedFile",
    "LockedImage",
    "package_index",
    "repository",
]
