"""Applications of Argo CD, judged on what its API says of them. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]
SHORT = 8
"""Characters of a commit's hash that are shown."""
_COMMIT = re.compile("[0-9a-f]{40}([0-9a-f]{24})?")


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
class Standing:
    """How an application stands."""

    name: str
    sync: str
    health: str
    revision: str
    """Commit that it was last compared with; where that could not be done, because what the
    repository says does not render, the commit that runs and the branch after it, as git writes
    a range."""
    why: str
    """What Argo CD says where it is not as it should be; empty where it says nothing."""
    resource: Resource | None
    """The first resource that is not as it should be."""
    event: str = ""
    """What Kubernetes said last of that resource or of what it made."""

    @property
    def short_revision(self) -> str:
        """The commit as people read it."""
        return self.revision[:SHORT] if _COMMIT.fullmatch(self.revision) else self.revision

    @property
    def well(self) -> bool:
        """Whether it is Synced and Healthy."""
        return (self.sync, self.health) == ("Synced", "Healthy")

    @property
    def detail(self) -> str:
        """What is wrong, and with what."""
        said = (str(self.resource) if self.resource else "", self.why)
        event = f"({self.event})" if self.event else ""
        return " ".join(text for text in (": ".join(text for text in said if text), event) if text)

    def __str__(self) -> str:
        text = f"application {self.name} is {self.sync} and {self.health}"
        if self.resource is None:
            return f"{text}: {self.why}" if self.why else text
        return f"{text}, {self.detail}"


def standings(applications: Iterable[Object]) -> Iterator[Standing]:
    """How each application stands, by name."""
    for item in sorted(applications, key=lambda one: str(one["metadata"]["name"])):
        status = item.get("status", {})
        sync, health = (
            status.get(part, {}).get("status") or "Unknown" for part in ("sync", "health")
        )
        well = (sync, health) == ("Synced", "Healthy")
        resource = None if well else next(_wrong(status.get("resources") or ()), None)
        yield Standing(
            name=item["metadata"]["name"],
            sync=sync,
            health=health,
            revision=_revision(status),
            why="" if well else next(_reasons(status, resource), ""),
            resource=None if resource is None else _named(resource),
        )


def unfit(applications: Iterable[Standing], exceptions: Iterable[str]) -> Iterator[Standing]:
    """Every application that is not Synced and Healthy, but for the exceptions."""
    left_out = set(exceptions)
    return (one for one in applications if not one.well and one.name not in left_out)


def summary(applications: Sequence[Standing]) -> str:
    """All of them in one line: how many there are, by sync and by health."""
    if not applications:
        return "no applications"
    counted = (
        Counter(one.sync for one in applications),
        Counter(one.health for one in applications),
    )
    parts = (", ".join(f"{count[word]} {word}" for word in sorted(count)) for count in counted)
    return f"{len(applications)} applications: {'; '.join(parts)}"


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


def _revision(status: Object) -> str:
    compared = str(status.get("sync", {}).get("revision", ""))
    applied = [str(one.get("revision", "")) for one in status.get("history") or ()]
    if applied and compared and not _COMMIT.fullmatch(compared):
        return f"{applied[-1][:SHORT]}..{compared}"
    return compared


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
