"""argocd: keeps what runs in the cluster as Git repositories say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from cryptography import x509
from pydantic import Field

from provision import manifests
from provision.argocd import availability
from provision.argocd.access import (
    Oidc,
    Rbac,
    Repository,
    SignOnSecretRef,
    holds_password,
)
from provision.argocd.dex import Github, Ldap, dex_config, dex_secrets
from provision.argocd.names import (
    ADMIN_HASH,
    ADMIN_PASSWORD,
    DEX,
    NAMESPACE,
    SERVER,
    TLS,
    VAULT_PATH,
)
from provision.argocd.objects import (
    KNOWN_HOSTS,
    OIDC_SECRET,
    RECONCILIATION,
    Changes,
    adapted,
    authorities,
    changed_config,
    host_keys,
    known_keys,
    repository_secret,
    secret_data,
)
from provision.charts import require_images
from provision.dns.offers import Name
from provision.dns.zones import DNS_NAME
from provision.explain import DNS_LABEL
from provision.facts import Facts
from provision.manifests import KindIn
from provision.merge import deep_merge
from provision.objectsecrets import stored
from provision.phase import Context, Manifest
from provision.phases.cert_manager import CertManagerSettings
from provision.phases.dns import DnsSettings
from provision.phases.load_balancer import address_problems
from provision.phases.vault import VaultSettings, member_urls
from provision.secretkeeping import SecretKeepingPhase
from provision.secretspec import Certificate, Random, SecretSpec, Verifier
from provision.site import Address, Part, SecretRef, Settings, Site

ASKED_FOR = (
    KindIn("v1", "Secret", NAMESPACE),
    KindIn("cert-manager.io/v1", "Certificate", NAMESPACE),
)
"""Kinds of what comes and goes with the site file: repositories, and the wish for a certificate."""
TAKEN_OVER = ("Secret", TLS)
WATCHED = {"app.kubernetes.io/part-of": "argocd"}
"""Label without which the server does not notice that the Secret changes."""


class ArgocdSettings(Settings):
    """Settings of Argo CD."""

    component = "argocd"
    optional = True

    address: Address
    """Address of one of the load balancer's pools at which it is reached."""
    host: Annotated[str, Field(pattern=DNS_NAME, max_length=253)] | None = None
    """Name by which it is reached; without it, ``argocd`` in the site's zone (``dns.zone``)."""
    issuer: Annotated[str, Field(pattern=DNS_LABEL)] | None = None
    """One of ``cert_manager.issuers``, which signs its certificate; without it, the site's own
    authority does."""
    high_availability: bool = False
    """Whether it goes on when any one machine is lost, which takes three that run pods: Redis
    with two stand-ins, and everything else on another machine as well, or moved to one."""
    replicas: Annotated[int, Field(ge=1, le=5)] | None = None
    """How many there are of what answers people and of what reads repositories, on different
    machines where they can be; without it 1, and 2 with ``high_availability``."""
    reconciliation_seconds: Annotated[int, Field(ge=5, le=86400)] = 60
    """Seconds between two looks at a repository whose server does not tell of commits itself."""
    rbac: Rbac = Rbac()
    """Who may do what, besides the user ``admin``."""
    oidc: Oidc | None = None
    """Sign-on by an OpenID provider."""
    github: Github | None = None
    """Sign-on by GitHub, beside ``ldap`` or alone."""
    ldap: Ldap | None = None
    """Sign-on by an LDAP server, beside ``github`` or alone."""
    repositories: dict[Annotated[str, Field(pattern=DNS_LABEL)], Repository] = Field(
        default_factory=dict
    )
    """Repositories that not everyone may read, or whose servers are not known to everyone."""

    @property
    def count(self) -> int:
        """How many there are of what answers people and of what reads repositories."""
        return self.replicas or (availability.REPLICAS if self.high_availability else 1)

    @property
    def with_dex(self) -> bool:
        """Whether people sign on by what does not speak OpenID."""
        return self.github is not None or self.ldap is not None

    @property
    def sign_on(self) -> Iterator[tuple[str, str, SignOnSecretRef]]:
        """Secrets of the sign-on: the setting, the key of argocd-secret, and which."""
        if self.oidc is not None:
            yield "oidc.client_secret", OIDC_SECRET, self.oidc.client_secret
        yield from dex_secrets(self.github, self.ldap)


class Argocd(SecretKeepingPhase):
    """What Argo CD's project publishes, set up for the site."""

    name = "argocd"
    after = ("cert_manager", "cilium", "depot", "dns", "load_balancer", "machine", "vault")
    settings = ArgocdSettings
    bundled = ("argocd",)
    namespace = NAMESPACE

    def on_request(self, site: Site) -> tuple[str, ...]:
        """All of it."""
        del site
        return self.bundled

    def validate_site(self, site: Site) -> Iterator[str]:
        """It needs an address, a name and a certificate, and secrets that are there."""
        settings = site.settings(ArgocdSettings)
        yield from address_problems(site, "argocd.address", settings.address)
        if settings.host is None and not site.has(DnsSettings):
            yield "argocd.host is missing, and this site has no zone (dns.zone) to take one from"
        if settings.issuer is not None:
            issuers = (
                site.settings(CertManagerSettings).issuers if site.has(CertManagerSettings) else {}
            )
            if settings.issuer not in issuers:
                yield (
                    f"argocd.issuer {settings.issuer} is none of cert_manager.issuers"
                    f" ({', '.join(issuers) or 'there are none'})"
                )
        if settings.high_availability:
            yield from _availability_problems(site)
        if settings.oidc is not None and settings.with_dex:
            yield (
                "argocd.oidc stands beside argocd.github or argocd.ldap, and Argo CD signs people"
                " on by one of the two ways: leave one out, or let the provider ask the others"
            )
        for key, reference in _references(settings):
            if reference.prompt:
                yield (
                    f"{key} cannot be asked for: the cluster keeps it; give {{file: PATH}}"
                    " or {store: NAME}"
                )
        for setting, _, secret in settings.sign_on:
            if secret.vault is not None and not site.has(VaultSettings):
                yield f"argocd.{setting} is read from Vault, and this site has none (vault)"
        for name, repository in settings.repositories.items():
            yield from _password_problems(f"argocd.repositories.{name}", repository)
        for key, path in _files(settings):
            yield from _file_problems(key, site.resolve(path))

    def secrets(self, site: Site) -> Sequence[SecretSpec]:
        """The password of ``admin``, and a certificate where no issuer signs one."""
        settings = site.settings(ArgocdSettings)
        own: list[SecretSpec] = [
            Random(ADMIN_PASSWORD),
            Verifier(ADMIN_HASH, ADMIN_PASSWORD, kind="bcrypt"),
        ]
        if settings.issuer is None:
            host = host_of(site)
            names = (host, str(settings.address))
            own.append(Certificate(SERVER, "site-ca", host, names=names))
        return own

    def names(self, site: Site) -> Sequence[Name]:
        """Its host name, where that is in the site's zone."""
        if not site.has(DnsSettings):
            return ()
        host = host_of(site)
        label = host.removesuffix(f".{site.settings(DnsSettings).zone}")
        return () if label == host else (Name(label, (site.settings(ArgocdSettings).address,)),)

    def objects(self, context: Context) -> Sequence[Manifest]:
        """What is published with the site's changes, its certificate, and its repositories."""
        site = context.site
        settings = site.settings(ArgocdSettings)
        self.version(context, "argocd")
        if settings.high_availability:
            file = self.published(context, "argocd-ha-manifests")
            published: Sequence[Manifest] = list(availability.movable(file))
        else:
            published = self.published(context, "argocd-manifests")
        own = list(laid_over(site, published, context.bundle.images))
        require_images(context.bundle, self.name, own)
        repositories = settings.repositories.items()
        return [
            manifests.namespace(NAMESPACE),
            *own,
            *(availability.budgets() if settings.high_availability else ()),
            _certificate(site),
            *(repository_secret(name, repository, site) for name, repository in repositories),
        ]

    def whole_kinds(self, context: Context) -> Sequence[KindIn]:
        """What it is made of, alone or highly available, and what the site file asks for."""
        del context
        return (*availability.KINDS, *ASKED_FOR)

    def leftovers(self, context: Context, facts: Facts) -> list[Manifest]:
        """Without the Secret that cert-manager takes over where an issuer signs from now on.

        What we put in it serves until then, and our mark stays on some of its fields.
        """
        found = super().leftovers(context, facts)
        return [stub for stub in found if (stub["kind"], stub["metadata"]["name"]) != TAKEN_OVER]

    def kept(self, site: Site) -> Mapping[str, Mapping[str, Any]]:
        """The password of ``admin``."""
        fields = {"username": "admin", "url": f"https://{host_of(site)}"}
        return {VAULT_PATH: {"fields": fields, "secrets": {"password": ADMIN_PASSWORD}}}

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """Variables of the role ``argocd``."""
        return {**super().variables(context, host), "argocd_leftovers": []}


def host_of(site: Site) -> str:
    """The name by which Argo CD is reached."""
    return site.settings(ArgocdSettings).host or f"argocd.{site.settings(DnsSettings).zone}"


def laid_over(
    site: Site, published: Sequence[Manifest], images: Iterable[str]
) -> Iterator[Manifest]:
    """The published objects as the site wants them, with images of the bundle (``images``)."""
    settings = site.settings(ArgocdSettings)
    return adapted(published, _changes(site, published), images, dex=settings.with_dex)


def _changes(site: Site, published: Sequence[Manifest]) -> Changes:
    """What the site says of the published objects, by their kinds and names."""
    settings = site.settings(ArgocdSettings)
    repositories = settings.repositories.values()
    looks = {RECONCILIATION: f"{settings.reconciliation_seconds}s"}
    read_at_start = {"spec": {"template": {"metadata": {"annotations": looks}}}}
    connectors = dex_config(settings.github, settings.ldap, site) if settings.with_dex else ""
    config = changed_config(
        f"https://{host_of(site)}",
        settings.reconciliation_seconds,
        settings.oidc,
        connectors,
        site,
    )
    rbac = {
        "policy.csv": settings.rbac.policy,
        "policy.default": settings.rbac.default_role,
        "scopes": f"[{', '.join(settings.rbac.scopes)}]",
    }
    controller = "Deployment" if settings.high_availability else "StatefulSet"
    changes: dict[str, Mapping[str, Any]] = {
        "ConfigMap argocd-cm": {"data": config},
        "ConfigMap argocd-cmd-params-cm": {"data": _parameters(settings)},
        "ConfigMap argocd-rbac-cm": {"data": rbac},
        "ConfigMap argocd-tls-certs-cm": {"data": authorities(repositories, site)},
        "Secret argocd-secret": {
            "data": secret_data(
                {key: which for _, key, which in settings.sign_on},
                member_urls(site) if site.has(VaultSettings) else {},
                site,
            )
        },
        "Service argocd-server": {
            "spec": {"type": "LoadBalancer", "loadBalancerIP": str(settings.address)}
        },
        f"{controller} {availability.CONTROLLER}": read_at_start,
        "Deployment argocd-repo-server": {
            "spec": {**read_at_start["spec"], "replicas": settings.count}
        },
        "Deployment argocd-server": {"spec": _servers(settings.count)},
        f"Deployment {DEX}": {"spec": _as_they_are()},
    }
    own_keys = host_keys(repositories, site)
    if own_keys:
        keys = known_keys(published) + own_keys
        changes[f"ConfigMap {KNOWN_HOSTS}"] = {"data": {"ssh_known_hosts": keys}}
    return deep_merge(changes, availability.spread()) if settings.high_availability else changes


def _availability_problems(site: Site) -> Iterator[str]:
    """What keeps each copy from being on a machine of its own."""
    replicas = site.settings(ArgocdSettings).replicas
    machines = [name for name, host in site.hosts.items() if Part.WORKER in host.parts]
    if len(machines) < availability.MACHINES:
        yield (
            f"argocd.high_availability takes {availability.MACHINES} machines that run pods (part"
            f" worker), and this site has {len(machines)} ({', '.join(machines) or 'none'}): each"
            " copy of Redis is on another, and two must be left to agree; leave it out"
        )
    elif replicas is not None and replicas > len(machines):
        yield (
            f"argocd.replicas {replicas} is more than the {len(machines)} machines that run pods,"
            " and with argocd.high_availability each is on another"
        )
    if replicas == 1:
        yield (
            "argocd.replicas 1 would be lost with its machine, against"
            " argocd.high_availability: make it 2 or more, or leave it out"
        )
    if all(network.version == 6 for network in site.network.pods):
        yield (
            "argocd.high_availability takes pods with IPv4 addresses (network.pods): the Redis"
            " that Argo CD's project publishes for it listens at no others"
        )


def _parameters(settings: ArgocdSettings) -> dict[str, str]:
    return {
        # So that an application itself says which of its resources is not healthy.
        "controller.resource.health.persist": "true",
        # A commit that does not render is told at the second look, not after three minutes; the
        # unit has to be there, whatever Argo CD's own documentation says.
        "controller.repo.error.grace.period.seconds": f"{settings.reconciliation_seconds}s",
    }


def _servers(replicas: int) -> dict[str, Any]:
    # Each limits logins, and has to know that it is not alone.
    shared = [{"name": "ARGOCD_API_SERVER_REPLICAS", "value": str(replicas)}]
    container = {"name": "argocd-server", "env": shared}
    return {"replicas": replicas, "template": {"spec": {"containers": [container]}}}


def _as_they_are() -> dict[str, Any]:
    # Dex would take a secret that begins with a dollar sign for a variable of its environment.
    plain = [{"name": "DEX_EXPAND_ENV", "value": "false"}]
    return {"template": {"spec": {"containers": [{"name": "dex", "env": plain}]}}}


def _certificate(site: Site) -> Manifest:
    """The server's certificate, or the wish for one."""
    settings = site.settings(ArgocdSettings)
    metadata = {"name": TLS, "namespace": NAMESPACE}
    if settings.issuer is None:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {**metadata, "labels": WATCHED},
            "type": "kubernetes.io/tls",
            "data": {"tls.crt": stored(f"{SERVER}.crt"), "tls.key": stored(f"{SERVER}.key")},
        }
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": metadata,
        "spec": {
            "secretName": TLS,
            "secretTemplate": {"labels": WATCHED},
            "dnsNames": [host_of(site)],
            "issuerRef": {"kind": "ClusterIssuer", "name": settings.issuer},
        },
    }


def _password_problems(key: str, repository: Repository) -> Iterator[str]:
    """A repository's password is told to nobody but its server."""
    if holds_password(repository.url):
        yield (
            f"{key}.url has a password in it, which everyone sees who reads a plan; give it as"
            f" {key}.password: {{file: PATH}} or {{store: NAME}}"
        )
    if repository.password is not None and not repository.url.startswith("https://"):
        yield f"{key}.url is read over http, which sends the password in the clear; write https://"


def _references(settings: ArgocdSettings) -> Iterator[tuple[str, SecretRef]]:
    for name, repository in settings.repositories.items():
        for field, reference in repository.secrets:
            yield f"argocd.repositories.{name}.{field}", reference
    for setting, _, reference in settings.sign_on:
        yield f"argocd.{setting}", reference


def _files(settings: ArgocdSettings) -> Iterator[tuple[str, Path]]:
    for name, repository in settings.repositories.items():
        for field in ("ca", "known_hosts"):
            path = getattr(repository, field)
            if path is not None:
                yield f"argocd.repositories.{name}.{field}", path
    if settings.oidc is not None and settings.oidc.ca is not None:
        yield "argocd.oidc.ca", settings.oidc.ca
    if settings.ldap is not None and settings.ldap.ca is not None:
        yield "argocd.ldap.ca", settings.ldap.ca


def _file_problems(key: str, path: Path) -> Iterator[str]:
    try:
        content = path.read_bytes()
        content.decode("utf-8")
        if key.endswith(".ca"):
            x509.load_pem_x509_certificates(content)
    except OSError as error:
        yield f"{key} {path} cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        yield f"{key} {path} is no UTF-8 text"
    except ValueError:
        yield f"{key} {path} holds no certificate in PEM form"
