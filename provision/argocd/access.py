"""Who may use Argo CD, and what Argo CD may use: settings of ``argocd``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, ClassVar, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from provision.site import Model, SecretRef

URL = r"^(https?://[^\s/]+/\S+|ssh://\S+|[A-Za-z0-9._-]+@[^\s:/]+:\S+)$"
"""``https://HOST/PATH``, ``ssh://USER@HOST/PATH`` or ``USER@HOST:PATH``."""


def holds_password(url: str) -> bool:
    """Whether there is a password in front of the server's name in a repository's address."""
    name, marked, _ = url.partition("://")[2].partition("/")[0].rpartition("@")
    return bool(marked) and ":" in name


class Repository(Model):
    """A Git repository, and what it takes to read it."""

    url: Annotated[str, Field(pattern=URL)]
    """Its address: ``https://HOST/PATH``, ``ssh://USER@HOST/PATH`` or ``USER@HOST:PATH``."""
    every: bool = False
    """Whether this holds for every repository whose address begins with ``url``."""
    username: Annotated[str, Field(min_length=1)] = "git"
    """Name that goes with ``password``; servers that take an access token want any."""
    password: SecretRef | None = None
    """Password or access token, over https."""
    ssh_key: SecretRef | None = None
    """Private key, over SSH."""
    known_hosts: Path | None = None
    """The server's host keys, a file in the format of known_hosts(5) relative to the site file;
    without it, those of large public servers that Argo CD comes with."""
    ca: Path | None = None
    """PEM file of the authority that signs the server's certificate, relative to the site file;
    without it those that Debian trusts."""

    @property
    def over_ssh(self) -> bool:
        """Whether it is read over SSH."""
        return not self.url.startswith("http")

    @property
    def server(self) -> str:
        """The server's name."""
        return urlsplit(self.url).hostname or ""

    @property
    def secrets(self) -> Iterator[tuple[str, SecretRef]]:
        """Its secrets by their keys."""
        for name, reference in (("password", self.password), ("ssh_key", self.ssh_key)):
            if reference is not None:
                yield name, reference

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        useless = ("password", "ca") if self.over_ssh else ("ssh_key", "known_hosts")
        wrong = self.saying(*useless)
        if wrong:
            way = "SSH" if self.over_ssh else "http"
            raise ValueError(f"is read over {way} by its url, which has no use for {wrong[0]}")
        return self


class Rbac(Model):
    """Who may do what."""

    default_role: str = ""
    """Role of everyone who logs in and has no other, such as ``role:readonly``; none without it."""
    policy: str = ""
    """Lines of Argo CD's policy language, such as ``g, admins, role:admin``."""
    scopes: tuple[str, ...] = ("groups",)
    """Claims of an OpenID token that name a user's groups."""


class SignOnSecretRef(SecretRef):
    """Where a secret of the sign-on comes from, which people may keep in the site's Vault too."""

    wanted: ClassVar[str] = (
        "exactly one of: {file: PATH}, {store: NAME}, {vault: PATH, field: NAME}, {prompt: true}"
    )

    vault: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)+$")] | None = None
    """Path of the secret in the site's Vault, such as ``secret/argocd/github``."""
    field: Annotated[str, Field(min_length=1)] | None = None
    """The field of it."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        named = (self.file is not None, self.store is not None, self.vault is not None)
        if sum((*named, self.prompt)) != 1 or (self.vault is None) != (self.field is None):
            raise ValueError("names no place, or more than one")
        return self


class Oidc(Model):
    """Sign-on by an OpenID provider."""

    name: Annotated[str, Field(min_length=1)] = "OpenID"
    """What the button says."""
    issuer: Annotated[str, Field(pattern=r"^https://\S+$")]
    """The provider's address, as its tokens say it."""
    client_id: Annotated[str, Field(min_length=1)]
    """Name under which the provider knows this Argo CD."""
    client_secret: SignOnSecretRef
    """The secret that goes with it."""
    scopes: tuple[str, ...] = ("openid", "profile", "email", "groups")
    """What is asked for."""
    ca: Path | None = None
    """PEM file of the authority that signs the provider's certificate, relative to the site file;
    without it those that Debian trusts."""
