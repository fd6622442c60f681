"""Where two versions of a Kubernetes object differ, as paths of fields."""

from __future__ import annotations

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
            within(value, live[key]) if key in live else value is None
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(live, list) and len(wanted) == len(live) and all(map(within, wanted, live))
        )
    return bool(wanted == live)


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
