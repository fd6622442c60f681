"""Volumes for many pods at a time: one file system everywhere, proven before it is used."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.lab.waiting import wait_until

if TYPE_CHECKING:
    from tests.lab.machines import Lab

pytestmark = pytest.mark.services

NAMESPACE = "lab-shared"
IMAGE = "docker.io/library/busybox:1.35"
PATH = "/srv/shared"
MANIFESTS = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {NAMESPACE}}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data, namespace: {NAMESPACE}}}
spec:
  storageClassName: shared
  accessModes: [ReadWriteMany]
  resources: {{requests: {{storage: 1Mi}}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: writer, namespace: {NAMESPACE}}}
spec:
  selector: {{matchLabels: {{app: writer}}}}
  template:
    metadata: {{labels: {{app: writer}}}}
    spec:
      terminationGracePeriodSeconds: 1
      tolerations: [{{operator: Exists}}]
      securityContext: {{runAsUser: 91}}
      containers:
        - name: writer
          image: {IMAGE}
          command: [sh, -c, 'echo "$NODE" > /data/$NODE; sleep infinity']
          env: [{{name: NODE, valueFrom: {{fieldRef: {{fieldPath: spec.nodeName}}}}}}]
          volumeMounts: [{{name: data, mountPath: /data}}]
      volumes: [{{name: data, persistentVolumeClaim: {{claimName: data}}}}]
"""


@pytest.fixture
def writers(lab: Lab) -> Iterator[list[str]]:
    """A pod on each machine, as a user of its own, all with the same volume."""
    lab.kubectl("apply", "-f", "-", stdin=MANIFESTS)
    lab.kubectl("-n", NAMESPACE, "rollout", "status", "daemonset/writer", "--timeout=180s")
    yield lab.kubectl("-n", NAMESPACE, "get", "pods", "-o", "name").split()
    lab.kubectl("delete", "namespace", NAMESPACE)


def test_what_a_pod_writes_pods_on_other_machines_read(lab: Lab, writers: list[str]) -> None:
    assert len(writers) == len(lab.machines)
    for pod in writers:
        wait_until(f"{pod} sees every file", partial(sees_all, lab, pod), 30)


def sees_all(lab: Lab, pod: str) -> bool:
    listed = lab.kubectl("-n", NAMESPACE, "exec", pod, "--", "ls", "/data")
    return listed.split() == sorted(lab.machines)


def test_a_mount_that_is_gone_is_named_and_restored(lab: Lab) -> None:
    machine = lab.machines["n2"]
    machine.run("systemctl stop srv-shared.mount")
    planned = json.loads(lab.provision("plan", "--json", expect=2))["phases"]
    assert {name for name, item in planned.items() if item["decision"] == "run"} == {
        "shared_storage"
    }
    assert planned["shared_storage"]["reasons"] == {
        "n2": ["unit srv-shared.mount is inactive, wanted active"]
    }
    lab.provision("up")
    lab.provision("plan", expect=0)


def test_a_machine_with_a_file_system_of_its_own_is_found(lab: Lab) -> None:
    machine = lab.machines["n2"]
    machine.run(f"mount -t tmpfs tmpfs {PATH} && mkdir -p {PATH}/.provision/{lab.name}")
    try:
        machine.run(f"echo n2 > {PATH}/.provision/{lab.name}/n2")
        printed = lab.provision("plan", expect=None)
        assert f"{PATH} on n2 is not the file system that" in printed
        refused = lab.provision("up", expect=None)
        assert "is not the file system that" in refused
    finally:
        machine.run(f"umount {PATH}")
    lab.provision("plan", expect=0)
