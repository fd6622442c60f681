"""Where Kubernetes' files lie on a machine, and which kubeadm command makes each."""

from __future__ import annotations

STAMP = "/var/lib/provision/stamps/kubernetes.json"
"""Written last, when a machine has become a member; see :mod:`provision.kubeadm.stamp`."""
ETCD_DATA = "/var/lib/etcd/member"
CONFIG = "/etc/provision/kubeadm"
INIT = f"{CONFIG}/init.yaml"
JOIN = f"{CONFIG}/join.yaml"
OBJECTS = f"{CONFIG}/objects.yaml"
PATCHES = f"{CONFIG}/patches"
"""kubeadm's patches of static pods; empty but while a pod is made anew."""
POLICIES = "/etc/kubernetes/policies"
"""Mounted into the API server, read-only."""
AUDIT = f"{POLICIES}/audit.yaml"
ADMISSION = f"{POLICIES}/admission.yaml"
AUTHENTICATION = f"{POLICIES}/authentication.yaml"
ENCRYPTION = f"{POLICIES}/encryption.yaml"
AUDIT_LOGS = "/var/log/kubernetes/audit"
MANIFESTS = "/etc/kubernetes/manifests"
PKI = "/etc/kubernetes/pki"
KUBELET_CONFIG = "/etc/kubernetes/kubelet.yaml"
BOOTSTRAP = "/etc/kubernetes/bootstrap-kubelet.conf"

WORKER_FILES = ("/etc/kubernetes/kubelet.conf",)
"""What joining leaves on every machine."""

CONTROL_PLANE_FILES = (
    *(
        f"{MANIFESTS}/{name}.yaml"
        for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    ),
    *(f"/etc/kubernetes/{name}.conf" for name in ("admin", "controller-manager", "scheduler")),
    *(
        f"{PKI}/{name}.{kind}"
        for name in (
            "apiserver",
            "apiserver-kubelet-client",
            "apiserver-etcd-client",
            "front-proxy-client",
            "etcd/server",
            "etcd/peer",
            "etcd/healthcheck-client",
        )
        for kind in ("crt", "key")
    ),
)
"""What kubeadm makes on a control-plane machine besides."""


def made_files(control_plane: bool) -> tuple[str, ...]:
    """Files on a machine that kubeadm makes, not the role's list."""
    return (*WORKER_FILES, *(CONTROL_PLANE_FILES if control_plane else ()))
