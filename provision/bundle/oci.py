"""Container images and artifacts, written by the OCI image specification."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from provision.bundle.archive import EPOCH, GZIP_LEVEL, Member, read_members, write_tar
from provision.bundle.catalog import Architecture, ImageBuild
from provision.bundle.results import Output
from provision.bundle.store import Blob, BlobStore

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
ARTIFACT = "application/vnd.provision.files.v1"
FILE = "application/octet-stream"

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Descriptor:
    """A blob with its meaning."""

    media_type: str
    blob: Blob
    annotations: Mapping[str, str] | None = None
    architecture: str = ""
    artifact_type: str = ""

    def as_json(self) -> dict[str, Any]:
        """As OCI writes it."""
        fields: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": self.blob.digest,
            "size": self.blob.size,
        }
        if self.artifact_type:
            fields["artifactType"] = self.artifact_type
        if self.architecture:
            fields["platform"] = {"architecture": self.architecture, "os": "linux"}
        if self.annotations:
            fields["annotations"] = dict(self.annotations)
        return fields


@dataclass(frozen=True)
class Layer:
    """A compressed layer, and the digest of what is in it uncompressed."""

    blob: Blob
    diff_id: str


class LayerWriter(io.RawIOBase):
    """Compresses what is written to it, and hashes it as it was before."""

    def __init__(self, file: io.RawIOBase) -> None:
        self._plain = hashlib.sha256()
        self._compressed = gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0)

    def writable(self) -> bool:
        """Yes."""
        return True

    def write(self, chunk: Any) -> int:
        """Append ``chunk``."""
        self._plain.update(chunk)
        return self._compressed.write(chunk)

    def close(self) -> None:
        """Write what is left; what lies below stays open."""
        if not self.closed:
            self._compressed.close()
        super().close()

    @property
    def diff_id(self) -> str:
        """Digest of what was written, uncompressed."""
        return f"sha256:{self._plain.hexdigest()}"


def encode(document: Mapping[str, Any]) -> bytes:
    """JSON whose bytes depend on the content alone."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def add_layer(store: BlobStore, members: Iterable[Member]) -> Layer:
    """Keep ``members`` as a layer."""
    with store.writer() as writer, LayerWriter(writer) as layer:
        write_tar(members, layer)
    return Layer(writer.blob, layer.diff_id)


def add_image(
    store: BlobStore, build: ImageBuild, architecture: Architecture, layers: tuple[Layer, ...]
) -> Descriptor:
    """Keep an image's configuration and manifest; its layers are kept already."""
    created = datetime.fromtimestamp(EPOCH, UTC).isoformat().replace("+00:00", "Z")
    environment = {"PATH": _PATH, **build.environment}
    settings: dict[str, Any] = {
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "WorkingDir": build.workdir,
    }
    if build.entrypoint:
        settings["Entrypoint"] = list(build.entrypoint)
    if build.command:
        settings["Cmd"] = list(build.command)
    if build.user:
        settings["User"] = build.user
    config = store.add_bytes(
        encode(
            {
                "architecture": architecture,
                "os": "linux",
                "created": created,
                "config": settings,
                "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
                "history": [{"created": created, "created_by": "provision"} for _ in layers],
            }
        )
    )
    manifest = store.add_bytes(
        encode(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": Descriptor(CONFIG, config).as_json(),
                "layers": [Descriptor(LAYER, layer.blob).as_json() for layer in layers],
            }
        )
    )
    return Descriptor(MANIFEST, manifest, architecture=architecture)


def image_members(
    build: ImageBuild, outputs: Mapping[tuple[str, str], Output], store: BlobStore
) -> tuple[Member, ...]:
    """What an image's own layer holds.

    Parameters
    ----------
    outputs
        By build and output.
    """
    members: list[Member] = []
    for content in build.contents:
        output = outputs[content.build, content.output]
        path = content.path.strip("/")
        source = store.path(output.sha256)
        if output.kind == "tree":
            members += read_members(source, f"{path}/")
        else:
            members.append(Member(path, content=source, mode=content.mode))
    members += [Member(link.path, "link", target=link.target) for link in build.links]
    members += [Member(path, content=text.encode()) for path, text in build.scripts.items()]
    members += [Member(path, "folder", mode=0o1777) for path in build.folders]
    members += [
        Member(path, content=text.encode(), mode=0o644) for path, text in build.texts.items()
    ]
    return tuple(members)


def add_tree_layer(store: BlobStore, tree: Output) -> Layer:
    """Keep a whole root file system, a tar archive in the store, as a layer as it is."""
    with (
        store.writer() as writer,
        LayerWriter(writer) as layer,
        store.path(tree.sha256).open("rb") as source,
    ):
        shutil.copyfileobj(source, layer, 1 << 20)
    return Layer(writer.blob, layer.diff_id)


def add_artifact(
    store: BlobStore, files: Iterable[tuple[str, Blob, str]], annotations: Mapping[str, str]
) -> Descriptor:
    """Keep a manifest that names plain files, so that registries and tools carry them.

    Parameters
    ----------
    files
        Name, blob and media type of each.
    """
    empty = store.add_bytes(b"{}")
    manifest = store.add_bytes(
        encode(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "artifactType": ARTIFACT,
                "config": Descriptor(EMPTY, empty).as_json(),
                "layers": [
                    Descriptor(media_type, blob, {"org.opencontainers.image.title": name}).as_json()
                    for name, blob, media_type in files
                ],
                "annotations": dict(annotations),
            }
        )
    )
    return Descriptor(MANIFEST, manifest, artifact_type=ARTIFACT)
