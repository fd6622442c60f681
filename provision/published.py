"""Kubernetes objects that a project publishes as one file of manifests, from the bundle.

Such a file may be megabytes of YAML, so what was read of it is kept under its digest.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from provision import manifests
from provision.charts import keep_text
from provision.manifests import Manifest
from provision.phase import BundleView


def published(bundle: BundleView, name: str, architecture: str, cache: Path) -> Sequence[Manifest]:
    """The objects of the bundle's plain file ``name``, in its order; not to be changed.

    Raises
    ------
    BundleError
        The bundle has no such file, or it is damaged.
    """
    kept = cache / "manifests" / f"{name}-{bundle.sha256(name, architecture)}.json"
    if not kept.exists():
        text = bundle.path(name, architecture).read_text("utf-8")
        keep_text(kept, json.dumps(list(manifests.parse(text))))
    return _read(kept)


@lru_cache(maxsize=8)
def _read(path: Path) -> Sequence[Manifest]:
    found: list[Manifest] = json.loads(path.read_text("utf-8"))
    return tuple(found)
