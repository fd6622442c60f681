"""What Vault should hold besides secrets, as plain data, and how it differs from what it holds.

A configuration is a mapping of parts: external ``plugins`` by kind and name,
``audit`` devices, ``secrets`` engines and ``auth`` methods by path,
``policies`` (their text) and ``users`` (their policies) by name, ``authorities``
by the path of their PKI engine, ``paths``, which is whatever else Vault tells at
the very path where it is written, such as roles, and ``secret_ids`` by the role
of ``approle`` that they are for. Only what it names is judged: what others keep
in Vault is theirs.

A value of ``paths`` may be a text of the site's secret store, named
``{store: NAME}`` and filled in on the controller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
    "plugins",
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
    "plugins": "plugin",
    "secrets": "secrets engine",
    "auth": "auth method",
    "policies": "policy",
    "users": "user",
    "authorities": "authority",
    "paths": "path",
    "secret_ids": "secret id of",
}
_SECONDS = {"s": 1, "m": 60, "h": 3600}


def seconds(duration: str) -> int:
    """A time such as ``87600h`` as Vault tells it."""
    return int(duration[:-1]) * _SECONDS[duration[-1]]


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


def with_texts(configuration: Configuration, read: Callable[[str], bytes]) -> Configuration:
    """The configuration with every text that it names; ``read`` is the secret store's."""
    filled = {
        name: {
            key: _text(value, read) if _is_stored(value) else value
            for key, value in options.items()
        }
        for name, options in configuration.get("paths", {}).items()
    }
    return {**configuration, **({"paths": filled} if filled else {})}


def without_texts(
    found: Configuration, wanted: Configuration, read: Callable[[str], bytes]
) -> Configuration:
    """What was found, with the name of each text where it is the one that is wanted."""
    named = {
        name: {
            **options,
            **{
                key: value
                for key, value in wanted["paths"][name].items()
                if _is_stored(value) and str(options.get(key)).strip() == _text(value, read)
            },
        }
        for name, options in found.get("paths", {}).items()
    }
    return {**found, "paths": named}


def _is_stored(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"store"}


def _text(value: Mapping[str, str], read: Callable[[str], bytes]) -> str:
    return read(value["store"]).decode().strip()


def _option_differences(
    title: str, wanted: Mapping[str, Any], found: Mapping[str, Any]
) -> Iterator[str]:
    for key, value in wanted.items():
        has = found.get(key)
        if _is_stored(value):
            if has != value:
                yield f"{title} has another {key}, wanted {value['store']}"
        elif isinstance(value, Mapping):
            yield from _option_differences(title, value, has or {})
        elif _in_order(has) != _in_order(value):
            yield f"{title} has {key} {has}, wanted {value}"


def _in_order(value: Any) -> Any:
    """Vault keeps lists of names as sets."""
    return sorted(value) if isinstance(value, list) else value
