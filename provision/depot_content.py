"""Judges whether a depot on a machine holds its bundle, the whole of it and nothing else.

The plan, and the Ansible action ``depot_load`` that brings the content, judge
by the same functions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provision.depot_tree import STORAGE, DepotTree, blob_path
from provision.facts import Query
from provision.state import Difference

FOLDER = "/var/lib/provision-depot"
"""Where a machine keeps the content; world-readable, since the registry is not root."""

STAMP = "bundle"
"""File in the depot's folder that names the lock of the bundle it holds; written last."""

MODE = "0444"
"""Mode of every file of the content: all may read it, since it holds no secret."""

LISTED = 5
"""Up to so many blobs of a kind are named one by one."""


@dataclass(frozen=True)
class ContentDifferences:
    """What is not in a depot as the bundle has it."""

    missing: tuple[str, ...] = ()
    """sha256 of blobs that are not there."""
    damaged: tuple[str, ...] = ()
    """sha256 of blobs that are there with other content."""
    closed: tuple[str, ...] = ()
    """Paths of files whose mode or owner is not as it should be."""
    links: tuple[str, ...] = ()
    """Paths of links that are missing or name another digest."""
    foreign: tuple[str, ...] = ()
    """Paths of blobs and links that the bundle does not have."""
    stamp: str | None = None
    """What the stamp says where it is not the bundle's lock; empty without a stamp."""

    def __bool__(self) -> bool:
        return self != ContentDifferences()

    @property
    def wanted_blobs(self) -> tuple[str, ...]:
        """sha256 of the blobs that have to be brought."""
        return (*self.missing, *self.damaged)

    def listed(self, tree: DepotTree, folder: str) -> list[Difference]:
        """The differences in the words of the plan."""
        return list(self._listed(tree, folder))

    def _listed(self, tree: DepotTree, folder: str) -> Iterator[Difference]:
        yield from _each(self.missing, "missing", tree, folder)
        yield from _each(self.damaged, "damaged", tree, folder)
        for path in self.closed[:LISTED]:
            yield Difference("file", path, "not open to all", f"mode {MODE} of root")
        if self.links:
            found = f"{len(self.links)} links missing or different"
            yield Difference("depot", folder, found, f"the {len(tree.links)} of the bundle")
        if self.foreign:
            found = f"{len(self.foreign)} files there that the bundle does not have"
            yield Difference("depot", folder, found, "the bundle's alone")
        if self.stamp is not None:
            found = f"{self.stamp or 'none'}"
            yield Difference("bundle in the depot", folder, found, tree.bundle)


def _each(blobs: Sequence[str], found: str, tree: DepotTree, folder: str) -> Iterator[Difference]:
    if len(blobs) <= LISTED:
        for sha256 in blobs:
            yield Difference("blob", f"sha256:{sha256}", found, f"present in {folder}")
        return
    mebibytes = sum(tree.blobs[sha256] for sha256 in blobs) / 2**20
    found = f"without {len(blobs)} of its {len(tree.blobs)} blobs ({mebibytes:.0f} MiB, {found})"
    yield Difference("depot", folder, found, "complete")


def content_query(tree: DepotTree, folder: str) -> Query:
    """What to read of the depot in ``folder`` so that it can be judged."""
    blobs = (f"{folder}/{blob_path(sha256)}" for sha256 in tree.blobs)
    links = (f"{folder}/{path}" for path in tree.links)
    return Query(
        files=frozenset((*blobs, *links)),
        globs=frozenset(_globs(folder)),
        texts=frozenset({f"{folder}/{STAMP}"}),
    )


def content_differences(
    tree: DepotTree, folder: str, observed: Mapping[str, Any]
) -> ContentDifferences:
    """Compare the depot in ``folder`` with the bundle's content.

    ``observed`` is the reader's answer to :func:`content_query`. A blob whose
    size, times and inode are those noted when it arrived is not read again by
    the reader; what changed otherwise shows in a deep verification.
    """
    files = observed["files"]
    missing, damaged, closed, links = [], [], [], []
    for sha256 in tree.blobs:
        path = f"{folder}/{blob_path(sha256)}"
        found = files[path]
        if found is None:
            missing.append(sha256)
        elif found["sha256"] != sha256:
            damaged.append(sha256)
        elif not _is_open(found):
            closed.append(path)
    for link, content in tree.links.items():
        path = f"{folder}/{link}"
        found = files[path]
        if found is None or found["sha256"] != hashlib.sha256(content.encode()).hexdigest():
            links.append(path)
        elif not _is_open(found):
            closed.append(path)
    known = content_query(tree, folder).files
    foreign = [path for glob in _globs(folder) for path in observed["globs"][glob]]
    stamp = (observed["texts"][f"{folder}/{STAMP}"] or "").strip()
    return ContentDifferences(
        tuple(missing),
        tuple(damaged),
        tuple(closed),
        tuple(links),
        tuple(path for path in foreign if path not in known),
        None if stamp == tree.bundle else stamp,
    )


def _globs(folder: str) -> tuple[str, ...]:
    return (
        f"{folder}/{STORAGE}/blobs/sha256/*/*/data",
        f"{folder}/{STORAGE}/repositories/**/link",
    )


def _is_open(found: Mapping[str, Any]) -> bool:
    return bool(found["mode"] == MODE and found["owner"] == "root")
