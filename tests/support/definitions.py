"""Judges instances by the CustomResourceDefinitions of their kinds, as an API server would."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator

from provision.phase import Manifest

OWN = ("apiVersion", "kind", "metadata")
"""Fields of every object, which definitions do not describe."""


def instance_problems(objects: Sequence[Manifest]) -> list[str]:
    """What the definitions among ``objects`` say against the instances among them."""
    schemas = {
        (definition["spec"]["group"], version["name"], definition["spec"]["names"]["kind"]): (
            version["schema"]["openAPIV3Schema"]
        )
        for definition in objects
        if definition["kind"] == "CustomResourceDefinition"
        for version in definition["spec"]["versions"]
        if version["served"]
    }
    groups = {group for group, _, _ in schemas}
    return [
        f"{item['kind']} {item['metadata']['name']}: {problem}"
        for item in objects
        for group, _, version in [item["apiVersion"].partition("/")]
        if group in groups
        for problem in _problems(item, schemas.get((group, version, item["kind"])))
    ]


def instance_kinds(objects: Sequence[Manifest]) -> set[str]:
    """Kinds that the definitions among ``objects`` define and of which there are instances."""
    defined = {
        item["spec"]["names"]["kind"]
        for item in objects
        if item["kind"] == "CustomResourceDefinition"
    }
    return {item["kind"] for item in objects} & defined


def _problems(item: Manifest, schema: Mapping[str, Any] | None) -> Iterator[str]:
    if schema is None:
        yield f"{item['apiVersion']} is not served"
        return
    content = {name: value for name, value in item.items() if name not in OWN}
    described = {name: part for name, part in schema["properties"].items() if name not in OWN}
    strict = _strict({**schema, "properties": described})
    for error in Draft202012Validator(strict).iter_errors(content):
        yield f"{error.json_path} {error.message}"


def _strict(schema: Any) -> Any:
    """The schema, by which fields that it does not describe are wrong."""
    if isinstance(schema, list):
        return [_strict(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    strict = {name: _strict(part) for name, part in schema.items()}
    if schema.get("x-kubernetes-int-or-string") is True:
        strict.pop("type", None)
    loose = schema.get("x-kubernetes-preserve-unknown-fields") is True
    if isinstance(schema.get("properties"), Mapping) and schema.get("type") == "object":
        strict.setdefault("additionalProperties", loose)
    return strict
