"""cert_manager: certificates for what runs in the cluster, issued and renewed by themselves."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from provision import manifests
from provision.clusterphase import ClusterPhase
from provision.explain import DNS_LABEL
from provision.issuers import Acme, Issuer, Rfc2136, Server, SiteCa, VaultPki
from provision.merge import deep_merge
from provision.objectsecrets import referred, stored
from provision.phase import Context, Manifest
from provision.phases.dns import update_access, update_key_problem
from provision.phases.vault import VaultSettings, vault_url
from provision.pki import certificate_problem
from provision.secretspec import Authority, SecretSpec
from provision.site import SecretRef, Settings, Site
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
    bundled = ("cert-manager",)
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
            if issuer.acme.provider is not None:
                for field, reference in issuer.acme.provider.secrets.items():
                    yield from _prompt_problems(f"{key}.provider.secrets.{field}", reference)
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
            "acmesolver": {"image": {"tag": tag}},
            # The charts of old versions have their definitions always, later ones when asked.
            "crds": {"enabled": True, "keep": False},
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
    if pki.app_role is not None:
        yield from _prompt_problems(f"{key}.app_role.secret_id", pki.app_role.secret_id)
    if pki.ca is not None:
        yield from _ca_problems(f"{key}.ca", site.resolve(pki.ca))


def _dns_problems(key: str, dns: Rfc2136, site: Site) -> Iterator[str]:
    if dns.update_key is not None:
        problem = update_key_problem(site, dns.update_key, "TXT")
        if problem:
            yield f"{key}.update_key {problem}"
    if dns.key is not None:
        yield from _prompt_problems(f"{key}.key", dns.key)


def _prompt_problems(key: str, reference: SecretRef) -> Iterator[str]:
    if reference.prompt:
        yield (
            f"{key} cannot be asked for: the cluster keeps it; give {{file: PATH}}"
            " or {store: NAME}"
        )


def _ca_problems(key: str, path: Path) -> Iterator[str]:
    problem = certificate_problem(path)
    if problem:
        yield f"{key} {path} {problem}"


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
        if issuer.acme.provider is not None and issuer.acme.provider.secrets:
            references = issuer.acme.provider.secrets.items()
            data = {field: referred(reference, site) for field, reference in references}
            yield _secret(_provider(name), data, "Opaque")
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


def _provider(issuer: str) -> str:
    return f"{issuer}-provider"


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
    if acme.provider is not None:
        secrets = {
            field: {"name": _provider(name), "key": field} for field in acme.provider.secrets
        }
        solver["dns01"] = {acme.provider.solver: {**acme.provider.settings, **secrets}}
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
