"""Drops from the cache what no finished bundle needs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from provision.bundle.lock import LOCK, Lock
from provision.bundle.results import Results
from provision.bundle.source import drop_work
from provision.bundle.store import BlobStore, write_atomically
from provision.errors import BundleError
from provision.templates import TEMPLATES

STEPS = "steps.json"
"""In a bundle's folder of the cache: the recipes whose results it was made of."""


def remember_steps(bundle: Path, keys: frozenset[str]) -> None:
    """Keep what ``bundle`` was made of, so that building it again is quick."""
    write_atomically(bundle / STEPS, (json.dumps(sorted(keys)) + "\n").encode())


def prune(cache: Path, store: BlobStore, results: Results) -> int:
    """Remove build caches, sources, and blobs that no bundle in the cache needs.

    A bundle needs the blobs that its lock names, and the results of the build
    steps that it was made of: with one component changed, the others need not
    be built again.

    Returns
    -------
    int
        Bytes of blobs removed; hard links that bundles hold are not counted.
    """
    drop_work(cache)
    # Also those of checkouts that are gone; they are made again in no time.
    shutil.rmtree(cache / TEMPLATES, ignore_errors=True)
    # Left by builds that were killed while they wrote; the lock says that none writes now.
    for partial in store.folder.glob(".partial-*"):
        partial.unlink()
    keys = _steps(cache / "bundles")
    for path in results.folder.glob("*.json"):
        if path.stem not in keys:
            path.unlink()
    freed = 0
    for sha256 in store.all() - _locked(cache / "bundles") - results.outputs(keys):
        freed += store.path(sha256).stat().st_size
        store.remove(sha256)
    return freed


def _steps(bundles: Path) -> frozenset[str]:
    keys: set[str] = set()
    for path in bundles.glob(f"[!.]*/{STEPS}"):
        try:
            keys.update(_KEYS.validate_json(path.read_bytes()))
        except ValidationError:
            # Whoever damaged it pays with a longer build.
            continue
    return frozenset(keys)


def _locked(bundles: Path) -> frozenset[str]:
    held: set[str] = set()
    for path in bundles.glob(f"[!.]*/{LOCK}"):
        try:
            held.update(Lock.decode(path.read_bytes(), str(path)).blobs)
        except BundleError:
            # Nothing opens such a bundle, so it holds nothing either.
            continue
    return frozenset(held)


_KEYS = TypeAdapter(list[str])
