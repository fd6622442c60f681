"""Schemas of the kinds that Kubernetes itself has, by its version.

They are data of the package ``kubernetes-validate``: one file a version, made from the OpenAPI
document of that version's API server, in the variant in which an unknown field is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

Schema = Mapping[str, Any]

REFERENCE = "#/$defs/"
OBJECT_META = f"{REFERENCE}io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_FOLDER = re.compile(r"v(\d+)\.(\d+)\.\d+-local-strict")
_EXACT: Mapping[str, Schema] = {
    # Said there by alternatives, of which an error could only tell that none fits.
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["integer", "string"]},
    # The pattern is that of Kubernetes' own documentation of Quantity.
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {
        "type": ["number", "string"],
        "pattern": r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$",
    },
}


class BuiltIn(NamedTuple):
    """What one version of Kubernetes has; not to be changed."""

    version: str
    """Of Kubernetes, its first two numbers: the schemas' own, not the one asked for."""
    parts: Mapping[str, Schema]
    """What schemas refer to, by name."""
    kinds: Mapping[tuple[str, str], Schema]
    """By ``apiVersion`` and ``kind``."""


def built_in(version: str) -> BuiltIn:
    """The schemas for a version of Kubernetes.

    They are those of the newest version that is not newer, for there is no more than that
    between a site's patch release and the first one; of a version that came after the
    package, those of the newest one it knows.
    """
    wanted = _numbers(version)
    folders = {
        (int(found[1]), int(found[2])): path
        for path in _data().iterdir()
        if (found := _FOLDER.fullmatch(path.name))
    }
    known = [one for one in folders if one <= wanted]
    chosen = max(known) if known else min(folders)
    return _read(f"{chosen[0]}.{chosen[1]}", folders[chosen])


def minor(version: str) -> str:
    """The first two numbers of a version."""
    return ".".join(map(str, _numbers(version)))


def _numbers(version: str) -> tuple[int, int]:
    first, second = version.split(".")[:2]
    return int(first), int(second)


def _data() -> Path:
    # The package itself, which would import all that it works with, is not wanted.
    found = find_spec("kubernetes_validate")
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            "kubernetes-validate is not installed", name="kubernetes_validate"
        )
    return Path(found.origin).parent / "kubernetes-json-schema"


@lru_cache(maxsize=2)
def _read(version: str, folder: Path) -> BuiltIn:
    parts = json.loads((folder / "_definitions.json").read_text("utf-8"))["$defs"]
    parts.update(_EXACT)
    kinds = {}
    for part in parts.values():
        own = part.get("x-kubernetes-group-version-kind", ())
        # Others, such as DeleteOptions and lists, are asked and answered, and never kept.
        if len(own) == 1 and "metadata" in part.get("properties", ()):
            (name,) = own
            group = f"{name['group']}/" if name["group"] else ""
            if not name["kind"].endswith("List"):
                kinds[group + name["version"], name["kind"]] = part
    return BuiltIn(version, parts, kinds)
