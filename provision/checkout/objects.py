"""Kubernetes objects in YAML that nobody has looked into yet. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

UNREAD = (yaml.YAMLError, RecursionError, TypeError, ValueError)
"""What reading YAML and handing it on as JSON may end with: it may hold dates, bytes or itself."""


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: ``2026-11-28`` and ``=`` are text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - replaces what the base class shares
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")
        ]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def documents(text: str) -> list[Any]:
    """What a stream of YAML holds; it may raise any of :data:`UNREAD`."""
    return [one for one in yaml.load_all(text, _Loader) if one]


def lacking_fields(item: Mapping[str, Any]) -> list[str]:
    """What keeps it from being a Kubernetes object."""
    lacking = [name for name in ("apiVersion", "kind") if not isinstance(item.get(name), str)]
    metadata = mapping(item.get("metadata"))
    if not any(isinstance(metadata.get(name), str) for name in ("name", "generateName")):
        lacking.append("metadata.name")
    return lacking


def mapping(item: object) -> Mapping[str, Any]:
    """``item`` where it is a mapping, else an empty one."""
    return item if isinstance(item, Mapping) else {}


def sequence(item: object) -> Sequence[Any]:
    """``item`` where it is a list, else an empty one."""
    return item if isinstance(item, list | tuple) else ()
