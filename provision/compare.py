"""Where two versions of a Kubernetes object differ, as paths of fields."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

IGNORED = (
    "status",
    "metadata.creationTimestamp",
    "metadata.generation",
    "metadata.managedFields",
    "metadata.resourceVersion",
    "metadata.uid",
)
"""What the API server itself writes."""

LEFT_OUT = (("initialDelaySeconds", 0),)
"""What the API server leaves out when it means nothing (``omitempty`` in k8s.io/api/core/v1)."""


def differing_fields(live: Any, wanted: Any, most: int = 8) -> list[str]:
    """Paths at which ``wanted`` differs from ``live``, at most ``most`` of them.

    Only paths: values may be secret.
    """
    found: list[str] = []
    for path in _differences(live, wanted, ""):
        found.append(path)
        if len(found) == most:
            break
    return found


def within(wanted: Any, live: Any) -> bool:
    """Whether everything that ``wanted`` says is so in ``live``, in the same words.

    False does not yet mean that it is not so: the API server has words of its own,
    such as ``100m`` for ``0.1``.
    """
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            within(value, live[key]) if key in live else value is None or (key, value) in LEFT_OUT
            for key, value in wanted.items()
        )
    if isinstance(wanted, int) and isinstance(live, str):
        # A quantity, such as a number of processors.
        return str(wanted) == live
    if isinstance(wanted, list):
        return (
            isinstance(live, list) and len(wanted) == len(live) and all(map(within, wanted, live))
        )
    return bool(wanted == live)


def applied_fields(live: Mapping[str, Any], manager: str) -> Mapping[str, Any]:
    """The fields of an object that ``manager`` applied, as ``fieldsV1`` of its managedFields.

    Server-side apply keeps that record
    (https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management).
    """
    for entry in live["metadata"].get("managedFields") or ():
        applied = (entry.get("manager"), entry.get("operation")) == (manager, "Apply")
        if applied and not entry.get("subresource"):
            fields: Mapping[str, Any] = entry.get("fieldsV1", {})
            return fields
    return {}


def says_all(manifest: Any, fields: Mapping[str, Any]) -> bool:
    """Whether ``manifest`` says every one of ``fields``, so that applying it takes none away.

    False does not yet mean that it does not: a list's item may be known by a key that
    the API server filled in.
    """
    for step, below in fields.items():
        kind, _, name = step.partition(":")
        if kind == "f":
            found = isinstance(manifest, Mapping) and name in manifest
            item = manifest[name] if found else None
        elif kind == "k":
            key = json.loads(name)
            item = next((one for one in _items(manifest) if key.items() <= one.items()), None)
            found = item is not None
        elif kind == "v":
            item, found = None, json.loads(name) in _items(manifest)
        else:
            # The item itself (".").
            continue
        if not found or not says_all(item, below):
            return False
    return True


def _items(manifest: Any) -> list[Any]:
    return manifest if isinstance(manifest, list) else []


def _differences(live: Any, wanted: Any, path: str) -> Iterator[str]:
    if path in IGNORED:
        return
    if isinstance(live, Mapping) and isinstance(wanted, Mapping):
        for key in sorted({*live, *wanted}):
            below = f"{path}.{key}" if path else key
            if key not in live or key not in wanted:
                if below not in IGNORED:
                    yield below
            else:
                yield from _differences(live[key], wanted[key], below)
    elif isinstance(live, list) and isinstance(wanted, list) and len(live) == len(wanted):
        for index, (one, other) in enumerate(zip(live, wanted, strict=True)):
            yield from _differences(one, other, f"{path}[{index}]")
    elif live != wanted:
        yield path
