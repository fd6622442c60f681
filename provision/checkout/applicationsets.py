"""Applications that ApplicationSets make, as far as that is simple: of lists and of folders. Pure.

https://argo-cd.readthedocs.io/en/stable/operator-manual/applicationset/
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from provision.checkout.objects import mapping, sequence
from provision.manifests import Manifest

Folders = Callable[[int], Sequence[str]]
"""Folders of the repository down to so many levels, by their paths in it."""

_LONGEST_NAME = 253
_TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_FIELD = re.compile(r"\.([\w.]+)")
_INDEX = re.compile(r"index \.([\w.]+) (\d+)")


class NotRenderedError(Exception):
    """What an ApplicationSet takes that is not looked into here, or does not have."""


def applications(item: Manifest, repository: str, folders: Folders) -> list[Manifest]:
    """The Application objects that an ApplicationSet makes.

    ``repository`` is the address of the one whose ``folders`` are known.

    Raises
    ------
    NotRenderedError
        It takes more than lists, folders of that repository, and fields put into its template.
    """
    spec = mapping(item.get("spec"))
    if spec.get("templatePatch"):
        raise NotRenderedError("templatePatch")
    go = bool(spec.get("goTemplate"))
    template = mapping(spec.get("template"))
    made: list[Manifest] = []
    for generator in map(mapping, sequence(spec.get("generators"))):
        for given in _given(generator, go, repository, folders):
            filled = _filled(template, given, go)
            metadata = {**mapping(filled.get("metadata"))}
            # Where the ApplicationSet is, whatever the template says.
            metadata.pop("namespace", None)
            if "namespace" in item["metadata"]:
                metadata["namespace"] = item["metadata"]["namespace"]
            application = {"apiVersion": item["apiVersion"], "kind": "Application"}
            made.append({**application, "metadata": metadata, "spec": filled.get("spec")})
    return made


def _given(
    generator: Mapping[str, Any], go: bool, repository: str, folders: Folders
) -> Iterator[Mapping[str, Any]]:
    """What each application of a generator is made of."""
    (kind, said), *more = generator.items() or [("nothing", None)]
    own = mapping(said)
    used = {str(name) for name, value in own.items() if value}
    beyond = used - {"list": {"elements"}, "git": {"directories", "repoURL", "revision"}}.get(
        kind, set()
    )
    beyond.discard("requeueAfterSeconds")
    if kind not in ("list", "git") or more:
        kinds = ", ".join(map(str, generator))
        raise NotRenderedError(f"the generator {kinds or 'nothing'}")
    if beyond:
        raise NotRenderedError(f"{kind}.{min(beyond)}")
    if kind == "list":
        elements = [mapping(one) for one in sequence(own.get("elements"))]
        yield from elements if go else map(_flat, elements)
        return
    if own.get("repoURL") != repository:
        raise NotRenderedError(f"folders of {own.get('repoURL')}")
    for path in _chosen([mapping(one) for one in sequence(own.get("directories"))], folders):
        yield _of_path(path, go)


def _flat(element: Mapping[str, Any]) -> Mapping[str, Any]:
    made = {name: value for name, value in element.items() if name != "values"}
    values = mapping(element.get("values"))
    return {**made, **{f"values.{name}": value for name, value in values.items()}}


def _chosen(patterns: Sequence[Mapping[str, Any]], folders: Folders) -> Iterator[str]:
    taken = [str(one.get("path")) for one in patterns if not one.get("exclude")]
    left = [str(one.get("path")) for one in patterns if one.get("exclude")]
    deepest = max((len(one.split("/")) for one in taken), default=0)
    for path in folders(deepest):
        wanted = any(_matches(path, one) for one in taken)
        if wanted and not any(_matches(path, one) for one in left):
            yield path


def _matches(path: str, pattern: str) -> bool:
    """As Go's path.Match does, of which ``*`` never stands for a ``/``."""
    parts, patterns = path.split("/"), pattern.replace("[^", "[!").split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _of_path(path: str, go: bool) -> Mapping[str, Any]:
    segments = path.split("/")
    normal = re.sub(r"[^-a-z0-9.]", "-", segments[-1].lower())[:_LONGEST_NAME].strip("-.")
    if go:
        told = {"path": path, "basename": segments[-1], "basenameNormalized": normal}
        return {"path": {**told, "segments": segments}}
    return {
        "path": path,
        "path.basename": segments[-1],
        "path.basenameNormalized": normal,
        **{f"path[{number}]": part for number, part in enumerate(segments)},
    }


def _filled(template: Any, given: Mapping[str, Any], go: bool) -> Any:
    """The template with everything put in."""
    if isinstance(template, Mapping):
        return {
            _filled(name, given, go): _filled(value, given, go) for name, value in template.items()
        }
    if isinstance(template, list):
        return [_filled(one, given, go) for one in template]
    if not isinstance(template, str):
        return template
    return _TAG.sub(lambda tag: _value(tag[1].strip(), given, go), template)


def _value(tag: str, given: Mapping[str, Any], go: bool) -> str:
    found = _looked_up(tag, given) if go else given.get(tag)
    if go and isinstance(found, int | bool):
        return str(found).lower()
    if not isinstance(found, str):
        raise NotRenderedError(f"{{{{{tag}}}}}")
    return found


def _looked_up(tag: str, given: Mapping[str, Any]) -> object:
    """The value of one of the two forms of Go's templates that are known here."""
    field, index = _FIELD.fullmatch(tag), _INDEX.fullmatch(tag)
    wanted = field or index
    found: Any = given
    for name in wanted[1].split(".") if wanted else ():
        found = mapping(found).get(name)
    if index:
        items, number = sequence(found), int(index[2])
        return items[number] if number < len(items) else None
    return found if field else None
