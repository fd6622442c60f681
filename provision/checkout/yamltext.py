"""YAML as Kubernetes reads it, of which nobody knows yet what it says. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

UNREAD = (yaml.YAMLError, RecursionError, TypeError, ValueError)
"""What reading YAML and handing it on as JSON may end with: it may hold dates, bytes or itself."""

_SOURCE = "# Source: "
"""What helm writes before every document, with the template's path."""
_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""Ends of lines, as YAML counts them."""
_PREFIX = "tag:yaml.org,2002:"
_PLAIN: Mapping[str, str] = {
    # Go's YAML takes more for yes and no than PyYAML, and nothing for hours and minutes.
    "bool": r"[yYnN]|yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF",
    "int": r"[-+]?(?:0[bB][01_]+|0[oO]?[0-7_]+|0[xX][0-9a-fA-F_]+|0|[1-9][0-9_]*)",
    "float": r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
}
_BEGINNING: Mapping[str, str] = {
    "bool": "yYnNtTfFoO",
    "int": "-+0123456789",
    "float": "-+0123456789.",
}
_LARGEST_INTEGER = 2**64


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it, which is sigs.k8s.io/yaml's part of YAML 1.1.

    ``2026-11-28``, ``=`` and ``22:22`` are text, ``0440`` and ``0o440`` are 288, ``1e3`` is a
    number, and ``y`` is true.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012 - replaces what the base class shares
        first: [
            (tag, pattern)
            for tag, pattern in resolvers
            if tag.removeprefix(_PREFIX) not in (*_PLAIN, "timestamp", "value")
        ]
        for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
    }


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int | float:
    plain = str(loader.construct_scalar(node)).replace("_", "")
    octal = re.fullmatch(r"([-+]?)0([0-7]+)", plain)
    number = int("".join(octal.groups()), 8) if octal else int(plain, 0)
    # What is too large for Go's integers becomes one of its floating-point numbers.
    return number if abs(number) < _LARGEST_INTEGER else float(plain)


def _truth(loader: _Loader, node: yaml.ScalarNode) -> bool:
    return str(loader.construct_scalar(node)).lower() in ("y", "yes", "true", "on")


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    plain = str(loader.construct_scalar(node)).replace("_", "").lower()
    return float(re.sub(r"\.(inf|nan)$", r"\1", plain))


for _tag, _pattern in _PLAIN.items():
    _Loader.add_implicit_resolver(
        _PREFIX + _tag, re.compile(f"^(?:{_pattern})$"), list(_BEGINNING[_tag])
    )
_Loader.add_constructor(f"{_PREFIX}int", _integer)
_Loader.add_constructor(f"{_PREFIX}bool", _truth)
_Loader.add_constructor(f"{_PREFIX}float", _float)


def documents(text: str) -> list[Any]:
    """What a stream of YAML holds; it may raise any of :data:`UNREAD`."""
    return [one for one, _ in sourced(text)]


def sourced(text: str) -> Iterator[tuple[Any, str]]:
    """What a stream of YAML holds, and the template that helm says each is of.

    It may raise any of :data:`UNREAD`.
    """
    loader = _Loader(text)
    lines = _BREAK.split(text)
    read = 0
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                break
            # Only what stands before a document is about it: its own text may say anything.
            above = lines[read : node.start_mark.line]
            source = next((one for one in reversed(above) if one.startswith(_SOURCE)), "")
            read = node.end_mark.line
            document = loader.construct_document(node)
            if document:
                yield document, source.removeprefix(_SOURCE).strip()
    finally:
        loader.dispose()
