"""Who signs certificates: settings of the issuers of ``cert_manager``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from provision.dns.zones import DNS_NAME
from provision.explain import DNS_LABEL
from provision.site import Model, SecretRef

MOUNT = r"^[A-Za-z0-9][A-Za-z0-9_./-]*[A-Za-z0-9]$"
SERVER = r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?$"
"""``HOST`` or ``HOST:PORT``, an IPv6 address in brackets."""
Server = Annotated[str, Field(pattern=SERVER)]


@dataclass(frozen=True)
class Solver:
    """What one of cert-manager's solvers for providers knows."""

    settings: tuple[str, ...]
    secrets: tuple[str, ...] = ()


SOLVERS: Mapping[str, Solver] = {
    "acmeDNS": Solver(("host",), ("accountSecretRef",)),
    "akamai": Solver(
        ("serviceConsumerDomain",),
        ("accessTokenSecretRef", "clientSecretSecretRef", "clientTokenSecretRef"),
    ),
    "azureDNS": Solver(
        (
            "clientID",
            "environment",
            "hostedZoneName",
            "managedIdentity",
            "resourceGroupName",
            "subscriptionID",
            "tenantID",
        ),
        ("clientSecretSecretRef",),
    ),
    "cloudDNS": Solver(("hostedZoneName", "project"), ("serviceAccountSecretRef",)),
    "cloudflare": Solver(("email",), ("apiKeySecretRef", "apiTokenSecretRef")),
    "digitalocean": Solver((), ("tokenSecretRef",)),
    "route53": Solver(
        ("accessKeyID", "hostedZoneID", "region", "role"),
        ("accessKeyIDSecretRef", "secretAccessKeySecretRef"),
    ),
    "webhook": Solver(("config", "groupName", "solverName")),
}
"""By cert-manager's name; those of 1.11 and later."""


class SiteCa(Model):
    """An authority of the site's own, made and kept with its other secrets."""

    common_name: Annotated[str, Field(max_length=64)] = ""
    """Its name in certificates; without it, the site's name."""


class Rfc2136(Model):
    """A name server that takes signed dynamic updates: the site's own, or another."""

    update_key: str | None = None
    """One of ``dns.update_keys``, where this site serves the zone itself: server, algorithm and
    key follow from it."""
    server: Server | None = None
    """``HOST`` or ``HOST:PORT`` of another server of the zone."""
    key_name: Annotated[str, Field(min_length=1)] | None = None
    """Name of that server's TSIG key."""
    algorithm: Literal["HMACSHA256", "HMACSHA512", "HMACSHA1", "HMACMD5"] = "HMACSHA256"
    """Algorithm of that TSIG key."""
    key: SecretRef | None = None
    """That TSIG key in base64, as name servers write it."""

    @model_validator(mode="after")
    def _one_server(self) -> Self:
        others = self.saying("algorithm", "key", "key_name", "server")
        if self.update_key is not None and others:
            raise ValueError(
                f"is the site's own server by update_key, which leaves nothing to {others[0]}"
            )
        if self.update_key is None and not {"server", "key_name", "key"} <= set(others):
            raise ValueError(
                "must name a server: give update_key, one of dns.update_keys of this site;"
                " or another's server, key_name and key"
            )
        return self


class Provider(Model):
    """A provider's name service, by one of the solvers that cert-manager has for them."""

    solver: str
    """cert-manager's name of it: ``acmeDNS``, ``akamai``, ``azureDNS``, ``cloudDNS``,
    ``cloudflare``, ``digitalocean``, ``route53`` or ``webhook``."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Its settings, as cert-manager names them."""
    secrets: dict[str, SecretRef] = Field(default_factory=dict)
    """Its secrets by the name that cert-manager has for the reference, such as
    ``apiTokenSecretRef``."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        known = SOLVERS.get(self.solver)
        if known is None:
            raise ValueError(
                f"names the solver {self.solver}, which is none of cert-manager's:"
                f" {', '.join(SOLVERS)}"
            )
        for field, names in (("settings", known.settings), ("secrets", known.secrets)):
            unknown = sorted(set(getattr(self, field)) - set(names))
            if unknown:
                raise ValueError(
                    f"has {field}.{unknown[0]}, which {self.solver} does not know;"
                    f" it knows {', '.join(names) or 'none'}"
                )
        return self


class Http01(Model):
    """Challenges answered over HTTP through the cluster's ingress."""

    ingress_class: Annotated[str, Field(pattern=DNS_LABEL)] = "nginx"
    """Ingress class that serves the challenges."""


class Acme(Model):
    """An ACME directory, such as Let's Encrypt's."""

    directory: Annotated[str, Field(pattern=r"^https://[^\s]+$")] = (
        "https://acme-v02.api.letsencrypt.org/directory"
    )
    """URL of the directory."""
    email: str = ""
    """Whom the directory writes to about certificates that end."""
    ca: Path | None = None
    """PEM file of the authority that signs the directory's own certificate, relative to the site
    file; without it those that Debian trusts."""
    verify_name: Annotated[str, Field(pattern=DNS_NAME, max_length=253)] | None = None
    """Name that ``provision verify`` asks a certificate for. Without it, it only looks whether
    the directory knows the site's account, since a directory limits what it issues."""
    root: Path | None = None
    """PEM file of the authority at the end of the chain that a certificate for ``verify_name``
    must have, relative to the site file."""
    dns: Rfc2136 | None = None
    """Prove control of names by records in their zone (dns-01)."""
    provider: Provider | None = None
    """The same, in a zone that a provider serves."""
    http: Http01 | None = None
    """Prove control of names by their web server (http-01)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sum(way is not None for way in (self.dns, self.provider, self.http)) != 1:
            raise ValueError("must prove control of names in one way: give dns, provider, or http")
        if (self.verify_name is None) != (self.root is None):
            raise ValueError(
                "is proven by verify_name and root together: a name, and the authority that a"
                " certificate for it must end at; give both, or none"
            )
        return self


class VaultAppRole(Model):
    """A role of Vault's AppRole method."""

    mount: Annotated[str, Field(pattern=MOUNT)] = "approle"
    """Path of the method."""
    role_id: Annotated[str, Field(min_length=1)]
    """The role's id, which is no secret."""
    secret_id: SecretRef
    """The secret that goes with it."""


class VaultKubernetes(Model):
    """A role of Vault's Kubernetes method, for a service account of cert-manager's namespace."""

    mount: Annotated[str, Field(pattern=MOUNT)] = "kubernetes"
    """Path of the method."""
    role: Annotated[str, Field(min_length=1)]
    """The role's name; it must take the service account ``ISSUER-vault`` of ``cert-manager``."""


class VaultPki(Model):
    """Vault's PKI engine: the site's own Vault, which is set up for it, or another."""

    mount: Annotated[str, Field(pattern=MOUNT)] = "pki"
    """Path of the engine; issuers of the site's own Vault with the same one have one authority."""
    role: Annotated[str, Field(pattern=DNS_LABEL)] | None = None
    """The engine's role that certificates are signed by; without it, the issuer's name."""
    common_name: Annotated[str, Field(max_length=64)] = ""
    """Name of the authority that the site's own Vault makes; without it, the site's and the
    mount's."""
    domains: tuple[Annotated[str, Field(pattern=DNS_NAME, max_length=253)], ...] = ()
    """Domains in which the site's own Vault signs names; all without any."""
    server: Annotated[str, Field(pattern=r"^https://[^/\s]+$")] | None = None
    """Another Vault, as ``https://HOST:PORT``."""
    ca: Path | None = None
    """PEM file of the authority that signs that Vault's own certificate, relative to the site
    file; without it those that Debian trusts."""
    app_role: VaultAppRole | None = None
    """Log in there by AppRole."""
    kubernetes: VaultKubernetes | None = None
    """Log in there by a service account of this cluster."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        others = self.saying("app_role", "ca", "kubernetes")
        if self.server is None and others:
            raise ValueError(
                f"is the site's own Vault, which leaves nothing to {others[0]}; for another,"
                " give server"
            )
        if self.server is not None and (self.app_role is None) == (self.kubernetes is None):
            raise ValueError("must log in at server in one way: give app_role, or kubernetes")
        own = self.saying("common_name", "domains")
        if self.server is not None and own:
            raise ValueError(f"is another's Vault by server, where {own[0]} is not set from here")
        return self


class Issuer(Model):
    """Who signs certificates."""

    ca: SiteCa | None = None
    """An authority of the site's own."""
    acme: Acme | None = None
    """An ACME directory."""
    vault: VaultPki | None = None
    """An authority in Vault."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if sum(kind is not None for kind in (self.ca, self.acme, self.vault)) != 1:
            raise ValueError("must be of one kind: give ca, acme, or vault")
        return self
