"""The kubelet's credentials on this machine."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path

from .commands import Commands
from .files import write_private
from .order import Order
from .paths import BOOTSTRAP as BOOTSTRAP_PATH
from .paths import INIT
from .waiting import until

KUBECONFIG = Path("/etc/kubernetes/kubelet.conf")
BOOTSTRAP = Path(BOOTSTRAP_PATH)
CLIENT = Path("/var/lib/kubelet/pki/kubelet-client-current.pem")
UNUSED = (Path("/var/lib/kubelet/config.yaml"), Path("/var/lib/kubelet/kubeadm-flags.env"))
"""kubeadm writes them, and the kubelet here reads the role's own files instead."""


def is_bootstrapped(commands: Commands) -> bool:
    """Whether the kubelet has a whole kubeconfig and a whole certificate of its own."""
    shown = commands.attempt(
        ("kubectl", "config", "view", f"--kubeconfig={KUBECONFIG}", "--raw", "-o", "json")
    )
    if shown.returncode != 0 or not KUBECONFIG.exists():
        return False
    view = json.loads(shown.stdout)
    return bool(view.get("clusters") and view.get("users")) and _is_usable(CLIENT)


def restore(order: Order, commands: Commands) -> None:
    """Make the kubelet's kubeconfig anew: from the CA's key, or by asking the API to sign."""
    KUBECONFIG.unlink(missing_ok=True)
    if order.control_plane:
        commands.run("kubeadm", "init", "phase", "kubeconfig", "kubelet", f"--config={INIT}")
        if _is_usable(CLIENT):
            commands.run(
                *("kubeadm", "init", "phase", "kubelet-finalize"),
                *("enable-client-cert-rotation", f"--config={INIT}"),
            )
        commands.run("systemctl", "restart", "kubelet.service")
        return
    write_private(BOOTSTRAP, order.credential)
    try:
        commands.run("systemctl", "restart", "kubelet.service")
        until(
            "the kubelet to get its certificate from the API",
            lambda: is_bootstrapped(commands),
            seconds=120,
        )
    finally:
        BOOTSTRAP.unlink(missing_ok=True)


def drop_unused() -> None:
    """Remove what kubeadm wrote for the kubelet and nobody reads."""
    for path in UNUSED:
        path.unlink(missing_ok=True)


def listens(address: str, port: int) -> bool:
    """Whether something listens on the TCP port of this machine's address."""
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def _is_usable(pem: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(pem)
    except (OSError, ssl.SSLError):
        return False
    return True
