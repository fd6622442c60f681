"""Where another Vault keeps the unsealing key: its settings, and what proves that they stand."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Protocol

from pydantic import Field

from provision.pki import certificate_problem
from provision.privatefiles import read_given
from provision.site import Model, SecretRef, Site

PART = r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$"
IDENTITY = ("namespace", "mount", "key")
"""What says which key it is; the address only says where it is asked."""


class TransitSettings(Model):
    """The Vault that keeps the key, and its engine of kind transit."""

    address: Annotated[str, Field(pattern=r"^https?://[^/\\s?#@]+$")]
    """``https://address:port`` of the Vault that keeps the key."""
    key: Annotated[str, Field(pattern=PART)]
    """Name of the key."""
    mount: Annotated[str, Field(pattern=PART)] = "transit"
    """Path of its engine."""
    namespace: Annotated[str, Field(pattern=PART)] | None = None
    """Namespace that the engine is in, where that Vault has any."""
    ca: Path | None = None
    """Certificates in PEM to trust it by, a file relative to the site file; without it, those
    that the machines trust."""
    token: SecretRef
    """A token that may encrypt and decrypt with the key; Vault renews it where it can be."""


class Store(Protocol):
    """What is needed of the site's secret store."""

    def read(self, name: str) -> bytes:
        """The content of a secret."""


def transit_problems(site: Site, settings: TransitSettings, own: Collection[str]) -> Iterator[str]:
    """What is wrong with the settings; ``own`` are the addresses of the site's own Vault."""
    if not settings.address.startswith("https://"):
        yield (
            f"vault.transit.address {settings.address} is not encrypted, and the unsealing key"
            " passes there; give https://"
        )
    elif settings.address.rstrip("/") in own:
        yield (
            f"vault.transit.address {settings.address} is the site's own Vault, which could never"
            " unseal itself; give another one"
        )
    if settings.ca is not None:
        problem = certificate_problem(site.resolve(settings.ca))
        if problem:
            yield f"vault.transit.ca {settings.ca} {problem}"
    if settings.token.prompt:
        yield (
            "vault.transit.token cannot be asked for: every machine keeps it; give {file: PATH}"
            " or {store: NAME}"
        )


def transit_arguments(site: Site, settings: TransitSettings) -> dict[str, Any]:
    """The settings as plain data; the token is named and not told."""
    token = settings.token
    named = (
        {"store": token.store} if token.file is None else {"file": str(site.resolve(token.file))}
    )
    return {
        "address": settings.address,
        "namespace": settings.namespace or "",
        "mount": settings.mount.strip("/"),
        "key": settings.key,
        "authority": "" if settings.ca is None else site.resolve(settings.ca).read_text("utf-8"),
        "token": named,
    }


def token_of(arguments: Mapping[str, Any], store: Store) -> str:
    """The token that the arguments name.

    Raises
    ------
    SecretsError
        It is missing, or others can read it.
    """
    named = arguments["token"]
    content = read_given(Path(named["file"])) if "file" in named else store.read(named["store"])
    # Vault takes a token with a newline for one with a character that no token has.
    return content.decode().strip()


def digest(arguments: Mapping[str, Any], token: str) -> str:
    """What tells whether a machine has these settings, without telling them."""
    told = [arguments[name] for name in ("address", *IDENTITY, "authority")]
    return hashlib.sha256(json.dumps([*told, token]).encode()).hexdigest()


def kept_file(told: str) -> str:
    """sha256 of the file on a machine that holds a digest."""
    return hashlib.sha256(f"{told}\n".encode()).hexdigest()


def key_differences(configuration: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    """How the key that a machine's configuration names is another one than the site's."""
    for name, option in zip(IDENTITY, ("namespace", "mount_path", "key_name"), strict=True):
        found = re.search(rf'^ *{option} *= *"(.*)"$', configuration, re.MULTILINE)
        has = found.group(1).strip("/") if found else ""
        if 'seal "transit"' in configuration and has != arguments[name]:
            yield f"{name} is {has or 'none'}, wanted {arguments[name] or 'none'}"
