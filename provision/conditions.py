"""What must be so in a cluster, judged on what its API says. Pure.

Each function takes objects as the API gives them and returns what is still
wrong, one short phrase each; nothing means that the condition holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]


@dataclass(frozen=True)
class EtcdMember:
    """One member of etcd, as the others see it."""

    name: str
    """Empty until it has started once."""
    learner: bool
    healthy: bool
    detail: str = ""
    """Why it is not healthy."""


def not_registered(nodes: Iterable[Object], wanted: Iterable[str]) -> Iterator[str]:
    """Machines that are no node yet."""
    present = {node["metadata"]["name"] for node in nodes}
    return (f"{name} is no node yet" for name in wanted if name not in present)


def not_ready(nodes: Iterable[Object], wanted: Iterable[str]) -> Iterator[str]:
    """Nodes that are missing or not Ready."""
    by_name = {node["metadata"]["name"]: node for node in nodes}
    for name in wanted:
        node = by_name.get(name)
        if node is None:
            yield f"{name} is no node yet"
        elif not is_true(node, "Ready"):
            message = _condition(node, "Ready").get("message", "")
            yield f"{name} is not Ready{': ' + message if message else ''}"


def etcd_problems(
    members: Sequence[EtcdMember], wanted: Iterable[str], allowed: Iterable[str]
) -> Iterator[str]:
    """What keeps etcd from being whole.

    Parameters
    ----------
    wanted
        Names that must be healthy, voting members.
    allowed
        Names that may be members; any other is a leftover.
    """
    by_name = {member.name: member for member in members}
    for name in wanted:
        member = by_name.get(name)
        if member is None:
            yield f"{name} is no member"
        elif member.learner:
            yield f"{name} is still learning"
        elif not member.healthy:
            yield f"{name} is not healthy{': ' + member.detail if member.detail else ''}"
    known = set(allowed)
    for member in members:
        if member.name not in known:
            yield f"{member.name or 'a member that never started'} does not belong to the site"


def pods_not_ready(pods: Iterable[Object], wanted: Iterable[str] = ()) -> Iterator[str]:
    """Pods of ``wanted`` names that are missing, and pods that are not Ready.

    A pod that has run to its end is well.
    """
    listed = list(pods)
    names = {pod["metadata"]["name"] for pod in listed}
    yield from (f"{name} is missing" for name in wanted if name not in names)
    for pod in listed:
        status = pod.get("status", {})
        if status.get("phase") == "Succeeded" or is_true(pod, "Ready"):
            continue
        yield f"{pod['metadata']['name']} is {_pod_state(status)}"


def rollout_problems(workload: Object) -> Iterator[str]:
    """Why a Deployment, DaemonSet or StatefulSet is not rolled out."""
    kind, name = workload["kind"], workload["metadata"]["name"]
    status = workload.get("status", {})
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        yield f"{kind} {name} was not looked at yet"
        return
    if kind == "DaemonSet":
        wanted = status.get("desiredNumberScheduled", 0)
        updated = status.get("updatedNumberScheduled", 0)
        ready = status.get("numberReady", 0)
    else:
        wanted = workload["spec"].get("replicas", 1)
        updated = status.get("updatedReplicas", 0)
        ready = status.get("readyReplicas", 0)
    if updated < wanted or ready < wanted:
        yield f"{kind} {name}: {min(updated, ready)} of {wanted} ready"


def is_true(item: Object, condition: str) -> bool:
    """Whether the object's status says that ``condition`` holds."""
    return _condition(item, condition).get("status") == "True"


def _condition(item: Object, name: str) -> Mapping[str, Any]:
    found = item.get("status", {}).get("conditions") or ()
    return next((entry for entry in found if entry["type"] == name), {})


def _pod_state(status: Mapping[str, Any]) -> str:
    for container in status.get("containerStatuses") or ():
        waiting = container.get("state", {}).get("waiting")
        if waiting:
            return f"waiting: {waiting.get('reason', '')} {waiting.get('message', '')}".strip()
    return str(status.get("phase", "unknown")) + ", not ready"
