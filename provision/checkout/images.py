"""Images that objects name, and where machines get them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provision.checkout.objects import Made
from provision.checkout.told import AGAIN, Told
from provision.depot_tree import registry
from provision.manifests import Manifest

IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(:[0-9]+)?(/[a-z0-9._-]+)*(:[\w.-]+)?(@[a-z0-9:]+)?")
NAMING_NO_IMAGES = (
    "Application",
    "ApplicationSet",
    "ConfigMap",
    "CustomResourceDefinition",
    "Secret",
)

BUNDLES_ALONE = "bundle.internal"
"""Registry of images that are published nowhere; the catalog gives some such a name."""


@dataclass(frozen=True)
class Depots:
    """What the site's depots have.

    Parameters
    ----------
    images
        Digest by name, of the bundle's images.
    fallback
        Whether machines ask a registry itself for what no depot has
        (``containerd.upstream_fallback``).
    """

    images: Mapping[str, str]
    fallback: bool = False

    def have(self, image: str) -> bool:
        """Whether they have it, by its name or by its digest under any name of its repository."""
        name, _, digest = image.partition("@")
        if not digest:
            return name in self.images
        return any(
            _repository(name) == _repository(one)
            for one, has in self.images.items()
            if has == digest
        )

    def alone(self, name: str) -> bool:
        """Whether machines ask nobody else for images of the registry ``name``."""
        served = {registry(image) for image in self.images}
        return name == BUNDLES_ALONE or (name in served and not self.fallback)


def judge_images(told: Told, depots: Depots, made: Sequence[Made]) -> frozenset[str]:
    """Tell of images that machines cannot have, and of those that only a registry has.

    Returns the registries that machines have to reach.
    """
    users: dict[str, list[str]] = {}
    for one in made:
        for image in map(full_name, named_images([one.item])):
            of = users.setdefault(image, [])
            of += [one.who] if one.who not in of else []
    lacking = [image for image in sorted(users) if not depots.have(image)]
    never = [image for image in lacking if depots.alone(registry(image))]
    if never:
        told.error(
            "the platform runs images that no machine can have",
            found=_listed(never, users),
            wanted="images of the bundle: machines ask no one else for images of "
            + ", ".join(sorted({registry(image) for image in never})),
            fix="take components that have them into platform.images and build the bundle anew,"
            f" or use other images, {AGAIN}",
        )
    elsewhere = [image for image in lacking if image not in never]
    registries = frozenset(map(registry, elsewhere))
    if elsewhere:
        told.warning(
            "the platform runs images that the bundle does not have",
            found=_listed(elsewhere, users),
            wanted="that every machine can pull them from " + ", ".join(sorted(registries)),
            fix="use images of the bundle, or see to it that machines can pull these",
        )
    return registries


def _listed(images: Sequence[str], users: Mapping[str, Sequence[str]]) -> str:
    return "; ".join(f"{image} of {', '.join(users[image])}" for image in images)


def _repository(name: str) -> str:
    """A name without its tag."""
    first, slash, last = name.rpartition("/")
    return f"{first}{slash}{last.partition(':')[0]}"


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
