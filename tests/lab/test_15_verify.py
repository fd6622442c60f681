"""``verify`` proves what works, leaves nothing, and names what does not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.lab.machines import Lab

pytestmark = pytest.mark.soak


def test_everything_is_proven_and_nothing_is_left(lab: Lab) -> None:
    found = json.loads(lab.provision("verify", "--json"))
    assert found["proven"]
    proven = {item["proof"] for item in found["proofs"]}
    assert proven >= {"services by name", "network policies"}
    assert "provision-verify" not in lab.kubectl("get", "namespaces", "-o", "name")


def test_what_does_not_work_is_named(lab: Lab) -> None:
    lab.kubectl("-n", "kube-system", "scale", "deployment/coredns", "--replicas=0")
    try:
        lab.kubectl(
            "-n",
            "kube-system",
            "wait",
            "--for=delete",
            "pod",
            "-l",
            "k8s-app=kube-dns",
            "--timeout=60s",
        )
        printed = lab.provision("verify", "--only", "services by name", expect=10)
    finally:
        lab.provision("up", "--no-verify")
    assert "BAD  services by name" in printed
    assert "does not do all that it promises" in printed
