"""Writes docs/site-reference.md from the site's own schema, so that it cannot drift.

.venv/bin/python scripts/site_reference.py          # write it
.venv/bin/python scripts/site_reference.py --check  # exit 1 where it differs
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from provision.descriptions import DescribedSchema
from provision.plan import discover, settings_models
from provision.site import site_model

PAGE = Path(__file__).resolve().parents[1] / "docs" / "site-reference.md"

HEAD = """\
# Site file

One hand-written file, `site.yaml`, says everything about a site. This page lists its keys; it is
made from the same schema that `provision` reads the file with, and `provision schema` prints that
schema for editors (YAML language servers complete and check a site file with it).

- The file is read by YAML 1.2's rules: `no`, `1:30` and `2026-11-23` are text. Keys are always
  text. Anchors, aliases and merges (`<<`) work; tags do not.
- An unknown key is an error. So is a key that stands twice.
- Relative paths start at the folder of the site file.
- No secret stands in the file; where one is needed, a [reference](#reference-to-a-secret) says
  where it is.
- Every mistake is told at once, each with its line and column; see [Errors](errors.md).

Each component's settings stand under the component's name. A component whose settings all have
defaults may be left out; one that is optional is not installed then.
"""

OPTIONAL = "Optional: without this key the site does not have it.{enough}\n"


def page() -> str:
    """The whole page as Markdown."""
    phases = discover()
    schema = site_model(settings_models(phases)).model_json_schema(schema_generator=DescribedSchema)
    components = {
        _reference(schema["properties"][phase.settings.component]): phase.settings.component
        for phase in phases
    }
    reference = _Reference(schema["$defs"], components)
    parts = [HEAD, *reference.section("The site", schema, level=2)]
    for name, title in TITLES.items():
        parts += reference.section(title, schema["$defs"][name], level=2)
    parts.append("## Components\n")
    optional = {phase.settings.component for phase in phases if phase.settings.optional}
    for name, component in components.items():
        parts += reference.section(f"`{component}`", schema["$defs"][name], level=3)
        if component in optional:
            required = schema["$defs"][name].get("required")
            enough = "" if required else f" `{component}: {{}}` is enough."
            parts.append(OPTIONAL.format(enough=enough))
        parts.append(
            f"More on the component's own page: [{component}](components/{component}.md).\n"
        )
    rest = {
        name: definition
        for name, definition in sorted(schema["$defs"].items())
        if "properties" in definition and name not in TITLES and name not in components
    }
    if rest:
        parts.append("## Parts of components' settings\n")
    for name, definition in rest.items():
        parts += reference.section(name, definition, level=3)
    return "\n".join(parts)


TITLES = {
    "Host": "A machine",
    "Connection": "Connection",
    "NetworkSettings": "Networks",
    "BundleSettings": "Bundle",
    "SecretSettings": "Secrets",
    "WatchSettings": "Watch",
    "SecretRef": "Reference to a secret",
}
"""Headings of the parts that are no component's, in the order of the page."""

SCALARS = {
    "ipv4": "IP address",
    "ipv6": "IP address",
    "ipv4network": "network",
    "ipv6network": "network",
    "path": "path",
}
KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
}


class _Reference:
    """Turns definitions of a JSON schema into tables.

    ``components`` gives a component's name by the definition of its settings.
    """

    def __init__(self, definitions: Mapping[str, Any], components: Mapping[str, str]) -> None:
        self.definitions = definitions
        self.components = components

    def section(self, title: str, definition: Mapping[str, Any], *, level: int) -> Iterator[str]:
        yield f"{'#' * level} {title}\n"
        if definition.get("description"):
            yield _text(definition["description"]) + "\n"
        properties = definition.get("properties", {})
        if not properties:
            yield "No settings.\n"
            return
        required = set(definition.get("required", ()))
        rows = ["| key | value | default | meaning |", "|---|---|---|---|"]
        for key, value in properties.items():
            default = "**required**" if key in required else _default(value)
            meaning = _cell(_text(self._meaning(value)))
            rows.append(f"| `{key}` | {self._type(value)} | {default} | {meaning} |")
        yield "\n".join(rows) + "\n"

    def _meaning(self, value: Mapping[str, Any]) -> str:
        if "description" in value or "$ref" not in value:
            return str(value.get("description", ""))
        return str(self.definitions[_reference(value)].get("description", ""))

    def _type(self, value: Mapping[str, Any]) -> str:
        if "$ref" in value:
            return self._named(_reference(value))
        if "anyOf" in value:
            kinds = [item for item in value["anyOf"] if item.get("type") != "null"]
            return " or ".join(dict.fromkeys(map(self._type, kinds)))
        if "enum" in value or "const" in value:
            return _choices(value.get("enum", [value.get("const")]))
        if value.get("type") == "array":
            return f"list: {self._type(value.get('items', {}))}"
        if value.get("type") == "object":
            patterns = value.get("patternProperties") or {"": value.get("additionalProperties")}
            inner = next(iter(patterns.values()))
            return f"mapping to {self._type(inner)}" if isinstance(inner, dict) else "mapping"
        return SCALARS.get(value.get("format", "")) or _scalar(value)

    def _named(self, name: str) -> str:
        if "enum" in self.definitions[name]:
            return _choices(self.definitions[name]["enum"])
        title = self.components.get(name) or TITLES.get(name, name)
        return f"[{title if title == name else title.lower()}](#{title.lower().replace(' ', '-')})"


def _reference(value: Mapping[str, Any]) -> str:
    """Name of the definition that a property stands for."""
    return str(value["$ref"]).rsplit("/", 1)[1]


def _choices(values: Sequence[object]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _scalar(value: Mapping[str, Any]) -> str:
    name = KINDS.get(str(value.get("type")), "anything")
    low, high = value.get("minimum"), value.get("maximum")
    if low is not None and high is not None:
        return f"{name}, {low} to {high}"
    if low is not None:
        return f"{name}, {low} or more"
    return name if high is None else f"{name}, {high} or less"


def _default(value: Mapping[str, Any]) -> str:
    default = value.get("default")
    if default is None or default == [] or isinstance(default, dict):
        return ""
    return _cell(f"`{json.dumps(default)}`")


def _text(text: str) -> str:
    """A docstring as one Markdown paragraph: its double backticks are Markdown's single ones."""
    return " ".join(text.split()).replace("``", "`")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """Write the page, or say whether it differs."""
    made = page()
    if arguments == ["--check"]:
        if PAGE.read_text("utf-8") == made:
            return 0
        sys.stderr.write(f"{PAGE} is not what the schema says; run: {sys.argv[0]}\n")
        return 1
    PAGE.write_text(made, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
