"""What a site file names and does not hold: files beside it, and secrets to be asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from provision.errors import SecretsError
from provision.site import SecretRef, Site


def files_beside(site: Site) -> dict[str, str]:
    """sha256 of every file that the site file names by a path relative to itself, by that path.

    What a site is rests on them too: pinned host keys, signers, keys that bundles are trusted by.
    It is empty for a file that is not there, so that its coming is a change as well.
    """
    found: dict[str, str] = {}
    for _, value in _walk(site, ""):
        if isinstance(value, Path) and not value.expanduser().is_absolute():
            found[str(value)] = _sha256(site.resolve(value))
    return found


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        # Whether it must be there is for what uses it to say.
        return ""


def refuse_prompts(site: Site, where: str) -> None:
    """Refuse a site with secrets that only somebody at a terminal could give.

    Raises
    ------
    SecretsError
        Names them by their keys.
    """
    asked = [key for key, value in _walk(site, "") if isinstance(value, SecretRef) and value.prompt]
    if asked:
        raise SecretsError(
            "a secret has to be asked for, and nobody sits at the terminal of a watcher",
            where=where,
            found=", ".join(f"{key}: {{prompt: true}}" for key in asked),
            wanted="{file: PATH} or {store: NAME}",
            fix="keep it in the site's store: provision secrets put NAME; then name it there",
        )


def _walk(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    """Every model and every plain value below ``value``, each with its key path."""
    yield key, value
    inner: Iterator[tuple[object, Any]]
    if isinstance(value, BaseModel):
        inner = iter((name, getattr(value, name)) for name in type(value).model_fields)
    elif isinstance(value, Mapping):
        inner = iter(value.items())
    elif isinstance(value, list | tuple):
        inner = iter(enumerate(value))
    else:
        return
    for name, item in inner:
        yield from _walk(item, f"{key}.{name}" if key else str(name))
