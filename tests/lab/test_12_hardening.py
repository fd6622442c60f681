"""What the cluster refuses and keeps to itself, asked of the running one."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.lab.machines import Lab

KUBELET = """\
import json, ssl, sys, urllib.error, urllib.request
trust = ssl.create_default_context(cafile="/etc/kubernetes/pki/ca.crt")
try:
    with urllib.request.urlopen(f"https://{sys.argv[1]}:10250/pods", context=trust) as answer:
        print(answer.status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
"""Asks a kubelet for its pods without a name; its certificate must be the cluster's."""

PRIVILEGED = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "lab-privileged", "namespace": "default"},
    "spec": {
        "hostNetwork": True,
        "containers": [
            {"name": "a", "image": "a", "securityContext": {"privileged": True}},
        ],
    },
}


def test_a_kubelet_shows_the_clusters_certificate_and_answers_nobody_without_a_name(
    lab: Lab,
) -> None:
    for machine in lab.machines.values():
        printed = machine.run(f"python3 - {machine.address}", stdin=KUBELET)
        assert printed.strip() == "401", machine.name


def test_a_kubelet_may_change_its_own_node_alone(lab: Lab) -> None:
    first, second, *_ = lab.machines.values()
    label = "kubectl --kubeconfig /etc/kubernetes/kubelet.conf label --dry-run=server node"
    assert "not labeled" not in first.run(f"{label} {first.name} lab=1")
    printed = first.run(f"{label} {second.name} lab=1 2>&1", check=False)
    assert "Forbidden" in printed


def test_a_privileged_pod_is_refused_outside_system_namespaces(lab: Lab) -> None:
    arguments = ("apply", "--dry-run=server", "-f", "-")
    machine = lab.machines[lab.control_plane[0]]
    command = f"kubectl --kubeconfig /etc/kubernetes/admin.conf {' '.join(arguments)} 2>&1"
    printed = machine.run(command, stdin=json.dumps(PRIVILEGED), check=False)
    assert 'violates PodSecurity "baseline' in printed
    exempt = {**PRIVILEGED, "metadata": {"name": "lab-privileged", "namespace": "kube-system"}}
    assert "created (server dry run)" in lab.kubectl(*arguments, stdin=json.dumps(exempt))


@pytest.mark.parametrize("name", ["n1", "n2", "n3"])
def test_kubelets_run_with_what_the_platform_needs(lab: Lab, name: str) -> None:
    running = json.loads(lab.kubectl("get", "--raw", f"/api/v1/nodes/{name}/proxy/configz"))
    kubelet = running["kubeletconfig"]
    assert kubelet["nodeStatusMaxImages"] == -1
    assert kubelet["clusterDomain"] == "cluster.local"


def test_etcds_metrics_are_for_the_machine_alone_and_the_audit_log_is_kept(lab: Lab) -> None:
    for name in lab.control_plane:
        machine = lab.machines[name]
        listening = machine.run("ss -Hltn 'sport = :2381'").split()
        assert [word for word in listening if word.endswith(":2381")] == ["127.0.0.1:2381"]
        log = shlex.quote("/var/log/kubernetes/audit/audit.log")
        last = json.loads(machine.run(f"tail -n 1 {log}"))
        assert last["kind"] == "Event"
