"""Publishes files, archives and images on a :class:`FaultyServer`, as the real places do.

A registry that is only read from is a web server with the right paths, so
one server plays both; images are found under ``docker://`` + its address.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.httpserver import FaultyServer, Turn

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def archive(members: Mapping[str, bytes]) -> bytes:
    """A ``.tar.gz`` of ``members``."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), compresslevel=1, mtime=0)


def module_zip(module: str, files: Mapping[str, bytes]) -> bytes:
    """The ``.zip`` of a Go module, ``path@version``, as a module proxy has it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as content:
        for name, text in files.items():
            content.writestr(f"{module}/{name}", text)
    return buffer.getvalue()


@dataclass(frozen=True)
class PublishedImage:
    """An image on the server.

    ``digest`` is what was published: of the index when there is one.
    ``manifests`` and ``layers`` are by architecture.
    """

    digest: str
    manifests: Mapping[str, bytes]
    layers: Mapping[str, bytes]


class Publisher:
    """Puts things on ``server``."""

    def __init__(self, server: FaultyServer) -> None:
        self.server = server
        server.content["/v2/"] = b"{}"

    @property
    def registry(self) -> str:
        """``127.0.0.1:port``."""
        return self.server.url.partition("://")[2]

    def file(self, path: str, content: bytes) -> str:
        """Publish ``content`` at ``path``; its checksum."""
        self.server.content[path] = content
        return sha256(content)

    def image(
        self,
        repository: str,
        architectures: Sequence[str] = ("amd64", "arm64"),
        *,
        oci: bool = False,
        index: bool = True,
        configured: str = "",
    ) -> PublishedImage:
        """Publish an image of one layer for each of ``architectures``.

        ``configured`` makes the configuration claim another architecture.
        """
        manifests, layers, entries = {}, {}, []
        kind, list_kind = (OCI, OCI_INDEX) if oci else (DOCKER, DOCKER_LIST)
        for architecture in architectures:
            layer = gzip.compress(f"{repository} for {architecture}".encode() * 2000, mtime=0)
            config = json.dumps({"architecture": configured or architecture, "os": "linux"})
            manifest = self._encoded(
                mediaType=kind,
                config=self._blob(repository, config.encode(), "config"),
                layers=[self._blob(repository, layer, "layer")],
            )
            self._manifest(repository, manifest, kind)
            manifests[architecture], layers[architecture] = manifest, layer
            platform = {"architecture": architecture, "os": "linux"}
            if architecture == "arm64":
                platform["variant"] = "v8"
            entries.append({**self._descriptor(manifest, kind), "platform": platform})
        whole = manifests[architectures[0]]
        if index:
            whole = self._encoded(mediaType=list_kind, manifests=entries)
            self._manifest(repository, whole, list_kind)
        return PublishedImage(f"sha256:{sha256(whole)}", manifests, layers)

    def blob_path(self, repository: str, content: bytes) -> str:
        """Path of a configuration or layer, for :meth:`FaultyServer.misbehave`."""
        return f"/v2/{repository}/blobs/sha256:{sha256(content)}"

    def _manifest(self, repository: str, content: bytes, kind: str) -> None:
        path = f"/v2/{repository}/manifests/sha256:{sha256(content)}"
        self.server.content[path] = content
        self.server.misbehave(path, Turn(headers={"Content-Type": kind}))

    def _blob(self, repository: str, content: bytes, what: str) -> dict[str, Any]:
        self.server.content[self.blob_path(repository, content)] = content
        kinds = {
            "config": "application/vnd.docker.container.image.v1+json",
            "layer": "application/vnd.docker.image.rootfs.diff.tar.gzip",
        }
        return self._descriptor(content, kinds[what])

    def _descriptor(self, content: bytes, kind: str) -> dict[str, Any]:
        return {"mediaType": kind, "digest": f"sha256:{sha256(content)}", "size": len(content)}

    def _encoded(self, **document: Any) -> bytes:
        return json.dumps({"schemaVersion": 2, **document}).encode()
