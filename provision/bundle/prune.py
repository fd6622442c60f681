"""Drops from the cache what no finished bundle needs."""

from __future__ import annotations

from pathlib import Path

from provision.bundle.lock import LOCK, Lock
from provision.bundle.results import Results
from provision.bundle.source import drop_work
from provision.bundle.store import BlobStore
from provision.errors import BundleError


def prune(cache: Path, store: BlobStore, results: Results) -> int:
    """Remove build caches, sources, and blobs that no bundle in the cache names.

    Returns
    -------
    int
        Bytes of blobs removed; hard links that bundles hold are not counted.
    """
    drop_work(cache)
    kept = _held(cache / "bundles")
    freed = 0
    for sha256 in store.all() - kept:
        freed += store.path(sha256).stat().st_size
        store.remove(sha256)
    for path in results.folder.glob("*.json"):
        if results.read(path.stem) is None:
            path.unlink()
    return freed


def _held(bundles: Path) -> frozenset[str]:
    held: set[str] = set()
    for path in bundles.glob(f"[!.]*/{LOCK}"):
        try:
            held.update(Lock.decode(path.read_bytes(), str(path)).blobs)
        except BundleError:
            # Nothing opens such a bundle, so it holds nothing either.
            continue
    return frozenset(held)
