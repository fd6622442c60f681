"""Kubernetes objects as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import yaml

Manifest = Mapping[str, Any]


class KindIn(NamedTuple):
    """All objects of one kind in one namespace."""

    api_version: str
    kind: str
    namespace: str

    def stub(self, name: str) -> Manifest:
        """As much of an object as it takes to name it."""
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata}


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
