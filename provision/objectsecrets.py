"""Secrets inside Kubernetes objects: named in the manifest, filled in at the last moment.

A component writes ``data: {tls.key: {store: NAME}}``, ``{file: PATH}`` or what
:func:`kept_in_vault` gives into an object of kind Secret. So the manifest can
travel in plans and inventories; whoever sends it to the cluster fills the values
in (:func:`with_secrets`). A Secret that still has a reference in it is one that
Kubernetes refuses.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from provision.manifests import Manifest
from provision.privatefiles import read_given
from provision.site import SecretRef, Site


class Store(Protocol):
    """What is needed of the secret store."""

    def read(self, name: str) -> bytes:
        """The content of the file ``name``."""


def stored(name: str) -> dict[str, str]:
    """A value that is the secret ``name`` of the site's store."""
    return {"store": name}


def kept_in_vault(path: str, field: str, members: Mapping[str, str]) -> dict[str, Any]:
    """A value that is a field of a secret of the Vault at ``members`` (addresses by machine)."""
    return {"vault": path, "field": field, "members": dict(members)}


def referred(reference: SecretRef, site: Site) -> dict[str, str]:
    """A value that is the secret behind a site's reference, which must not be a prompt."""
    if reference.file is not None:
        return {"file": str(site.resolve(reference.file))}
    return stored(reference.store or "")


Kept = Callable[[Mapping[str, str], str, str], bytes]
"""Reads a secret of a Vault, by its members, the secret's path, and the field."""


def has_secrets(manifest: Manifest) -> bool:
    """Whether values have to be filled in."""
    return any(isinstance(value, Mapping) for value in _data(manifest).values())


def stored_in(manifest: Manifest) -> Mapping[str, str]:
    """Names of the store's secrets by the keys of ``data`` that are filled with them."""
    return {
        key: value["store"]
        for key, value in _data(manifest).items()
        if isinstance(value, Mapping) and "store" in value
    }


def with_secrets(manifest: Manifest, store: Store, kept: Kept) -> Manifest:
    """The object with every value that it names, base64-encoded as the API has it.

    Parameters
    ----------
    store, kept
        Read the site's store, and Vault.

    Raises
    ------
    SecretsError
        One is missing, or other users may read it.
    UnreachableError
        Vault does not serve.
    """
    if not has_secrets(manifest):
        return manifest
    data = {key: _value(value, store, kept) for key, value in _data(manifest).items()}
    return {**manifest, "data": data}


def _data(manifest: Manifest) -> Mapping[str, Any]:
    return (manifest.get("data") or {}) if manifest["kind"] == "Secret" else {}


def _value(value: Any, store: Store, kept: Kept) -> str:
    match value:
        case {"vault": str(path), "field": str(field), "members": members}:
            content = kept(members, path, field)
        case {"store": str(name)}:
            content = store.read(name)
        case {"file": str(path)}:
            content = read_given(Path(path))
        case _:
            return str(value)
    # A text file ends with a newline that is not part of the secret; PEM can do without.
    return base64.b64encode(content.rstrip(b"\n")).decode("ascii")
