"""Which secrets a component needs, as data; ``secrets.py`` makes and keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Usage = Literal["server", "client"]
Encoding = Literal["base64", "base64url", "hex"]
"""Base64 with either alphabet (RFC 4648, sections 4 and 5), padded; or two digits a byte."""


@dataclass(frozen=True)
class Authority:
    """A self-signed certificate authority: ``<name>.crt`` and ``<name>.key``."""

    name: str
    common_name: str
    days: int = 3650


@dataclass(frozen=True)
class Certificate:
    """A certificate ``<name>.crt`` with its key ``<name>.key``, renewed ``renew_days`` early."""

    name: str
    authority: str
    common_name: str
    organizations: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Subject alternative names: DNS names and IP addresses."""
    usages: tuple[Usage, ...] = ("server",)
    days: int = 365
    renew_days: int = 60


@dataclass(frozen=True)
class KeyPair:
    """An RSA key pair: ``<name>.key`` and ``<name>.pub``."""

    name: str


@dataclass(frozen=True)
class Random:
    """Random bytes, encoded as text without an end of line, as the secret ``name``."""

    name: str
    size: int = 32
    """Bytes."""
    encoding: Encoding = "base64"
    renewable: bool = False
    """Whether all who need it get another one by the next ``up``."""


@dataclass(frozen=True)
class Text:
    """A file composed of other secrets; made anew when one of them changes.

    In ``template``, ``{secret:NAME}`` stands for the content of the secret
    NAME and ``{base64:NAME}`` for its base64 form.
    """

    name: str
    template: str


@dataclass(frozen=True)
class Verifier:
    """What a server checks the secret ``password`` by, without being told it."""

    name: str
    password: str
    kind: Literal["scram", "bcrypt"] = "scram"
    """SCRAM-SHA-256 (RFC 5803), or bcrypt's hash."""


SecretSpec = Authority | Certificate | KeyPair | Random | Text | Verifier
