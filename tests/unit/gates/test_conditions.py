"""Judging what the API says."""

from __future__ import annotations

from typing import Any

from provision import conditions
from provision.conditions import EtcdMember


def item(name: str, ready: bool = True, **status: Any) -> dict[str, Any]:
    listed = [{"type": "Ready", "status": str(ready), "message": "" if ready else "no network"}]
    return {"metadata": {"name": name}, "status": {"conditions": listed, **status}}


def test_nodes() -> None:
    nodes = [item("n1"), item("n2", ready=False)]
    assert list(conditions.not_registered(nodes, ["n1", "n2", "n3"])) == ["n3 is no node yet"]
    assert list(conditions.not_ready(nodes, ["n1", "n2", "n3"])) == [
        "n2 is not Ready: no network",
        "n3 is no node yet",
    ]
    assert not list(conditions.not_ready(nodes, ["n1"]))


def test_etcd() -> None:
    members = [
        EtcdMember("n1", learner=False, healthy=True),
        EtcdMember("n2", learner=True, healthy=True),
        EtcdMember("n3", learner=False, healthy=False, detail="timeout"),
        EtcdMember("", learner=True, healthy=False),
        EtcdMember("old", learner=False, healthy=True),
    ]
    names = ["n1", "n2", "n3", "n4"]
    assert list(conditions.etcd_problems(members, names, names)) == [
        "n2 is still learning",
        "n3 is not healthy: timeout",
        "n4 is no member",
        "a member that never started does not belong to the site",
        "old does not belong to the site",
    ]


def test_a_machine_that_was_not_worked_on_may_be_unwell() -> None:
    members = [
        EtcdMember("n1", learner=False, healthy=True),
        EtcdMember("n2", learner=False, healthy=False),
    ]
    assert not list(conditions.etcd_problems(members, ["n1"], ["n1", "n2"]))


def test_pods() -> None:
    waiting = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    pods = [
        item("api"),
        item("job", ready=False, phase="Succeeded"),
        item("dns", ready=False, phase="Pending"),
        item("agent", ready=False, phase="Pending", containerStatuses=[waiting]),
    ]
    assert list(conditions.pods_not_ready(pods, ["api", "etcd"])) == [
        "etcd is missing",
        "dns is Pending, not ready",
        "agent is waiting: ImagePullBackOff no such image",
    ]


def test_rollouts() -> None:
    agents = {
        "kind": "DaemonSet",
        "metadata": {"name": "cilium", "generation": 2},
        "spec": {},
        "status": {"observedGeneration": 1},
    }
    assert list(conditions.rollout_problems(agents)) == ["DaemonSet cilium was not looked at yet"]
    agents["status"] = {
        "observedGeneration": 2,
        "desiredNumberScheduled": 3,
        "updatedNumberScheduled": 3,
        "numberReady": 2,
    }
    assert list(conditions.rollout_problems(agents)) == ["DaemonSet cilium: 2 of 3 ready"]
    operator = {
        "kind": "Deployment",
        "metadata": {"name": "operator", "generation": 1},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": 1, "updatedReplicas": 2, "readyReplicas": 2},
    }
    assert not list(conditions.rollout_problems(operator))
