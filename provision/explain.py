"""Turns what is wrong with a site file into an administrator's words, each with its place."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from provision.descriptions import descriptions
from provision.errors import ConfigError
from provision.yamlfile import Location, YamlFile

FIX = "correct the site file, then: provision check (every key: provision schema)"
MOST_LISTED = 20

DNS_LABEL_WORDS = (
    "a DNS label: lower-case letters, digits and '-', a letter or digit first and last, at most 63"
)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, what, and what is allowed."""

    where: str
    what: str
    found: str = ""
    wanted: str = ""

    def __str__(self) -> str:
        wanted = f"; wanted: {self.wanted}" if self.wanted else ""
        found = f"; found: {self.found}" if self.found else ""
        return f"{self.where}: {self.what}{found}{wanted}"


def site_error(problems: Sequence[Problem]) -> ConfigError:
    """The error that tells of all ``problems``, the first in full."""
    first, *others = problems
    listed = [str(problem) for problem in others[:MOST_LISTED]]
    if len(others) > MOST_LISTED:
        listed.append(f"and {len(others) - MOST_LISTED} more")
    return ConfigError(
        first.what,
        where=first.where,
        found=first.found,
        wanted=first.wanted,
        fix=FIX,
        also=listed,
    )


def located(text: str, source: YamlFile) -> Problem:
    """A problem whose text begins with the key path that it is about, such as ``hosts.n1``."""
    path = text.split(" ", 1)[0].rstrip(":,")
    steps: Location = tuple(int(step) if step.isdigit() else step for step in path.split("."))
    return Problem(source.where(steps), text)


def explain(error: ValidationError, source: YamlFile, model: type[BaseModel]) -> list[Problem]:
    """The problems that pydantic found with ``source.data``, one a place, in the file's order."""
    problems: dict[tuple[Location, bool], list[Problem]] = {}
    for item in error.errors(include_url=False):
        location = _in_file(item["loc"], source.data, missing=item["type"] == "missing")
        about_key = item["type"] == "extra_forbidden" or "[key]" in item["loc"]
        # Each member of a union complains about the same value; the first complaint will do.
        problems.setdefault(
            (location, about_key), list(_problems(item, location, about_key, source, model))
        )
    return [problem for found in problems.values() for problem in found]


def _problems(
    item: Any, location: Location, about_key: bool, source: YamlFile, model: type[BaseModel]
) -> Iterator[Problem]:
    key = printable(".".join(map(str, location)))
    where = source.where(location, key=about_key)
    if item["type"] == "extra_forbidden" and location:
        siblings = _siblings(model, location)
        close = difflib.get_close_matches(str(location[-1]), siblings, n=1)
        guess = f", did you mean {close[0]}?" if close else ""
        yield Problem(where, f"unknown key {key}{guess}", wanted=_one_of(siblings))
        return
    if item["type"] == "missing":
        meaning = _meaning(model, location)
        yield Problem(where, f"the required setting {key} is missing", wanted=meaning)
        return
    if not location and item["type"] == "value_error":
        # What does not fit together; each line names the key that it is about.
        for line in _message(item).splitlines():
            yield located(line, source)
        return
    secret = any(getattr(kind, "withhold", False) for kind in _kinds_along(model, location))
    own = getattr(_last_kind(model, location), "wanted", "")
    what = "must name where the secret is, not be it" if secret and own else _what(item)
    found = "" if secret else _shown(item.get("input"))
    wanted = own or _wanted(item)
    if not wanted and (item["type"] == "string_pattern_mismatch" or item.get("input") is None):
        wanted = _meaning(model, location)
    yield Problem(where, f"{key or 'the site'} {what}", found, wanted)


_WORDS: Mapping[str, tuple[str, str]] = {
    "string_type": ("must be text", 'text; a number or true and false need quotes: "1.36"'),
    "string_unicode": ("is not text that can be written down", ""),
    "bool_type": ("must be true or false", "true or false"),
    "bool_parsing": ("must be true or false", "true or false"),
    "int_type": ("must be a whole number", "a whole number"),
    "int_parsing": ("must be a whole number", "a whole number"),
    "int_from_float": ("must be a whole number", "a whole number"),
    "float_type": ("must be a number", "a number"),
    "float_parsing": ("must be a number", "a number"),
    "finite_number": ("must be a finite number", "a number"),
    "dict_type": ("must be a mapping", "keys with values, a line each: KEY: VALUE"),
    "model_type": ("must be a mapping", "keys with values, a line each: KEY: VALUE"),
    "tuple_type": ("must be a list", "a list: [ONE, TWO]"),
    "list_type": ("must be a list", "a list: [ONE, TWO]"),
    "path_type": ("must be the path of a file", "text"),
}
"""What is wrong and what is wanted, by pydantic's type of error."""


_LIMITS: Mapping[str, str] = {
    "too_short": "has too few entries; the least is {min_length}",
    "too_long": "has too many entries; the most is {max_length}",
    "string_too_short": "is too short; the least is {min_length} characters",
    "string_too_long": "is too long; the most is {max_length} characters",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "greater_than": "must be more than {gt}",
    "less_than": "must be less than {lt}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "enum": "has a value that is not allowed",
    "literal_error": "has a value that is not allowed",
    "string_pattern_mismatch": "does not have the form that it must have",
}


def _what(item: Any) -> str:
    kind = item["type"]
    if item.get("input") is None:
        return "has no value"
    if kind in _WORDS:
        return _WORDS[kind][0]
    if kind in _LIMITS:
        return _LIMITS[kind].format(**item["ctx"])
    return _message(item)


def _wanted(item: Any) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind in _WORDS:
        return _WORDS[kind][1]
    match kind:
        case "enum" | "literal_error":
            allowed = re.findall(r"'([^']*)'", str(context["expected"]))
            return _one_of(allowed) if allowed else str(context["expected"])
        case "string_pattern_mismatch":
            return _PATTERNS.get(context["pattern"], "")
    return ""


DNS_LABEL = r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
"""RFC 1123 label, which is also what Kubernetes takes as a node's name."""
ENDPOINT = r"^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$"
"""``HOST:PORT``, an IPv6 address in brackets."""
_PATTERNS = {DNS_LABEL: DNS_LABEL_WORDS, ENDPOINT: "HOST:PORT, such as git.example.org:443"}


def printable(text: str) -> str:
    """``text`` with everything escaped that a terminal must not get."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _message(item: Any) -> str:
    return re.sub(r"^(Value|Assertion) error, ", "", str(item["msg"]))


def _shown(value: object) -> str:
    if value is None or isinstance(value, Mapping | list | tuple):
        return ""
    return printable(json.dumps(value, default=str, ensure_ascii=False))[:80]


def _one_of(names: Sequence[str]) -> str:
    return f"one of: {', '.join(names)}" if names else ""


def _meaning(model: type[BaseModel], location: Location) -> str:
    """What belongs at ``location``, as its docstring says."""
    kind = _last_kind(model, location)
    text = _description(model, location) or (kind and kind.__doc__) or ""
    return " ".join(text.split()).replace("``", "").rstrip(".")


def _in_file(steps: tuple[int | str, ...], data: Any, *, missing: bool) -> Location:
    """The part of pydantic's location that is in the file, not the names of its own types.

    Of a ``missing`` key the last step is kept: it is not in the file, but belongs there.
    """
    location: list[int | str] = []
    for number, step in enumerate(steps, start=1):
        if isinstance(data, Mapping) and str(step) in data:
            data = data[str(step)]
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        elif not (missing and number == len(steps)):
            continue
        location.append(step)
    return tuple(location)


def _flat(annotation: Any) -> Iterator[Any]:
    """The members of a type, unions and annotations undone."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _flat(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for member in get_args(annotation):
            yield from _flat(member)
    else:
        yield annotation


def _step(annotation: Any, step: int | str) -> tuple[Any, str]:
    """The type behind one key or index of a type, and what a model says of its field."""
    for kind in _flat(annotation):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            for name, field in kind.model_fields.items():
                if step in (name, field.alias):
                    return field.annotation, descriptions(kind).get(name, "")
        elif get_origin(kind) is dict:
            return get_args(kind)[1], ""
        elif get_origin(kind) in (tuple, list):
            return get_args(kind)[0], ""
    return None, ""


def _along(model: type[BaseModel], location: Location) -> Iterator[tuple[Any, str]]:
    annotation: Any = model
    for step in location:
        annotation, description = _step(annotation, step)
        yield annotation, description


def _kinds_along(model: type[BaseModel], location: Location) -> Iterator[Any]:
    for annotation, _ in _along(model, location):
        yield from _flat(annotation)


def _last_kind(model: type[BaseModel], location: Location) -> Any:
    """The model that belongs at ``location``, if one does."""
    last: Any = None
    for annotation, _ in _along(model, location):
        last = annotation
    kinds = (kind for kind in _flat(last) if isinstance(kind, type) and issubclass(kind, BaseModel))
    return next(kinds, None)


def _description(model: type[BaseModel], location: Location) -> str:
    last = ""
    for _, description in _along(model, location):
        last = description
    return last


def _siblings(model: type[BaseModel], location: Location) -> list[str]:
    """Keys that are allowed beside the last one of ``location``."""
    parent = _last_kind(model, location[:-1]) if location[:-1] else model
    if parent is None:
        return []
    return sorted(field.alias or name for name, field in parent.model_fields.items())
