"""Lay a site's own settings over a component's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def deep_merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` laid on it.

    Mappings are merged key by key. Lists whose items all have a ``name`` (as
    kubeadm's ``extraArgs`` and ``extraVolumes``) are merged by that name; every
    other list, and every plain value, is replaced. A null in ``over`` takes the
    key away.
    """
    merged = dict(base)
    for key, value in over.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = deep_merge(merged[key], value)
        elif _is_named(value) and _is_named(merged.get(key)):
            merged[key] = _merge_named(merged[key], value)
        else:
            merged[key] = value
    return merged


def _is_named(value: Any) -> bool:
    return (
        isinstance(value, Sequence)
        and not isinstance(value, str)
        and bool(value)
        and all(isinstance(item, Mapping) and "name" in item for item in value)
    )


def _merge_named(
    base: Sequence[Mapping[str, Any]], over: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    by_name = {item["name"]: dict(item) for item in base}
    for item in over:
        by_name[item["name"]] = deep_merge(by_name.get(item["name"], {}), item)
    return list(by_name.values())
