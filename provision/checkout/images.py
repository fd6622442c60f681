"""Images that objects name, be they pods or resources that operators make pods of. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from provision.manifests import Manifest

IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]+)?(/[a-z0-9._-]+)*(:[\w.-]+)?(@[a-z0-9:]+)?")
NAMING_NO_IMAGES = (
    "Application",
    "ApplicationSet",
    "ConfigMap",
    "CustomResourceDefinition",
    "Secret",
)


def named_images(objects: Sequence[Manifest]) -> Iterator[str]:
    """Every image that the objects name, for pods or for what makes pods of a custom resource.

    More than :func:`provision.charts.images`, which must not refuse what only looks like one.
    """
    # An Application names what its chart is given, and a definition gives examples.
    todo: list[Any] = [item for item in objects if item["kind"] not in NAMING_NO_IMAGES]
    seen: set[int] = set()
    while todo:
        item = todo.pop()
        # YAML's aliases make one mapping part of many, or of itself.
        if id(item) in seen:
            continue
        if isinstance(item, Mapping):
            seen.add(id(item))
            image = item.get("image")
            if isinstance(image, str) and IMAGE.fullmatch(image):
                yield image
            todo.extend(item.values())
        elif isinstance(item, list):
            seen.add(id(item))
            todo.extend(item)


def full_name(image: str) -> str:
    """An image's name with its registry, which is Docker's where none is named."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"docker.io/{image}" if slash else f"docker.io/library/{image}"
