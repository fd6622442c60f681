"""cert_manager: certificates for what runs in the cluster, issued and renewed by themselves."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from cryptography import x509
from pydantic import Field, model_validator

from provision import manifests
from provision.clusterphase import ClusterPhase
from provision.dns.zones import DNS_NAME
from provision.explain import DNS_LABEL
from provision.merge import deep_merge
from provision.objectsecrets import referred, stored
from provision.phase import Context, Manifest
from provision.phases.dns import update_access, update_key_problem
from provision.phases.vault import VaultSettings, vault_url
from provision.secretspec import Authority, SecretSpec
from provision.site import Model, SecretRef, Settings, Site
from provision.vault.configuration import Configuration
from provision.vault.names import secret_id_of

NAMESPACE = "cert-manager"
OWN_MOUNTS = ("secret", "sys", "identity", "cubbyhole")
"""Paths of Vault that are taken."""
SIGN_TEXT = """\
path "{path}" {{
  capabilities = ["create", "update"]
}}
"""
MOUNT = r"^[A-Za-z0-9][A-Za-z0-9_./-]*[A-Za-z0-9]$"
SERVER = r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?$"
"""``HOST`` or ``HOST:PORT``, an IPv6 address in brackets."""
Server = Annotated[str, Field(pattern=SERVER)]


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
        others = {"server", "key_name", "algorithm", "key"} & self.model_fields_set
        if self.update_key is not None and others:
            raise ValueError(
                f"is the site's own server by update_key, which leaves nothing to {min(others)}"
            )
        if self.update_key is None and not others >= {"server", "key_name", "key"}:
            raise ValueError(
                "must name a server: give update_key, one of dns.update_keys of this site;"
                " or another's server, key_name and key"
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
    http: Http01 | None = None
    """Prove control of names by their web server (http-01)."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.dns is None) == (self.http is None):
            raise ValueError("must prove control of names in one way: give dns, or http")
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
        others = {"ca", "app_role", "kubernetes"} & self.model_fields_set
        if self.server is None and others:
            raise ValueError(
                f"is the site's own Vault, which leaves nothing to {min(others)}; for another,"
                " give server"
            )
        if self.server is not None and (self.app_role is None) == (self.kubernetes is None):
            raise ValueError("must log in at server in one way: give app_role, or kubernetes")
        own = {"common_name", "domains"} & self.model_fields_set
        if self.server is not None and own:
            raise ValueError(f"is another's Vault by server, where {min(own)} is not set from here")
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


class CertManagerSettings(Settings):
    """Settings of the certificates."""

    component = "cert_manager"
    optional = True

    issuers: dict[Annotated[str, Field(pattern=DNS_LABEL)], Issuer] = Field(
        default_factory=lambda: {"site-ca": Issuer(ca=SiteCa())}
    )
    """ClusterIssuers by name; without any, ``site-ca`` from an authority of the site's own."""
    nameservers: tuple[Server, ...] = ()
    """Servers that see a zone's records at once, asked before a directory is told to look;
    without any, those that the cluster uses."""
    values: dict[str, Any] = Field(default_factory=dict)
    """Laid over the chart's values, as cert-manager's Helm chart names them."""


class CertManager(ClusterPhase):
    """The chart's objects in the cluster, and its issuers."""

    name = "cert_manager"
    after = ("depot", "machine", "cilium", "dns", "vault")
    settings = CertManagerSettings
    namespace = NAMESPACE

    def validate_site(self, site: Site) -> Iterator[str]:
        """What issuers name must be there and must not have to be asked for."""
        for name, issuer in site.settings(CertManagerSettings).issuers.items():
            if issuer.vault is not None:
                yield from _vault_problems(f"cert_manager.issuers.{name}.vault", issuer.vault, site)
            if issuer.acme is None:
                continue
            key = f"cert_manager.issuers.{name}.acme"
            if issuer.acme.dns is not None:
                yield from _dns_problems(f"{key}.dns", issuer.acme.dns, site)
            for field in ("ca", "root"):
                path = getattr(issuer.acme, field)
                if path is not None:
                    yield from _ca_problems(f"{key}.{field}", site.resolve(path))

    def secrets(self, site: Site) -> Sequence[SecretSpec]:
        """The site's own authorities."""
        return [
            Authority(_authority(name), issuer.ca.common_name or f"{site.name} {name}")
            for name, issuer in site.settings(CertManagerSettings).issuers.items()
            if issuer.ca is not None
        ]

    def in_vault(self, site: Site) -> Configuration:
        """For each issuer there an authority, a role that it signs by, and a way in."""
        issuers = _in_own_vault(site)
        roles = {name: app_role(name) for name in issuers}
        signing = {name: pki.role or name for name, pki in issuers.items()}
        return {
            "secrets": {pki.mount: {"type": "pki"} for pki in issuers.values()},
            "authorities": {
                pki.mount: {"common_name": pki.common_name or f"{site.name} {pki.mount}"}
                for pki in issuers.values()
            },
            "policies": {
                roles[name]: SIGN_TEXT.format(path=f"{pki.mount}/sign/{signing[name]}")
                for name, pki in issuers.items()
            },
            "paths": {
                **{
                    f"{pki.mount}/roles/{signing[name]}": _pki_role(pki)
                    for name, pki in issuers.items()
                },
                **{
                    f"auth/approle/role/{role}": {
                        "token_policies": [role],
                        "token_type": "batch",
                        "token_ttl": 900,
                    }
                    for role in roles.values()
                },
                **{
                    f"auth/approle/role/{role}/role-id": {"role_id": role}
                    for role in roles.values()
                },
            },
            "secret_ids": {role: {} for role in roles.values()},
        }

    def objects(self, context: Context) -> Sequence[Manifest]:
        """The rendered chart, and each issuer with what it needs."""
        settings = context.site.settings(CertManagerSettings)
        chart = self.chart(context, "cert-manager-chart", self.values(context))
        issuers = [
            item
            for name, issuer in settings.issuers.items()
            for item in _issuer(name, issuer, context.site)
        ]
        return [manifests.namespace(NAMESPACE), *chart, *issuers]

    def values(self, context: Context) -> dict[str, Any]:
        """The chart's values: ours with the site's laid over them."""
        settings = context.site.settings(CertManagerSettings)
        tag = f"v{self.version(context, 'cert-manager')}"
        arguments = []
        if settings.nameservers:
            arguments = [
                f"--dns01-recursive-nameservers={','.join(settings.nameservers)}",
                "--dns01-recursive-nameservers-only",
            ]
        base: dict[str, Any] = {
            "fullnameOverride": "cert-manager",
            "image": {"tag": tag},
            "webhook": {"image": {"tag": tag}},
            "cainjector": {"image": {"tag": tag}},
            "startupapicheck": {"enabled": False},
            "extraArgs": arguments,
        }
        return deep_merge(base, settings.values)


def _authority(issuer: str) -> str:
    """Name of an issuer's authority among the site's secrets."""
    return f"cert_manager/{issuer}"


def app_role(issuer: str) -> str:
    """An issuer's role, and its policy, in the site's own Vault; also the role's id."""
    return f"cert-manager-{issuer}"


def _in_own_vault(site: Site) -> dict[str, VaultPki]:
    """Issuers in the site's own Vault, by name."""
    issuers = site.settings(CertManagerSettings).issuers
    return {
        name: issuer.vault
        for name, issuer in issuers.items()
        if issuer.vault is not None and issuer.vault.server is None
    }


def _pki_role(pki: VaultPki) -> dict[str, Any]:
    """What certificates the engine signs, as Vault tells it."""
    return {
        "allow_any_name": not pki.domains,
        "allowed_domains": list(pki.domains),
        "allow_subdomains": True,
        "allow_bare_domains": True,
        "require_cn": False,
        "key_type": "any",
    }


def _vault_problems(key: str, pki: VaultPki, site: Site) -> Iterator[str]:
    if pki.server is None and not site.has(VaultSettings):
        yield f"{key}.server is missing, and this site has no Vault of its own"
    if pki.server is None and pki.mount in OWN_MOUNTS:
        yield f"{key}.mount {pki.mount} is where Vault keeps something else; give another"
    if pki.app_role is not None and pki.app_role.secret_id.prompt:
        yield (
            f"{key}.app_role.secret_id cannot be asked for: the cluster keeps it; give"
            " {file: PATH} or {store: NAME}"
        )
    if pki.ca is not None:
        yield from _ca_problems(f"{key}.ca", site.resolve(pki.ca))


def _dns_problems(key: str, dns: Rfc2136, site: Site) -> Iterator[str]:
    if dns.update_key is not None:
        problem = update_key_problem(site, dns.update_key, "TXT")
        if problem:
            yield f"{key}.update_key {problem}"
    if dns.key is not None and dns.key.prompt:
        yield (
            f"{key}.key cannot be asked for: the cluster keeps it; give {{file: PATH}}"
            " or {store: NAME}"
        )


def _ca_problems(key: str, path: Path) -> Iterator[str]:
    try:
        x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        yield f"{key} {path} cannot be read: {error.strerror}"
    except ValueError:
        yield f"{key} {path} holds no certificate in PEM form"


def _issuer(name: str, issuer: Issuer, site: Site) -> Iterator[Manifest]:
    if issuer.ca is not None:
        authority = _authority(name)
        yield _secret(
            name,
            {"tls.crt": stored(f"{authority}.crt"), "tls.key": stored(f"{authority}.key")},
            "kubernetes.io/tls",
        )
        yield _cluster_issuer(name, {"ca": {"secretName": name}})
    if issuer.acme is not None:
        if issuer.acme.dns is not None:
            yield _secret(_tsig(name), {"key": _updates(issuer.acme.dns, site)[1]}, "Opaque")
        yield _cluster_issuer(name, {"acme": _acme(name, issuer.acme, site)})
    if issuer.vault is not None:
        yield from _vault(name, issuer.vault, site)


def _vault(name: str, pki: VaultPki, site: Site) -> Iterator[Manifest]:
    """The issuer, and what it logs in with."""
    held = f"{name}-vault"
    spec: dict[str, Any] = {"path": f"{pki.mount}/sign/{pki.role or name}"}
    data: dict[str, Any] = {}
    if pki.server is None:
        data = {"secret-id": stored(secret_id_of(app_role(name))), "ca.crt": stored("site-ca.crt")}
        auth: dict[str, Any] = {"appRole": _app_role("approle", app_role(name), held)}
        spec |= {
            "server": vault_url(site),
            "caBundleSecretRef": {"name": held, "key": "ca.crt"},
        }
    else:
        spec["server"] = pki.server
        if pki.ca is not None:
            spec["caBundle"] = _pem(pki.ca, site)
    if pki.app_role is not None:
        data = {"secret-id": referred(pki.app_role.secret_id, site)}
        auth = {"appRole": _app_role(pki.app_role.mount, pki.app_role.role_id, held)}
    if pki.kubernetes is not None:
        yield from _service_account(held)
        auth = {
            "kubernetes": {
                "mountPath": f"/v1/auth/{pki.kubernetes.mount}",
                "role": pki.kubernetes.role,
                "secretRef": {"name": held, "key": "token"},
            }
        }
    if data:
        yield _secret(held, data, "Opaque")
    yield _cluster_issuer(name, {"vault": {**spec, "auth": auth}})


def _app_role(mount: str, role_id: str, secret: str) -> dict[str, Any]:
    return {
        "path": mount,
        "roleId": role_id,
        "secretRef": {"name": secret, "key": "secret-id"},
    }


def _service_account(name: str) -> Iterator[Manifest]:
    """A service account with a token that Kubernetes puts into a Secret of the same name."""
    metadata = {"name": name, "namespace": NAMESPACE}
    yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    yield {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {**metadata, "annotations": {"kubernetes.io/service-account.name": name}},
        "type": "kubernetes.io/service-account-token",
    }


def _pem(path: Path, site: Site) -> str:
    return base64.b64encode(site.resolve(path).read_bytes()).decode("ascii")


def _tsig(issuer: str) -> str:
    return f"{issuer}-tsig"


def _updates(dns: Rfc2136, site: Site) -> tuple[dict[str, Any], dict[str, str]]:
    """Who takes changes, as cert-manager has it, and where the key is."""
    if dns.key is not None:
        where = {
            "nameserver": dns.server,
            "tsigKeyName": dns.key_name,
            "tsigAlgorithm": dns.algorithm,
        }
        return where, referred(dns.key, site)
    access = update_access(site, dns.update_key or "")
    where = {
        "nameserver": access.server,
        "tsigKeyName": access.key,
        "tsigAlgorithm": access.algorithm.replace("-", "").upper(),
    }
    return where, stored(access.secret)


def _acme(name: str, acme: Acme, site: Site) -> dict[str, Any]:
    solver: dict[str, Any] = {}
    if acme.dns is not None:
        where, _ = _updates(acme.dns, site)
        solver["dns01"] = {
            "rfc2136": {**where, "tsigSecretSecretRef": {"name": _tsig(name), "key": "key"}}
        }
    if acme.http is not None:
        solver["http01"] = {"ingress": {"class": acme.http.ingress_class}}
    given: dict[str, Any] = {
        "server": acme.directory,
        "privateKeySecretRef": {"name": f"{name}-account"},
        "solvers": [solver],
    }
    if acme.email:
        given["email"] = acme.email
    if acme.ca is not None:
        given["caBundle"] = _pem(acme.ca, site)
    return given


def _secret(name: str, data: Mapping[str, Any], kind: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "type": kind,
        "data": dict(data),
    }


def _cluster_issuer(name: str, spec: Mapping[str, Any]) -> Manifest:
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "ClusterIssuer",
        "metadata": {"name": name},
        "spec": dict(spec),
    }
