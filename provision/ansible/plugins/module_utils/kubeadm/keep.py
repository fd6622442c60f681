"""Repair and renew what kubeadm made on a machine that is a member."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import enter, kubelet, stamp
from .commands import ADMIN, Commands
from .files import write_private
from .order import Order
from .paths import ADMISSION, AUDIT, ENCRYPTION, INIT, MANIFESTS, PATCHES, PKI
from .waiting import until

COMPONENTS = {
    "etcd": ("etcd", "local"),
    "kube-apiserver": ("control-plane", "apiserver"),
    "kube-controller-manager": ("control-plane", "controller-manager"),
    "kube-scheduler": ("control-plane", "scheduler"),
}
"""kubeadm's phase by static pod, in the order in which they need each other."""

CERTIFICATES = {
    "apiserver": "apiserver",
    "apiserver-kubelet-client": "apiserver-kubelet-client",
    "apiserver-etcd-client": "apiserver-etcd-client",
    "front-proxy-client": "front-proxy-client",
    "etcd/server": "etcd-server",
    "etcd/peer": "etcd-peer",
    "etcd/healthcheck-client": "etcd-healthcheck-client",
}
"""kubeadm's phase by certificate below /etc/kubernetes/pki."""


def keep(order: Order, commands: Commands) -> bool:
    """Carry out repairs and renewals; returns whether there was anything to do."""
    if not order.has_work:
        return False
    renewed = stamp.last_renewal()
    if order.renew:
        renewed = datetime.now(UTC).isoformat(timespec="seconds")
        for name in order.renew:
            commands.run("kubeadm", "certs", "renew", name, f"--config={INIT}")
    _remake_certificates(order.repair, commands)
    _remake_kubeconfigs(order.repair, commands)
    components = [name for name in COMPONENTS if _manifest(name) in map(Path, order.repair)]
    _remake_static_pods(order, list(COMPONENTS) if order.renew else components, renewed, commands)
    if str(kubelet.KUBECONFIG) in order.repair:
        kubelet.restore(order, commands)
    if order.register:
        _register(order, commands)
    if order.apply_objects:
        enter.apply_objects(commands)
    if components:
        commands.run("kubeadm", "init", "phase", "upload-config", "kubeadm", f"--config={INIT}")
    kubelet.drop_unused()
    stamp.write_stamp(order, commands, renewed=renewed)
    return True


def _remake_certificates(repair: Sequence[str], commands: Commands) -> None:
    for name, phase in CERTIFICATES.items():
        pair = [Path(PKI, f"{name}.{kind}") for kind in ("crt", "key")]
        if any(str(path) in repair for path in pair):
            for path in pair:
                path.unlink(missing_ok=True)
            commands.run("kubeadm", "init", "phase", "certs", phase, f"--config={INIT}")


def _remake_kubeconfigs(repair: Sequence[str], commands: Commands) -> None:
    for name in ("admin", "controller-manager", "scheduler"):
        path = Path(f"/etc/kubernetes/{name}.conf")
        if str(path) in repair:
            path.unlink(missing_ok=True)
            commands.run("kubeadm", "init", "phase", "kubeconfig", name, f"--config={INIT}")


def _remake_static_pods(
    order: Order, components: Iterable[str], renewed: str, commands: Commands
) -> None:
    """Write manifests anew, one component after the other, each Ready before the next."""
    for name in components:
        patches = [Path(PATCHES, file) for file in _patches(name, renewed)]
        try:
            for path, content in zip(patches, _patches(name, renewed).values(), strict=True):
                write_private(path, json.dumps(content))
            commands.run("kubeadm", "init", "phase", *COMPONENTS[name], f"--config={INIT}")
        finally:
            for path in patches:
                path.unlink(missing_ok=True)
        _wait_for_pod(order, name, commands)


def _patches(component: str, renewed: str) -> dict[str, Any]:
    """Patches for kubeadm, by file name.

    The annotations make the kubelet restart a pod whose policies or
    certificates changed. A member of etcd that has lost its data must look for
    the others, and never begin a cluster of its own.
    """
    annotations = {"provision/renewed": renewed} if renewed else {}
    if component == "kube-apiserver":
        annotations["provision/policies"] = _digest((AUDIT, ADMISSION, ENCRYPTION))
    patches: dict[str, Any] = {
        f"{component}+strategic.json": {"metadata": {"annotations": annotations}}
    }
    if component == "etcd":
        patches["etcd0+json.json"] = [
            {
                "op": "add",
                "path": "/spec/containers/0/command/-",
                "value": "--initial-cluster-state=existing",
            }
        ]
    return patches


def _digest(paths: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()[:32]


def _wait_for_pod(order: Order, component: str, commands: Commands) -> None:
    """Wait until the kubelet runs the pod that the manifest describes, and it is Ready."""
    wanted = json.loads(
        commands.run(
            # Nothing is patched: this reads the manifest without asking the API.
            *("kubectl", "patch", "--local", "--type=merge", "--patch={}", "--output=json"),
            f"--filename={_manifest(component)}",
        )
    )

    def is_running() -> bool:
        done = commands.attempt(
            (
                *("kubectl", f"--kubeconfig={ADMIN}", "--namespace=kube-system", "get"),
                *("pod", f"{component}-{order.node}", "--output=json", "--request-timeout=5s"),
            )
        )
        return done.returncode == 0 and _matches(json.loads(done.stdout), wanted)

    until(f"{component} on {order.node} to be Ready", is_running, seconds=240)


def _matches(found: dict[str, Any], wanted: dict[str, Any]) -> bool:
    has, should = found["spec"]["containers"][0], wanted["spec"]["containers"][0]
    annotations = wanted["metadata"].get("annotations") or {}
    given = found["metadata"].get("annotations") or {}
    ready = any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in found["status"].get("conditions", ())
    )
    return (
        ready
        and has["command"] == should["command"]
        and has["image"] == should["image"]
        and all(given.get(name) == value for name, value in annotations.items())
    )


def _register(order: Order, commands: Commands) -> None:
    """Let the kubelet make its Node again, and mark it as kubeadm does."""
    commands.run("systemctl", "restart", "kubelet.service")
    look = ("kubectl", f"--kubeconfig={kubelet.KUBECONFIG}", "get", "node", order.node)
    until(
        f"the Node {order.node} to be there again",
        lambda: commands.attempt(look).returncode == 0,
        seconds=120,
    )
    if order.control_plane:
        commands.run("kubeadm", "init", "phase", "mark-control-plane", f"--config={INIT}")
        enter.mark(order, commands)


def _manifest(component: str) -> Path:
    return Path(MANIFESTS, f"{component}.yaml")
