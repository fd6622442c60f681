"""Take the machine out of the cluster, and Kubernetes off the machine."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from . import stamp
from .commands import Commands
from .etcd import Etcd, peer_url
from .failure import WorkError
from .files import write_private
from .order import Order
from .paths import PKI, STAMP

CREDENTIAL = Path("/run/provision/kubernetes/leave.conf")
DRAIN_SECONDS = 120
LEFT_BEHIND = (
    "/etc/kubernetes",
    "/etc/provision/kubeadm",
    "/run/provision/kubernetes",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/kubernetes",
    "/var/log/pods",
    "/run/lock/provision-kubeadm",
)
"""What is of Kubernetes alone; a mount point among them is emptied, and stays."""
CGROUPS = Path("/sys/fs/cgroup")


def leave(order: Order, commands: Commands) -> bool:
    """Leave; returns whether there was anything to do.

    With peers, the machine is drained, its Node deleted and its member of etcd
    removed first. Without peers the whole cluster goes, and nobody is told.
    """
    if not any(Path(path).exists() for path in (*LEFT_BEHIND, STAMP)):
        return False
    if order.peers:
        _say_goodbye(order, commands)
    if shutil.which("kubeadm", path="/usr/local/bin"):
        commands.run(
            *("kubeadm", "reset", "--force", "--skip-phases=preflight,remove-etcd-member"),
            *("--cri-socket=unix:///run/containerd/containerd.sock",),
        )
    _stop_slices(commands)
    _unmount(Path("/var/lib/kubelet"), commands)
    for name in LEFT_BEHIND:
        _remove(Path(name))
    _remove_chains(commands)
    stamp.forget()
    _remove_empty(stamp.BEGUN.parent)
    return True


def _say_goodbye(order: Order, commands: Commands) -> None:
    with _credential(order):
        kubectl = ("kubectl", f"--kubeconfig={CREDENTIAL}", "--request-timeout=15s")
        found = commands.run(*kubectl, "get", "node", order.node, "--ignore-not-found", "-o=name")
        if found.strip():
            commands.run(
                *kubectl,
                *("drain", order.node, "--ignore-daemonsets", "--delete-emptydir-data"),
                *("--force", f"--timeout={DRAIN_SECONDS}s"),
            )
        _leave_etcd(order)
        if found.strip():
            commands.run(*kubectl, "delete", "node", order.node, "--ignore-not-found")


def _leave_etcd(order: Order) -> None:
    if not order.control_plane or not Path(PKI, "etcd/healthcheck-client.crt").exists():
        return
    etcd = Etcd(order.peers)
    url = peer_url(order.address)
    for member in etcd.members():
        if member.peer_url == url:
            etcd.remove(member)


@contextlib.contextmanager
def _credential(order: Order) -> Iterator[None]:
    if not order.credential:
        raise WorkError("leaving needs the administrator's credential")
    write_private(CREDENTIAL, order.credential)
    try:
        yield
    finally:
        CREDENTIAL.unlink(missing_ok=True)


def _stop_slices(commands: Commands) -> None:
    """Stop systemd's slices of pods, or remove plain control groups of theirs."""
    listed = commands.run("systemctl", "list-units", "--plain", "--no-legend", "kubepods*.slice")
    for line in listed.splitlines():
        commands.run("systemctl", "stop", line.split()[0])
    for top in [CGROUPS, *CGROUPS.glob("*/")]:
        pods = top / "kubepods"
        if pods.is_dir():
            for folder, _, _ in os.walk(pods, topdown=False):
                with contextlib.suppress(OSError):
                    # One that still has processes stays, and a restart of the machine ends it.
                    Path(folder).rmdir()


def _unmount(below: Path, commands: Commands) -> None:
    """Unmount everything below a folder, the deepest first; not the folder itself."""
    mounts = Path("/proc/self/mounts").read_text("utf-8").splitlines()
    points = {line.split()[1].replace("\\040", " ") for line in mounts}
    for point in sorted(points, key=len, reverse=True):
        if point.startswith(f"{below}/"):
            commands.run("umount", point)


def _remove(path: Path) -> None:
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    if path.is_mount():
        for child in path.iterdir():
            _remove(child)
        return
    shutil.rmtree(path)


def _remove_chains(commands: Commands) -> None:
    """Remove the packet filter chains that the kubelet leaves."""
    for program in ("iptables", "ip6tables"):
        if shutil.which(program) is None:
            continue
        for table in ("mangle", "nat", "filter"):
            listed = commands.run(program, "-t", table, "-S").splitlines()
            rules = [line.split() for line in listed]
            for rule in rules:
                if rule[0] == "-A" and any(word.startswith("KUBE-") for word in rule):
                    commands.run(program, "-t", table, "-D", *rule[1:])
            for rule in rules:
                if rule[0] == "-N" and rule[1].startswith("KUBE-"):
                    commands.run(program, "-t", table, "-F", rule[1])
                    commands.run(program, "-t", table, "-X", rule[1])


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
