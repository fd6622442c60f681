"""What ``check`` judges about a machine: system, resources, network and leftovers."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from provision.adapters.onmachine.kernel import cgroup_version, kernel
from provision.adapters.onmachine.network import default_route, interfaces, listening, resolver

SITE_MARK = Path("/var/lib/provision/site")
"""Holds the name of the site that the machine belongs to."""

_DISKS = ("/", "/var", "/var/lib/containerd", "/var/lib/etcd", "/var/lib/kubelet")

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

_CLUSTER_PATHS = (
    "/etc/kubernetes/manifests/*.yaml",
    "/etc/kubernetes/*.conf",
    "/etc/kubernetes/pki/ca.crt",
    "/var/lib/etcd/member",
    "/var/lib/kubelet/config.yaml",
    "/etc/cni/net.d/*",
    "/etc/rancher/*",
    "/var/lib/rancher/*",
    "/var/lib/k0s",
    "/var/snap/microk8s",
)
"""What a Kubernetes of any make leaves behind."""

_CLUSTER_INTERFACES = (
    "antrea-gw",
    "cali",
    "cilium_",
    "cni",
    "flannel",
    "kube-bridge",
    "kube-ipvs",
    "lxc",
    "ovn-k8s",
    "vxlan.calico",
    "weave",
)
"""How the interfaces of pod networks are named."""

_RUNTIMES = {
    "Docker": "/run/docker.sock",
    "CRI-O": "/run/crio/crio.sock",
    "K3s": "/run/k3s/containerd/containerd.sock",
    "containerd": "/run/containerd/containerd.sock",
}


def system() -> dict[str, Any]:
    """Everything that is asked by ``system: true``; ``docs/checks.md`` lists the keys."""
    found = interfaces()
    return {
        "os": _os_release(),
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "python": platform.python_version(),
        "kernel": kernel(),
        "cgroup": cgroup_version(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "disks": {path: _disk(path) for path in _DISKS},
        "hostname": platform.node(),
        "machine_id": _first_line("/etc/machine-id"),
        "interfaces": found,
        "default_route": default_route(),
        "swap": _swap(),
        "resolver": resolver(),
        "listening": listening(),
        "site": _first_line(str(SITE_MARK)) or None,
        "leftovers": {
            "paths": [str(path) for path in _matching(_CLUSTER_PATHS)],
            "interfaces": sorted(name for name in found if name.startswith(_CLUSTER_INTERFACES)),
            "runtimes": sorted(name for name, path in _RUNTIMES.items() if Path(path).is_socket()),
        },
        "unfinished": list(_unfinished()),
    }


def _os_release() -> dict[str, str]:
    names = {"ID": "id", "VERSION_ID": "version_id", "PRETTY_NAME": "pretty_name"}
    found = dict.fromkeys(names.values(), "")
    for line in _lines("/etc/os-release"):
        key, _, value = line.partition("=")
        if key in names:
            found[names[key]] = value.strip("\"'")
    return found


def _disk(path: str) -> dict[str, Any]:
    """Room where ``path`` lies or will lie, in bytes, and the mount that gives it."""
    place = Path(path)
    while not place.exists():
        place = place.parent
    usage = shutil.disk_usage(place)
    while not place.is_mount():
        place = place.parent
    return {"total_bytes": usage.total, "free_bytes": usage.free, "mount": str(place)}


def _swap() -> list[dict[str, Any]]:
    entries = (line.split() for line in _lines("/proc/swaps")[1:])
    return [{"name": fields[0], "bytes": int(fields[2]) * 1024} for fields in entries]


def _matching(patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(Path("/").glob(pattern.lstrip("/")))


def _unfinished() -> Iterator[dict[str, Any]]:
    """Processes that an interrupted run left at work."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            command = _command(process)
            if command and _is_ours(command):
                yield {"pid": int(process.name), "command": " ".join(command)[:200]}


def _command(process: Path) -> list[str] | None:
    try:
        text = (process / "cmdline").read_text("utf-8", errors="replace")
    except OSError:
        return None
    return text.rstrip("\0").split("\0")


def _is_ours(command: list[str]) -> bool:
    return Path(command[0]).name == "kubeadm" or any("AnsiballZ_" in word for word in command)


def _first_line(path: str) -> str:
    lines = _lines(path)
    return lines[0].strip() if lines else ""


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return []
