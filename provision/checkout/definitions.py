"""Schemas of custom resources, out of CustomResourceDefinitions. Pure.

A definition's schema says what values a field may have, and the API server takes off every field
that it does not name, or refuses it when asked to be strict. Here a field that is not named is an
error.

https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from provision.checkout.builtin import OBJECT_META, Schema
from provision.checkout.objects import mapping, sequence
from provision.manifests import Manifest

DEFINITION = "CustomResourceDefinition"
TYPES = ("array", "boolean", "integer", "number", "object", "string")
_KEPT = (
    *("enum", "format", "pattern"),
    *("maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum"),
    *("maxItems", "minItems", "maxLength", "minLength", "maxProperties", "minProperties"),
)
"""Words that mean the same as in JSON Schema's draft 4."""
_PRESERVED = "x-kubernetes-preserve-unknown-fields"
_OWN: Mapping[str, Schema] = {
    "apiVersion": {"type": "string"},
    "kind": {"type": "string"},
    "metadata": {"$ref": OBJECT_META},
}
"""What every object has, whether its definition says so or not."""


class Version(NamedTuple):
    """One version of a kind that a definition makes the API server serve."""

    api_version: str
    kind: str
    raw: Schema
    """The schema in the words of the definition."""


def versions(definition: Manifest) -> Iterator[Version]:
    """What a definition defines: the versions that are served, and say what they look like."""
    spec = mapping(definition.get("spec"))
    kind = str(mapping(spec.get("names")).get("kind"))
    for version in map(mapping, sequence(spec.get("versions"))):
        raw = mapping(version.get("schema")).get("openAPIV3Schema")
        if version.get("served") and isinstance(raw, Mapping):
            yield Version(f"{spec.get('group')}/{version.get('name')}", kind, raw)


def schema(raw: Schema, *, patterns: bool) -> Schema:
    """A definition's schema as JSON Schema's draft 4, in which an unknown field is an error.

    ``patterns`` says whether regular expressions are kept. Some never come to an end in Python,
    which Go's always do, so only those are that no stranger wrote.
    """
    made = dict(_converted(raw, strict=True, patterns=patterns))
    made["properties"] = {**mapping(made.get("properties")), **_OWN}
    made["required"] = [name for name in made.get("required", ()) if name != "status"]
    return made


def _converted(raw: Schema, *, strict: bool, patterns: bool) -> Schema:
    """``strict`` where unknown fields are errors: not in what only narrows other schemas down."""

    def nested(part: object, *, strict: bool = strict) -> Schema:
        return _converted(mapping(part), strict=strict, patterns=patterns)

    made: dict[str, Any] = {name: raw[name] for name in _KEPT if name in raw}
    if not patterns:
        made.pop("pattern", None)
    if raw.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    elif raw.get("type") in TYPES:
        made["type"] = [raw["type"], "null"] if raw.get("nullable") else raw["type"]
    properties = mapping(raw.get("properties"))
    made["properties"] = {str(name): nested(part) for name, part in properties.items()}
    # A key without a value is none by then, which such a field may have.
    made["required"] = [
        name
        for name in sequence(raw.get("required"))
        if not mapping(properties.get(name)).get("nullable")
    ]
    if isinstance(raw.get("items"), Mapping):
        made["items"] = nested(raw["items"])
    for word in ("allOf", "anyOf", "oneOf"):
        if parts := sequence(raw.get(word)):
            made[word] = [nested(part, strict=False) for part in parts]
    if isinstance(raw.get("not"), Mapping):
        made["not"] = nested(raw["not"], strict=False)
    additional = raw.get("additionalProperties")
    if isinstance(additional, Mapping):
        made["additionalProperties"] = nested(additional)
    elif strict and raw.get("type") == "object" and not (additional or raw.get(_PRESERVED)):
        made["additionalProperties"] = False
        if raw.get("x-kubernetes-embedded-resource"):
            made["properties"] |= _OWN
    return {name: value for name, value in made.items() if value != [] or name == "enum"}
