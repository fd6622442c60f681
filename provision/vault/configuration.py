"""What Vault should hold besides secrets, as plain data, and how it differs from what it holds.

A configuration is a mapping of parts: ``audit`` devices, ``secrets`` engines
and ``auth`` methods by path, ``policies`` (their text) and ``users`` (their
policies) by name, ``authorities`` by the path of their PKI engine, ``paths``,
which is whatever else Vault tells at the very path where it is written, and
``secret_ids`` by the role of ``approle`` that they are for. Only what it names
is judged: what others keep in Vault is theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Configuration = Mapping[str, Mapping[str, Any]]

ADMIN_TEXT = """\
path "*" {
  capabilities = ["create", "read", "update", "patch", "delete", "list", "sudo"]
}
"""

SNAPSHOT_TEXT = """\
path "sys/storage/raft/snapshot" {
  capabilities = ["read"]
}
"""

ORDER = (
    "auth",
    "secrets",
    "policies",
    "users",
    "authorities",
    "paths",
    "secret_ids",
    "audit",
)
"""In which parts are made: what is in a method or an engine comes after it."""
MADE_ONCE = ("authorities", "secret_ids")
"""Parts of which it only counts that they are there: Vault does not tell what they are."""

_WORDS = {
    "audit": "audit device",
    "secrets": "secrets engine",
    "auth": "auth method",
    "policies": "policy",
    "users": "user",
    "authorities": "authority",
    "paths": "path",
    "secret_ids": "secret id of",
}


def configuration_differences(wanted: Configuration, found: Configuration) -> Iterator[str]:
    """What has to be done, a phrase each; nothing where all is as wanted."""
    for part, word in _WORDS.items():
        has = found.get(part, {})
        for name, value in wanted.get(part, {}).items():
            if name not in has:
                yield f"{word} {name} is missing, wanted present"
            elif part in MADE_ONCE:
                continue
            elif part == "policies":
                if has[name].strip() != value.strip():
                    yield f"{word} {name} is changed, wanted as the site says"
            else:
                yield from _option_differences(f"{word} {name}", value, has[name])


def _option_differences(
    title: str, wanted: Mapping[str, Any], found: Mapping[str, Any]
) -> Iterator[str]:
    for key, value in wanted.items():
        has = found.get(key)
        if isinstance(value, Mapping):
            yield from _option_differences(title, value, has or {})
        elif has != value:
            yield f"{title} has {key} {has}, wanted {value}"
