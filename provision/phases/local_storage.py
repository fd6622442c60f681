"""local_storage: volumes for one pod at a time, from the machines' own disks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field

from provision import manifests
from provision.clusterphase import ClusterPhase
from provision.phase import Context, Manifest
from provision.site import Model, Settings, Site

FOLDER = r"^(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$"
"""An absolute path without blanks, hidden folders, or a slash at its end."""
Folder = Annotated[str, Field(pattern=FOLDER)]
DISK = r"^/dev/[A-Za-z0-9][A-Za-z0-9._:/+-]*$"
Disk = Annotated[str, Field(pattern=DISK)]
SYSTEM = ("/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/tmp", "/usr")  # noqa: S108 - refused
"""Folders that volumes must stay out of."""
HELPER_IMAGE = "docker.io/library/busybox"


class MachineStorage(Model):
    """Where one machine keeps volumes."""

    path: Folder | None = None
    """The folder; without it, the site's."""
    disk: Disk | None = None
    """A whole disk or partition for it, such as ``/dev/disk/by-id/…``; formatted when it is
    empty, and refused with what is on it when it is not."""


class LocalStorageSettings(Settings):
    """Settings of the volumes on machines' own disks."""

    component = "local_storage"
    optional = True

    path: Folder = "/var/lib/local-storage"
    """Folder that each machine keeps volumes in."""
    machines: dict[str, MachineStorage] = Field(default_factory=dict)
    """What differs, by machine."""
    class_name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")] = "standard"
    """Name of the StorageClass."""
    default_class: bool = True
    """Whether claims that name no class get this one."""
    reclaim: Literal["Delete", "Retain"] = "Delete"
    """What becomes of the data when its claim is deleted."""


class LocalStorage(ClusterPhase):
    """The provisioner, its StorageClass, and the folder on each machine."""

    name = "local_storage"
    after = ("cilium",)
    settings = LocalStorageSettings
    bundled = ("local-path-provisioner",)
    namespace = "local-storage"

    def data(self, context: Context, host: str) -> Mapping[str, str]:
        """The volumes in the machine's folder."""
        return {f"{_path(context, host)}/*": "volumes"}

    def validate_site(self, site: Site) -> Iterator[str]:
        """Folders must be the volumes' own, and machines must exist."""
        settings = site.settings(LocalStorageSettings)
        places = {"local_storage.path": settings.path}
        for name, machine in settings.machines.items():
            key = f"local_storage.machines.{name}"
            if name not in site.hosts:
                yield f"{key} is no machine of the site; there are {', '.join(site.hosts)}"
            if machine.path is not None:
                places[f"{key}.path"] = machine.path
        for key, path in places.items():
            parts = PurePosixPath(path).parts
            if path.startswith(tuple(f"{folder}/" for folder in SYSTEM)) or path in SYSTEM:
                yield f"{key} {path} is a folder of the system's; choose one that volumes can fill"
            elif len(parts) == 2:
                yield f"{key} {path} is too near the root; choose a folder below, such as {path}/x"

    def objects(self, context: Context) -> Sequence[Manifest]:
        """The rendered chart, in a namespace whose helper pods may write to machines."""
        values = self.values(context)
        chart = self.chart(context, "local-path-provisioner-chart", values)
        return [manifests.namespace(self.namespace, "privileged"), *chart]

    def values(self, context: Context) -> dict[str, Any]:
        """The chart's values."""
        settings = context.site.settings(LocalStorageSettings)
        paths: list[dict[str, Any]] = [
            {"node": "DEFAULT_PATH_FOR_NON_LISTED_NODES", "paths": [settings.path]},
            *(
                {"node": name, "paths": [machine.path]}
                for name, machine in settings.machines.items()
                if machine.path is not None
            ),
        ]
        digest = hashlib.sha256(json.dumps(paths).encode()).hexdigest()
        return {
            "fullnameOverride": "local-path-provisioner",
            "image": {
                "repository": "docker.io/rancher/local-path-provisioner",
                "tag": f"v{self.version(context, 'local-path-provisioner')}",
            },
            "helperImage": {
                "repository": HELPER_IMAGE,
                "tag": self.version(context, "busybox"),
            },
            "nodePathMap": paths,
            # The provisioner reads its configuration when it starts.
            "podAnnotations": {"provision/paths": digest},
            "storageClass": {
                "name": settings.class_name,
                "defaultClass": settings.default_class,
                "reclaimPolicy": settings.reclaim,
            },
        }

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """The objects, and this machine's folder and disk."""
        settings = context.site.settings(LocalStorageSettings)
        own = settings.machines.get(host, MachineStorage())
        path = _path(context, host)
        return {
            **super().variables(context, host),
            "local_storage_path": path,
            "local_storage_disk": own.disk or "",
            "local_storage_unit": _mount_unit(path),
        }


def _path(context: Context, host: str) -> str:
    settings = context.site.settings(LocalStorageSettings)
    return settings.machines.get(host, MachineStorage()).path or settings.path


def _mount_unit(path: str) -> str:
    """The name that systemd wants for the unit of a mount point."""
    return path.strip("/").replace("-", r"\x2d").replace("/", "-") + ".mount"
