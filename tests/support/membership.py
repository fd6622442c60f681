"""Machines and a cluster as the reader would tell of them, built from a few words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from provision import manifests
from provision.errors import UnreachableError
from provision.facts import ClusterFacts, Facts, MachineFacts, NodeFacts, ObjectState
from provision.kubeadm import paths
from provision.phase import Context, StoredFile
from provision.phases.kubernetes import KubernetesPhase
from provision.plan import discover, settings_models
from provision.site import Site, load_site, site_model

NOW = datetime(2030, 1, 1, tzinfo=UTC)
VERSION = "1.36.3"
CA = "c" * 64
MODEL = site_model(settings_models(discover()))


class Bundle:
    """A bundle that has every file; each file's digest is made from its name."""

    digest = "sha256:" + "0" * 64
    versions: Mapping[str, str] = {"kubernetes": VERSION}
    images: Mapping[str, str] = {
        "registry.k8s.io/etcd:3.6.8-0": "sha256:e",
        "registry.k8s.io/coredns/coredns:v1.14.2": "sha256:d",
    }

    def depot_tree(self) -> Sequence[StoredFile]:
        return ()

    def blob(self, sha256: str) -> Path:
        raise KeyError(sha256)

    def sha256(self, name: str, architecture: str) -> str:
        return (name.encode().hex() * 64)[:64]

    def path(self, name: str, architecture: str) -> Path:
        raise KeyError(name, architecture)


class Secrets:
    """A store that has every secret."""

    def sha256(self, name: str) -> str | None:
        return CA if name == "kubernetes/ca.crt" else (name.encode().hex() * 64)[:64]

    def certificate(self, name: str) -> str | None:
        return f"certificate of {name}\n"


def make_site(folder: Path, extra: Mapping[str, Any] | None = None) -> Site:
    """Three control-plane machines and a worker, ``n1`` to ``n4``."""
    data = {
        "name": "unit",
        "hosts": {
            **{
                f"n{number}": {"address": f"10.0.0.1{number}", "parts": ["control_plane"]}
                for number in (1, 2, 3)
            },
            "n4": {"address": "10.0.0.14", "parts": ["worker"]},
        },
        "network": {"machines": "10.0.0.0/24"},
        "kubernetes": {"version": VERSION},
        **(extra or {}),
    }
    path = folder / "site.yaml"
    path.write_text(json.dumps(data), "utf-8")
    return load_site(path, MODEL).site


def make_context(site: Site) -> Context:
    """A context in which every file and secret exists."""
    return Context(site, Bundle(), Secrets())


def read_machine(context: Context, name: str, told: str | Mapping[str, Any]) -> MachineFacts:
    """One machine's facts.

    ``told`` is ``fresh``, ``member``, ``silent``, or a mapping with ``is`` and what
    differs: ``etcd_data``, ``present`` and ``missing`` and ``damaged`` (paths), ``version``,
    ``ca``, ``control_plane``, ``days_left`` (by certificate), ``old_inputs`` (paths).
    """
    told = {"is": told} if isinstance(told, str) else told
    if told["is"] == "silent":
        return MachineFacts(name, error=UnreachableError("no route to host", where=name))
    member = told["is"] == "member"
    control_plane = context.site.hosts[name].is_control_plane
    phase = KubernetesPhase()
    query = phase.query(context, name)
    files: dict[str, Any] = dict.fromkeys(query.files)
    stamp = None
    if member:
        desired = phase.desired(context, name)
        files.update({item.path: _entry("directory", item) for item in desired.directories})
        files.update({item.path: _entry("file", item) for item in desired.files})
        made = {path: _made(path) for path in paths.made_files(control_plane)}
        files.update({path: _plain(sha256) for path, sha256 in made.items()})
        stamp = _stamp(control_plane, made, files, told)
    if told.get("etcd_data", member and control_plane):
        files[paths.ETCD_DATA] = _plain("", kind="directory")
    for path in told.get("present", ()):
        files[path] = _plain("b" * 64)
    for path in told.get("damaged", ()):
        files[path] = {**files[path], "sha256": "d" * 64}
    for path in told.get("missing", ()):
        files[path] = None
    unit = {"enabled": member, "active": member, "restart_pending": False}
    return MachineFacts(
        name,
        {
            "files": files,
            "texts": {paths.STAMP: stamp},
            "units": {
                item: {**unit, "state": "active" if member else "not found"} for item in query.units
            },
            "packages": {},
            "modules": {},
            "sysctls": {},
            "clock": {"started": NOW.timestamp()},
        },
    )


def read_cluster(context: Context, told: Mapping[str, Any] | str) -> ClusterFacts:
    """The cluster's facts.

    ``told`` is ``down``, or a mapping of ``nodes`` (name to kubelet version, or a list of
    names), and ``missing`` and ``differing`` objects.
    """
    if isinstance(told, str):
        return ClusterFacts(reachable=False, error="connection refused")
    nodes = told["nodes"]
    versions = nodes if isinstance(nodes, Mapping) else dict.fromkeys(nodes, VERSION)
    objects = {
        manifests.key(item): ObjectState(exists=True) for item in KubernetesPhase().objects(context)
    }
    objects.update({name: ObjectState(exists=False) for name in told.get("missing", ())})
    objects.update(
        {name: ObjectState(True, fields) for name, fields in told.get("differing", {}).items()}
    )
    return ClusterFacts(
        reachable=True,
        version=VERSION,
        nodes={
            name: NodeFacts(name, ready=True, kubelet_version=version, control_plane=True)
            for name, version in versions.items()
        },
        objects=objects,
    )


def read_all(
    context: Context, machines: Mapping[str, Any], cluster: Mapping[str, Any] | str
) -> Facts:
    """Facts of all machines and the cluster."""
    return Facts(
        {name: read_machine(context, name, told) for name, told in machines.items()},
        read_cluster(context, cluster),
    )


def _stamp(
    control_plane: bool, made: Mapping[str, str], files: Mapping[str, Any], told: Mapping[str, Any]
) -> str:
    inputs = (paths.INIT, paths.AUDIT, paths.ADMISSION, paths.ENCRYPTION) if control_plane else ()
    digests = {path: files[path]["sha256"] for path in inputs}
    digests.update(dict.fromkeys(told.get("old_inputs", ()), "0" * 64))
    days = {"apiserver": 300, **told.get("days_left", {})} if control_plane else {}
    return json.dumps(
        {
            "version": told.get("version", VERSION),
            "control_plane": told.get("control_plane", control_plane),
            "ca": told.get("ca", CA),
            "inputs": digests,
            "files": made,
            "expires": {
                name: (NOW + timedelta(days=left, hours=1)).isoformat()
                for name, left in days.items()
            },
        }
    )


def _made(path: str) -> str:
    return (path.encode().hex() * 64)[:64]


def _plain(sha256: str, kind: str = "file") -> dict[str, Any]:
    return {"type": kind, "sha256": sha256, "mode": "0644", "owner": "root", "group": "root"}


def _entry(kind: str, item: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "sha256": getattr(item, "sha256", None),
        "mode": item.mode,
        "owner": item.owner,
        "group": item.group,
    }
