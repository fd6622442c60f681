"""Kubernetes objects that nobody has looked into yet. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from provision.manifests import Manifest


class Made(NamedTuple):
    """An object, and what makes it."""

    item: Manifest
    who: str
    """Begins a sentence about it: ``application web``."""
    file: str
    """The manifest or template that it comes from, as the repository calls it, or nothing."""


def lacking_fields(item: Mapping[str, Any]) -> list[str]:
    """What keeps it from being a Kubernetes object."""
    lacking = [name for name in ("apiVersion", "kind") if not isinstance(item.get(name), str)]
    metadata = mapping(item.get("metadata"))
    names = (metadata.get(name) for name in ("name", "generateName"))
    if not any(isinstance(name, str) and name for name in names):
        lacking.append("metadata.name")
    return lacking


def mapping(item: object) -> Mapping[str, Any]:
    """``item`` where it is a mapping, else an empty one."""
    return item if isinstance(item, Mapping) else {}


def sequence(item: object) -> Sequence[Any]:
    """``item`` where it is a list, else an empty one."""
    return item if isinstance(item, list | tuple) else ()
