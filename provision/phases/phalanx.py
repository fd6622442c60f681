"""phalanx: what a site promises to Phalanx's installer, which brings the applications."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from provision.dns.zones import DNS_NAME
from provision.explain import DNS_LABEL
from provision.phalanx.names import ISSUER
from provision.phase import AgreementPhase
from provision.phases.argocd import ArgocdSettings
from provision.phases.cert_manager import CertManagerSettings
from provision.phases.load_balancer import address_problems
from provision.phases.platform import PlatformSettings
from provision.phases.vault import VaultSettings
from provision.site import Address, Model, Settings, Site

VERSION = r"^[0-9]+(\.[0-9]+){1,2}$"


class SignOn(Model):
    """How people sign on; the secrets that go with it are asked for by ``static.yaml``."""

    kind: Literal["github", "cilogon", "oidc"]
    """What Gafaelfawr asks: exactly one of the three."""
    client_id: Annotated[str, Field(min_length=1)]
    """Its client there, whose redirect is ``https://HOST/login``."""
    issuer: Annotated[str, Field(pattern=r"^https://\S+$")] | None = None
    """Address of the OpenID provider, for ``oidc``."""
    login_url: Annotated[str, Field(pattern=r"^https://\S+$")] | None = None
    """Where it sends people to sign on, for ``oidc``: its ``authorization_endpoint``."""
    token_url: Annotated[str, Field(pattern=r"^https://\S+$")] | None = None
    """Where it gives tokens, for ``oidc``: its ``token_endpoint``."""
    username_claim: Annotated[str, Field(min_length=1)] | None = None
    """The claim that has the user's name, where it is not Gafaelfawr's default."""
    admins: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Users who are Gafaelfawr's first administrators."""
    argocd_client_id: Annotated[str, Field(min_length=1)] | None = None
    """Argo CD's own client, which is another one, at the same OpenID provider."""


class Tools(Model):
    """Versions of the programs that the installer needs where it is run."""

    argocd: Annotated[str, Field(pattern=VERSION)] = "3.0.6"
    """Argo CD's client; Phalanx's own tests pin 3.0.6."""
    helm: Annotated[str, Field(pattern=VERSION)] = "3.18.4"
    """Helm."""
    uv: Annotated[str, Field(pattern=VERSION)] = "0.8.3"
    """uv, which brings Python 3.13 and Phalanx's own requirements."""


class PhalanxSettings(Settings):
    """The environment of Phalanx that this site is for."""

    component = "phalanx"
    optional = True

    environment: Annotated[str, Field(pattern=DNS_LABEL)]
    """Name of the environment: ``values-ENVIRONMENT.yaml`` in Phalanx's repository."""
    host: Annotated[str, Field(pattern=DNS_NAME, max_length=253)]
    """The one public name of the platform, with a record for ``ingress_address``."""
    ingress_address: Address
    """Address of the load balancer for Phalanx's ingress-nginx."""
    git_branch: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$")] = "main"
    """Branch of the repository that the environment is installed from."""
    vault_path: (
        Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*(/[a-z0-9][a-z0-9_.-]*)*$")] | None
    ) = None
    """Where its secrets are, below Vault's engine ``secret``; its last component is the name of
    the AppRole. Without it, ``phalanx/ENVIRONMENT``."""
    sign_on: SignOn
    """How people sign on."""
    tools: Tools = Tools()
    """Versions of what the installer needs."""


class Phalanx(AgreementPhase):
    """What the site promises to Phalanx's installer."""

    name = "phalanx"
    after = (
        "argocd",
        "cert_manager",
        "cilium",
        "depot",
        "dns",
        "kubernetes",
        "load_balancer",
        "local_storage",
        "machine",
        "platform",
        "postgresql",
        "shared_storage",
        "vault",
        "vault_kubernetes",
    )
    settings = PhalanxSettings

    def validate_site(self, site: Site) -> Iterator[str]:
        """Everything that Phalanx brings has one owner, and what it needs is there."""
        settings = site.settings(PhalanxSettings)
        for component in (ArgocdSettings, PlatformSettings):
            if site.has(component):
                yield (
                    f"{component.component} is brought by Phalanx on this site (phalanx.environment"
                    f" {settings.environment}); take the key {component.component} out, or phalanx"
                )
        if site.has(CertManagerSettings):
            issuers = site.settings(CertManagerSettings).issuers
            if ISSUER not in issuers:
                yield (
                    f"cert_manager.issuers has no {ISSUER} ({', '.join(issuers)}), the name that"
                    f" Phalanx's charts ask for; add {ISSUER}, or take cert_manager out and give a"
                    " certificate of your own (static.yaml of the hand-over)"
                )
        if not site.has(VaultSettings):
            yield (
                "phalanx.environment needs a Vault of the site for its secrets, and there is none:"
                " write `vault: {}`"
            )
        yield from address_problems(site, "phalanx.ingress_address", settings.ingress_address)
        yield from _sign_on_problems(settings.sign_on)


def vault_path(site: Site) -> str:
    """Path of the environment's secrets, below the engine ``secret``."""
    settings = site.settings(PhalanxSettings)
    return settings.vault_path or f"phalanx/{settings.environment}"


def _sign_on_problems(sign_on: SignOn) -> Iterator[str]:
    for key in ("issuer", "login_url", "token_url"):
        given = getattr(sign_on, key) is not None
        if sign_on.kind == "oidc" and not given:
            yield (
                f"phalanx.sign_on.{key} is missing; oidc needs it: the provider tells it at"
                " ISSUER/.well-known/openid-configuration"
            )
        if sign_on.kind != "oidc" and given:
            yield f"phalanx.sign_on.{key} is for oidc, not for {sign_on.kind}; take it out"
    if sign_on.argocd_client_id is not None and sign_on.kind != "oidc":
        yield (
            "phalanx.sign_on.argocd_client_id is for oidc; for others, write dex.config into Argo"
            " CD's values in Phalanx"
        )
