"""kubeadm's and the kubelet's configuration as plain data, made from the site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from provision.kubeadm import paths
from provision.merge import deep_merge

KUBEADM_API = "kubeadm.k8s.io/v1beta4"
API_PORT = 6443
"""Port of every API server on its own machine; the site's API address has a port of its own."""
CONTAINERD = "unix:///run/containerd/containerd.sock"
DISCOVERY = "/run/provision/kubernetes/join.conf"
"""Credential for joining: in memory, and there only while kubeadm runs."""
SKIPPED_AT_INIT = ("addon/kube-proxy", "bootstrap-token", "show-join-command")
"""Cilium does kube-proxy's work; and no join token is ever made: machines join by certificate."""

TIMEOUTS = {"etcdAPICall": "4m0s", "kubernetesAPICall": "3m0s"}
"""Twice kubeadm's own and more, for machines that are busy starting everything at once."""

Data = dict[str, Any]


def arguments(values: Mapping[str, str]) -> list[Data]:
    """Command-line arguments in kubeadm's form."""
    return [{"name": name, "value": value} for name, value in values.items()]


def cluster_configuration(
    *,
    site: str,
    version: str,
    endpoint: str,
    names: Sequence[str],
    pods: str,
    services: str,
    tags: Mapping[str, str],
    over: Mapping[str, Any],
) -> Data:
    """``ClusterConfiguration``: the same on every control-plane machine.

    Parameters
    ----------
    endpoint
        ``address:port`` of the API that machines and people use.
    names
        Further names and addresses for the API server's certificate.
    tags
        Tags of ``etcd`` and ``coredns`` images where they differ from kubeadm's own.
    over
        The site's own settings, laid over these.
    """
    base: Data = {
        "apiVersion": KUBEADM_API,
        "kind": "ClusterConfiguration",
        "clusterName": site,
        "kubernetesVersion": f"v{version}",
        "controlPlaneEndpoint": endpoint,
        "networking": {"dnsDomain": "cluster.local", "podSubnet": pods, "serviceSubnet": services},
        "apiServer": {
            "certSANs": sorted(names),
            "extraArgs": arguments(
                {
                    "admission-control-config-file": paths.ADMISSION,
                    "audit-log-maxage": "30",
                    "audit-log-maxbackup": "10",
                    "audit-log-maxsize": "100",
                    "audit-log-path": f"{paths.AUDIT_LOGS}/audit.log",
                    "audit-policy-file": paths.AUDIT,
                    "authentication-config": paths.AUTHENTICATION,
                    "enable-bootstrap-token-auth": "false",
                    "encryption-provider-config": paths.ENCRYPTION,
                    "kubelet-certificate-authority": f"{paths.PKI}/ca.crt",
                    "profiling": "false",
                }
            ),
            "extraVolumes": [
                _volume("policies", paths.POLICIES, read_only=True),
                _volume("audit-logs", paths.AUDIT_LOGS, read_only=False),
            ],
        },
        "controllerManager": {"extraArgs": arguments({"profiling": "false"})},
        "scheduler": {"extraArgs": arguments({"profiling": "false"})},
        "etcd": {"local": {"dataDir": "/var/lib/etcd", **_tag(tags, "etcd")}},
        "dns": _tag(tags, "coredns"),
    }
    return deep_merge(base, over)


def init_configuration(host: Mapping[str, Any]) -> Data:
    """``InitConfiguration`` of one machine; ``host`` as :func:`node_registration` takes it."""
    return {
        "apiVersion": KUBEADM_API,
        "kind": "InitConfiguration",
        "nodeRegistration": node_registration(host),
        "localAPIEndpoint": {"advertiseAddress": host["address"], "bindPort": API_PORT},
        "patches": {"directory": paths.PATCHES},
        "skipPhases": list(SKIPPED_AT_INIT),
        "timeouts": dict(TIMEOUTS),
    }


def join_configuration(host: Mapping[str, Any]) -> Data:
    """``JoinConfiguration`` of one machine."""
    joined: Data = {
        "apiVersion": KUBEADM_API,
        "kind": "JoinConfiguration",
        "nodeRegistration": node_registration(host),
        "caCertPath": f"{paths.PKI}/ca.crt",
        "discovery": {"file": {"kubeConfigPath": DISCOVERY}},
        "timeouts": dict(TIMEOUTS),
    }
    if host["control_plane"]:
        joined["controlPlane"] = {
            "localAPIEndpoint": {"advertiseAddress": host["address"], "bindPort": API_PORT}
        }
    return joined


def node_registration(host: Mapping[str, Any]) -> Data:
    """How a machine becomes a node.

    ``host`` has ``name``, ``address``, ``control_plane``, ``worker`` and
    ``ignore_preflight_errors``. A control-plane machine that is a worker too
    gets no taint.
    """
    registration: Data = {
        "name": host["name"],
        "criSocket": CONTAINERD,
        "imagePullPolicy": "IfNotPresent",
        "imagePullSerial": False,
        "ignorePreflightErrors": list(host["ignore_preflight_errors"]),
    }
    if host["worker"]:
        registration["taints"] = []
    return registration


def kubelet_configuration(dns: Sequence[str], over: Mapping[str, Any]) -> Data:
    """``KubeletConfiguration``, complete: the kubelet reads no other file."""
    base: Data = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{paths.PKI}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "systemd",
        "clusterDNS": list(dns),
        "clusterDomain": "cluster.local",
        "containerRuntimeEndpoint": CONTAINERD,
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 10248,
        "nodeStatusMaxImages": -1,
        "readOnlyPort": 0,
        "rotateCertificates": True,
        "seccompDefault": True,
        "serializeImagePulls": False,
        "staticPodPath": paths.MANIFESTS,
        "tlsCertFile": f"{paths.PKI}/kubelet.crt",
        "tlsPrivateKeyFile": f"{paths.PKI}/kubelet.key",
    }
    return deep_merge(base, over)


def image_tags(images: Mapping[str, str]) -> dict[str, str]:
    """Tags of the bundle's etcd and CoreDNS images, which kubeadm has to ask for."""
    found: dict[str, str] = {}
    for reference in images:
        name, _, tag = reference.rpartition(":")
        short = name.rpartition("/")[2]
        if short in ("etcd", "coredns"):
            found[short] = tag
    return found


def _tag(tags: Mapping[str, str], name: str) -> dict[str, str]:
    return {"imageTag": tags[name]} if name in tags else {}


def _volume(name: str, path: str, *, read_only: bool) -> Data:
    return {
        "name": name,
        "hostPath": path,
        "mountPath": path,
        "readOnly": read_only,
        "pathType": "Directory",
    }
