"""Kubernetes objects as plain data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

Manifest = Mapping[str, Any]

STAMP = "provision/applied"
"""Annotation with the digest of the manifest that was applied."""


def namespace(name: str, pod_security: str = "restricted") -> Manifest:
    """A namespace whose pods may do what this level of Pod Security allows."""
    labels = {"pod-security.kubernetes.io/enforce": pod_security}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def key(manifest: Manifest) -> str:
    """Name of an object among all objects: ``Kind name`` or ``Kind namespace/name``."""
    metadata = manifest["metadata"]
    namespace = metadata.get("namespace")
    name = f"{namespace}/{metadata['name']}" if namespace else metadata["name"]
    return f"{manifest['kind']} {name}"


def parse(text: str) -> Iterator[Manifest]:
    """The objects of a YAML stream; lists are unfolded, empty documents left out."""
    for document in yaml.load_all(text, Loader=yaml.CSafeLoader):
        if not document:
            continue
        if str(document.get("kind", "")).endswith("List") and "items" in document:
            yield from document["items"]
        else:
            yield document


def stamped(manifest: Manifest) -> dict[str, Any]:
    """``manifest`` with its own digest, so that a look tells whether this is what was applied."""
    text = json.dumps(manifest, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    metadata = manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), STAMP: digest}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def stamp_of(manifest: Manifest) -> str | None:
    """The digest that :func:`stamped` left in an object."""
    digest = (manifest["metadata"].get("annotations") or {}).get(STAMP)
    return None if digest is None else str(digest)


def unstamped(manifest: Manifest) -> dict[str, Any]:
    """An object without its digest."""
    metadata = dict(manifest["metadata"])
    annotations = {**(metadata.pop("annotations", None) or {})}
    annotations.pop(STAMP, None)
    if annotations:
        metadata["annotations"] = annotations
    return {**manifest, "metadata": metadata}
