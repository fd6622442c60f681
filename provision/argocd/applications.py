"""Applications of Argo CD, judged on what its API says of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]


@dataclass(frozen=True)
class Resource:
    """An object that an application is made of."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else self.title

    @property
    def title(self) -> str:
        """Without its namespace."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Unfit:
    """An application that is not Synced and Healthy."""

    name: str
    sync: str
    health: str
    why: str
    """What Argo CD says; empty where it says nothing."""
    resource: Resource | None
    """The first resource that is not as it should be."""

    def __str__(self) -> str:
        text = f"application {self.name} is {self.sync} and {self.health}"
        if self.resource is not None:
            text += f", {self.resource}"
        return f"{text}: {self.why}" if self.why else text


def unfit(applications: Iterable[Object], exceptions: Iterable[str]) -> Iterator[Unfit]:
    """Every application that is not Synced and Healthy, by name, but for the exceptions."""
    left_out = set(exceptions)
    for item in sorted(applications, key=lambda one: str(one["metadata"]["name"])):
        name = item["metadata"]["name"]
        status = item.get("status", {})
        sync, health = (
            status.get(part, {}).get("status") or "Unknown" for part in ("sync", "health")
        )
        if name in left_out or (sync, health) == ("Synced", "Healthy"):
            continue
        resource = next(_wrong(status.get("resources") or ()), None)
        yield Unfit(
            name=name,
            sync=sync,
            health=health,
            why=next(_reasons(status, resource), ""),
            resource=None if resource is None else _named(resource),
        )


def last_event(events: Iterable[Object], resource: Resource) -> str:
    """What Kubernetes said last of ``resource`` or of what it made, warnings first."""
    about = [
        event
        for event in events
        if _is_of(str(event.get("involvedObject", {}).get("name", "")), resource.name)
    ]
    if not about:
        return ""
    newest = max(about, key=lambda event: (event.get("type") == "Warning", _moment(event)))
    return f"{newest.get('reason', '')}: {newest.get('message', '')}"


def _wrong(resources: Iterable[Object]) -> Iterator[Object]:
    """Those that are not healthy, then those that are not synced."""
    listed = list(resources)
    for item in listed:
        if item.get("health", {}).get("status", "Healthy") not in ("Healthy", "Suspended"):
            yield item
    for item in listed:
        if item.get("status", "Synced") != "Synced":
            yield item


def _reasons(status: Object, resource: Object | None) -> Iterator[str]:
    """What may explain it, the most telling first."""
    for condition in status.get("conditions") or ():
        if str(condition.get("type", "")).endswith("Error"):
            yield str(condition.get("message", ""))
    told = str((resource or {}).get("health", {}).get("message", ""))
    if told:
        yield told
    operation = status.get("operationState", {})
    if operation.get("phase") in ("Failed", "Error"):
        yield str(operation.get("message", ""))
    if not status:
        yield "Argo CD has not looked at it yet"


def _named(resource: Object) -> Resource:
    return Resource(
        kind=str(resource.get("kind", "")),
        namespace=str(resource.get("namespace", "")),
        name=str(resource.get("name", "")),
    )


def _is_of(name: str, maker: str) -> bool:
    # A Deployment's pods are called after it.
    return name == maker or name.startswith(f"{maker}-")


def _moment(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")
