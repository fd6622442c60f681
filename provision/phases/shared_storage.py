"""``shared_storage``: volumes for many pods at once, on a file system all machines mount."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field

from provision import manifests
from provision.clusterphase import ClusterPhase
from provision.facts import Facts, Query
from provision.phase import Blocked, Context, Decision, Manifest, Run, Skip, Unknown
from provision.site import Settings, Site

Folder = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$")]
Option = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:/=@+-]+$")]

TYPES: Mapping[str, str] = {
    "nfs": "nfs4",
    "cephfs": "ceph",
    "lustre": "lustre",
    "weka": "wekafs",
    "gpfs": "gpfs",
    "bind": "none",
}
"""The kernel's name of the file system, by kind."""
SYSTEM = ("/boot", "/dev", "/etc", "/proc", "/run", "/sys", "/tmp", "/usr", "/var/lib")  # noqa: S108 - refused


class SharedStorageSettings(Settings):
    """A file system that every machine mounts, and a class of volumes on it."""

    component = "shared_storage"
    optional = True

    kind: Literal["nfs", "cephfs", "lustre", "weka", "gpfs", "bind"]
    """What is mounted; ``bind`` is a folder that is shared already, by whatever means."""
    source: Annotated[str, Field(pattern=r"^[^\s#%\\]+$")]
    """What mount(8) takes: ``server:/export`` for NFS, the folder for ``bind``."""
    options: tuple[Option, ...] = ()
    """Options of the mount (mount(8) and the file system's own)."""
    path: Folder = "/srv/shared"
    """Where machines mount it."""
    root_squash: bool = False
    """Whether the server maps root to nobody. The folders ``volumes`` and ``.provision`` must be
    there then, and belong to nobody."""
    class_name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")] = "shared"
    """Name of the StorageClass (ReadWriteMany)."""
    reclaim: Literal["Delete", "Retain"] = "Retain"
    """What becomes of the data when its claim is deleted."""


class SharedStoragePhase(ClusterPhase):
    """The mount on every machine, marks that prove it is the same one, and the provisioner."""

    name = "shared_storage"
    after = ("cilium",)
    settings = SharedStorageSettings
    bundled = ("local-path-provisioner",)
    namespace = "shared-storage"

    def validate_site(self, site: Site) -> Iterator[str]:
        """The source must be one of its kind, and the folder the file system's own."""
        settings = site.settings(SharedStorageSettings)
        if settings.kind in ("nfs", "cephfs", "lustre") and ":/" not in settings.source:
            yield (
                f"shared_storage.source {settings.source} names no server; {settings.kind} wants"
                " SERVER:/PATH"
            )
        if settings.kind == "bind" and not settings.source.startswith("/"):
            yield f"shared_storage.source {settings.source} must be an absolute path for a bind"
        if settings.source == settings.path:
            yield f"shared_storage.path {settings.path} is the source itself; choose another"
        parts = PurePosixPath(settings.path).parts
        if len(parts) == 2 or settings.path.startswith(tuple(f"{item}/" for item in SYSTEM)):
            yield (
                f"shared_storage.path {settings.path} is a folder of the system's, or too near the"
                " root; choose one such as /srv/shared"
            )

    def objects(self, context: Context) -> Sequence[Manifest]:
        """The rendered chart, in a namespace whose helper pods may write to machines."""
        settings = context.site.settings(SharedStorageSettings)
        chart = self.chart(
            context,
            "local-path-provisioner-chart",
            {
                "fullnameOverride": "shared-storage-provisioner",
                "image": {
                    "repository": "docker.io/rancher/local-path-provisioner",
                    "tag": f"v{self.version(context, 'local-path-provisioner')}",
                },
                "helperImage": {
                    "repository": "docker.io/library/busybox",
                    "tag": self.version(context, "busybox"),
                },
                "nodePathMap": [],
                "sharedFileSystemPath": f"{settings.path}/volumes",
                # The provisioner reads its configuration when it starts.
                "podAnnotations": {"provision/path": settings.path},
                "storageClass": {
                    "name": settings.class_name,
                    "reclaimPolicy": settings.reclaim,
                    "volumeBindingMode": "Immediate",
                },
            },
        )
        return [manifests.namespace(self.namespace, "privileged"), *chart]

    def query(self, context: Context, host: str) -> Query:
        """The role's state, and the marks of all machines as this one sees them."""
        marks = frozenset(_mark(context.site, name) for name in context.site.hosts)
        own = frozenset({_mark(context.site, host)})
        return super().query(context, host) | Query(files=own, texts=marks)

    def decide(self, context: Context, facts: Facts) -> Decision:
        """Stop where machines do not share one file system; else put right what differs."""
        found = list(_divergences(context.site, facts))
        if found:
            return Blocked(found)
        decision = super().decide(context, facts)
        marks = dict(_missing_marks(context.site, facts))
        if isinstance(decision, Unknown | Blocked) or not marks:
            return decision
        if isinstance(decision, Skip):
            decision = Run({})
        reasons = {
            name: [*decision.reasons.get(name, ()), *marks.get(name, ())]
            for name in facts.reachable
            if name in decision.reasons or name in marks
        }
        nothing: Mapping[str, Any] = {f"{self.name}_objects": []}
        variables = {name: decision.variables.get(name, nothing) for name in reasons}
        return replace(decision, reasons=reasons, variables=variables)

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """The objects, and what to mount where."""
        settings = context.site.settings(SharedStorageSettings)
        bind = ("bind",) if settings.kind == "bind" else ()
        return {
            **super().variables(context, host),
            "shared_storage_source": settings.source,
            "shared_storage_type": TYPES[settings.kind],
            "shared_storage_options": [*bind, *settings.options],
            "shared_storage_path": settings.path,
            "shared_storage_unit": mount_unit(settings.path),
            "shared_storage_mark": _mark(context.site, host),
            "shared_storage_root_squash": settings.root_squash,
        }


def mount_unit(path: str) -> str:
    """The name that systemd wants for the unit of a mount point."""
    return path.strip("/").replace("-", r"\x2d").replace("/", "-") + ".mount"


def _mark(site: Site, host: str) -> str:
    """File by which other machines see that they share a file system with ``host``."""
    path = site.settings(SharedStorageSettings).path
    return f"{path}/.provision/{site.name}/{host}"


def _mounted(site: Site, facts: Facts) -> dict[str, Mapping[str, Any]]:
    """What the machines see that have the file system mounted."""
    unit = mount_unit(site.settings(SharedStorageSettings).path)
    observed = {name: facts.machines[name].observed for name in facts.reachable}
    return {name: seen for name, seen in observed.items() if seen["units"][unit]["active"]}


def _missing_marks(site: Site, facts: Facts) -> Iterator[tuple[str, list[str]]]:
    settings = site.settings(SharedStorageSettings)
    for name, seen in _mounted(site, facts).items():
        path = _mark(site, name)
        if seen["texts"][path] != f"{name}\n":
            yield name, [f"file {path} is missing, wanted as the proof that {name} can write"]
        elif not settings.root_squash and seen["files"][path]["owner"] != "root":
            owner = seen["files"][path]["owner"]
            yield name, [f"file {path} is owned by {owner}, wanted root: root_squash is false"]


def _divergences(site: Site, facts: Facts) -> Iterator[str]:
    """Machines that have mounted something, and not what another one has."""
    path = site.settings(SharedStorageSettings).path
    mounted = _mounted(site, facts)
    for name, seen in mounted.items():
        blind = [
            other
            for other, its in mounted.items()
            if its["texts"][_mark(site, other)] and not seen["texts"][_mark(site, other)]
        ]
        if blind:
            yield (
                f"{path} on {name} is not the file system that {', '.join(blind)} mounted there:"
                f" what was written there is not seen; shared_storage.source must lead"
                " every machine to the same one"
            )
