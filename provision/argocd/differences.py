"""What Argo CD would change in the cluster, from what its API says of an application. Pure."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from provision.argocd.applications import Object, Resource

CONTEXT_LINES = 3
"""Lines around a change, as in every unified diff."""


@dataclass(frozen=True)
class Difference:
    """An object that is not as the repository says."""

    resource: Resource
    live: Object | None
    """As it stands; nothing where it is missing."""
    wanted: Object | None
    """As it is to be; nothing where the repository has it no more."""

    @property
    def what(self) -> str:
        """``missing``, ``surplus`` or ``changed``."""
        if self.live is None:
            return "missing"
        return "surplus" if self.wanted is None else "changed"

    def lines(self) -> Iterator[str]:
        """A unified diff from the cluster to the repository."""
        before, after = (_text(one) for one in (self.live, self.wanted))
        files = (f"cluster: {self.resource}", f"repository: {self.resource}")
        yield from difflib.unified_diff(before, after, *files, n=CONTEXT_LINES, lineterm="")


def differences(application: Object, managed: Iterable[Object]) -> Iterator[Difference]:
    """The objects of ``application`` that Argo CD holds to be OutOfSync.

    Parameters
    ----------
    application
        As the API gives it.
    managed
        Its managed resources, as the API gives them; the contents of Secrets are masked there.
    """
    resources = application.get("status", {}).get("resources") or ()
    differing = {_key(item) for item in resources if item.get("status") == "OutOfSync"}
    for item in managed:
        if _key(item) in differing:
            live = _state(item, "normalizedLiveState", "liveState")
            wanted = _state(item, "predictedLiveState", "targetState")
            yield Difference(Resource(*_key(item)[1:]), live, wanted)


def _key(item: Object) -> tuple[str, str, str, str]:
    group, kind, namespace, name = (
        str(item.get(part) or "") for part in ("group", "kind", "namespace", "name")
    )
    return group, kind, namespace, name


def _state(item: Object, *keys: str) -> Object | None:
    """The first that is said at all; Argo CD says ``null`` of an object that there is not."""
    text = next((item[key] for key in keys if item.get(key)), "null")
    state: Object | None = json.loads(text)
    return state


def _text(state: Object | None) -> Sequence[str]:
    if state is None:
        return []
    metadata: Mapping[str, Any] = state.get("metadata", {})
    kept = {name: value for name, value in metadata.items() if name != "managedFields"}
    return yaml.safe_dump({**state, "metadata": kept}, sort_keys=True).splitlines()
