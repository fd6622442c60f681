"""Tries the key that another Vault keeps, from the machine that will need it."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

TEXT = base64.b64encode(b"provision").decode()
SECONDS = 10
FORBIDDEN = 403


class TransitError(Exception):
    """The key cannot be used, in words for the administrator."""


@dataclass(frozen=True)
class Key:
    """Where the key is; ``authority`` are certificates in PEM, or nothing for the machine's."""

    address: str
    namespace: str
    mount: str
    key: str
    authority: str


def prove(key: Key, token: str) -> None:
    """Encrypt with the key and decrypt again.

    Raises
    ------
    TransitError
        One of both cannot be done.
    """
    sealed = _ask(key, token, "encrypt", {"plaintext": TEXT})["ciphertext"]
    if _ask(key, token, "decrypt", {"ciphertext": sealed})["plaintext"] != TEXT:
        raise TransitError(f"{key.address} does not decrypt what it has encrypted")


def _ask(key: Key, token: str, what: str, body: dict[str, str]) -> dict[str, Any]:
    path = f"{key.mount}/{what}/{key.key}"
    headers = {"X-Vault-Token": token}
    if key.namespace:
        headers["X-Vault-Namespace"] = key.namespace
    try:
        request = urllib.request.Request(  # noqa: S310 - the site's file says where
            f"{key.address.rstrip('/')}/v1/{path}",
            data=json.dumps(body).encode(),
            headers=headers,
            method="PUT",
        )
        trust = ssl.create_default_context(cadata=key.authority or None)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )
        with opener.open(request, timeout=SECONDS) as answer:
            told: dict[str, Any] = json.load(answer)["data"]
            return told
    except urllib.error.HTTPError as error:
        allowed = f"{key.mount}/encrypt/{key.key} and {key.mount}/decrypt/{key.key}"
        hint = f"; its token must be allowed to update {allowed}" if error.code == FORBIDDEN else ""
        raise TransitError(
            f"the Vault that keeps the key ({key.address}) refuses {path}: {_said(error)}{hint}"
        ) from None
    except urllib.error.URLError as error:
        raise TransitError(
            f"the Vault that keeps the key ({key.address}) does not answer: {error.reason}"
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise TransitError(
            f"the Vault that keeps the key ({key.address}) does not answer as one:"
            f" {type(error).__name__}"
        ) from None


def _said(error: urllib.error.HTTPError) -> str:
    """Vault's words, which never hold what was sent."""
    try:
        words = [" ".join(str(word).split()) for word in json.load(error)["errors"]]
    except (OSError, ValueError, KeyError, TypeError):
        words = []
    return "; ".join(words) or f"HTTP {error.code}"
