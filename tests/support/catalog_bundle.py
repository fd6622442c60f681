"""A bundle that has exactly what the catalog names, with a ``helm`` that makes one object.

Of manifests that a project publishes, it has the one object of ``MANIFESTS``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from provision.bundle.catalog import Selection, catalog
from provision.phase import StoredFile

HELM = """\
#!/bin/sh
cat <<'OBJECT'
apiVersion: v1
kind: ConfigMap
metadata: {name: made-by-helm, namespace: kube-system}
OBJECT
"""

MANIFESTS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: as-published}
"""


class CatalogBundle:
    """Names, versions and image references are the catalog's; digests follow from names.

    ``folder`` is where its files are made when they are asked for.
    """

    digest = "sha256:" + "c" * 64

    def __init__(self, kubernetes: str, folder: Path) -> None:
        everything = catalog().on_request()
        self.selection: Selection = catalog().select(kubernetes, "amd64", requested=everything)
        self.folder = folder

    @property
    def versions(self) -> Mapping[str, str]:
        return self.selection.versions

    @cached_property
    def images(self) -> Mapping[str, str]:
        references = [
            image.reference for chosen in self.selection.components for image in chosen.images
        ]
        return {name: f"sha256:{_digest(name)}" for name in references}

    @cached_property
    def files(self) -> frozenset[str]:
        """Names of all plain files."""
        return frozenset(file.name for chosen in self.selection.components for file in chosen.files)

    def sha256(self, name: str, architecture: str) -> str:
        assert name in self.files, f"the catalog has no file {name}"
        return _digest(f"{name} {architecture}")

    def path(self, name: str, architecture: str) -> Path:
        self.sha256(name, architecture)
        return file_made(self.folder, name)

    def blob(self, sha256: str) -> Path:
        raise FileNotFoundError(sha256)

    def depot_tree(self) -> Sequence[StoredFile]:
        return ()


def file_made(folder: Path, name: str) -> Path:
    """A file of a bundle: ``helm`` renders any chart as one object, others hold their name."""
    path = folder / name
    path.write_text(HELM if name == "helm" else MANIFESTS if name.endswith("-manifests") else name)
    path.chmod(0o755)
    return path


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
