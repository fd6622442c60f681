"""Sign-on by what does not speak OpenID: GitHub and LDAP, which Dex speaks it for."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import Field, field_validator, model_validator

from provision.argocd.access import SignOnSecretRef
from provision.explain import ENDPOINT
from provision.site import Model, Site

GITHUB_SECRET = "dex.github.clientSecret"  # noqa: S105 - a key of argocd-secret
LDAP_SECRET = "dex.ldap.bindPW"  # noqa: S105 - a key of argocd-secret


Team = Annotated[str, Field(pattern=r"^[a-z0-9._-]+$")]
Attribute = Annotated[str, Field(min_length=1)]
Filter = Annotated[str, Field(pattern=r"^\(.+\)$")]
"""In the notation of RFC 4515."""
GITHUB = "github.com"


class GithubOrganization(Model):
    """Whose members may sign in."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    """As in its address."""
    teams: Annotated[tuple[Team, ...], Field(min_length=1)] | None = None
    """Its teams whose members may, as in their addresses; every member without it."""


class Github(Model):
    """Sign-on by GitHub. People's groups are ``ORGANIZATION:TEAM``."""

    name: Annotated[str, Field(min_length=1)] = "GitHub"
    """What the button says."""
    client_id: Annotated[str, Field(min_length=1)]
    """Of the OAuth app, whose callback is ``https://HOST/api/dex/callback``."""
    client_secret: SignOnSecretRef
    """The secret that goes with it."""
    organizations: Annotated[tuple[GithubOrganization, ...], Field(min_length=1)]
    """Nobody else is let in."""
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+(:[0-9]+)?$")] | None = None
    """Name of a GitHub Enterprise server, whose certificate an authority signs that Debian trusts;
    without it github.com."""

    @field_validator("host")
    @classmethod
    def _enterprise(cls, host: str | None) -> str | None:
        if host is not None and host.lower() == GITHUB:
            raise ValueError(f"is for other servers than {GITHUB}; leave it out")
        return host


class LdapUsers(Model):
    """How people are found."""

    base: Annotated[str, Field(min_length=1)]
    """Where they are, such as ``ou=people,dc=example,dc=org``."""
    filter: Filter = "(objectClass=person)"
    """Which entries are people."""
    username: Attribute = "uid"
    """Attribute that people sign in with. This and the next two are to be spelled as the server
    spells them, and whoever lacks one of them is not let in."""
    email: Attribute = "mail"
    """Attribute with the address."""
    display_name: Attribute = "cn"
    """Attribute with the name that is shown."""


class LdapGroups(Model):
    """How the groups of people are found."""

    base: Annotated[str, Field(min_length=1)]
    """Where they are, such as ``ou=groups,dc=example,dc=org``."""
    filter: Filter = "(objectClass=groupOfNames)"
    """Which entries are groups."""
    member: Attribute = "member"
    """Attribute of a group that names its members, such as ``memberUid``."""
    user: Attribute = "DN"
    """Attribute of people by which it names them, or ``DN`` for the entry's own name."""
    name: Attribute = "cn"
    """Attribute with the group's name."""


class Ldap(Model):
    """Sign-on by an LDAP server, always over TLS."""

    name: Annotated[str, Field(min_length=1)] = "LDAP"
    """What the button says."""
    server: Annotated[str, Field(pattern=ENDPOINT)]
    """``HOST:PORT``; 636 usually."""
    start_tls: bool = False
    """Whether TLS begins after the connection (389 usually), and not with it."""
    ca: Path | None = None
    """PEM file of the authority that signs the server's certificate, relative to the site file;
    without it those that Debian trusts."""
    bind_dn: Annotated[str, Field(min_length=1)] | None = None
    """Who looks people up, such as ``cn=reader,dc=example,dc=org``; anybody without it."""
    bind_password: SignOnSecretRef | None = None
    """The password that goes with it."""
    users: LdapUsers
    """How people are found."""
    groups: LdapGroups | None = None
    """How their groups are found; nobody has one without it."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.bind_dn is None) != (self.bind_password is None):
            raise ValueError("takes both bind_dn and bind_password, or none of them")
        return self


def dex_secrets(
    github: Github | None, ldap: Ldap | None
) -> Iterator[tuple[str, str, SignOnSecretRef]]:
    """The site's secrets: the setting below ``argocd``, the key of argocd-secret, and which."""
    if github is not None:
        yield "github.client_secret", GITHUB_SECRET, github.client_secret
    if ldap is not None and ldap.bind_password is not None:
        yield "ldap.bind_password", LDAP_SECRET, ldap.bind_password


def dex_config(github: Github | None, ldap: Ldap | None, site: Site) -> str:
    """Dex's configuration as Argo CD takes it, which adds all but the connectors itself."""
    connectors = []
    if github is not None:
        connectors.append(_connector("github", github.name, _github(github)))
    if ldap is not None:
        connectors.append(_connector("ldap", ldap.name, _ldap(ldap, site)))
    return yaml.safe_dump({"connectors": connectors}, sort_keys=False)


def _connector(kind: str, name: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "id": kind, "name": name, "config": settings}


def _github(github: Github) -> dict[str, Any]:
    organizations = [
        {"name": one.name, **({"teams": list(one.teams)} if one.teams else {})}
        for one in github.organizations
    ]
    return {
        "clientID": github.client_id,
        "clientSecret": f"${GITHUB_SECRET}",
        "orgs": organizations,
        # A team is then called as in its address, and not as it likes to be called today.
        "teamNameField": "slug",
        **({"hostName": github.host} if github.host else {}),
    }


def _ldap(ldap: Ldap, site: Site) -> dict[str, Any]:
    users = ldap.users
    found: dict[str, Any] = {"host": ldap.server, "startTLS": ldap.start_tls}
    if ldap.ca is not None:
        found["rootCAData"] = base64.b64encode(site.resolve(ldap.ca).read_bytes()).decode("ascii")
    if ldap.bind_dn is not None:
        found |= {"bindDN": ldap.bind_dn, "bindPW": f"${LDAP_SECRET}"}
    found["userSearch"] = {
        "baseDN": users.base,
        "filter": users.filter,
        "username": users.username,
        # Not the user name: Argo CD goes by it, and one who is called admin would be its admin.
        "idAttr": "DN",
        "preferredUsernameAttr": users.username,
        "emailAttr": users.email,
        "nameAttr": users.display_name,
    }
    if ldap.groups is not None:
        groups = ldap.groups
        found["groupSearch"] = {
            "baseDN": groups.base,
            "filter": groups.filter,
            "userMatchers": [{"userAttr": groups.user, "groupAttr": groups.member}],
            "nameAttr": groups.name,
        }
    return found
