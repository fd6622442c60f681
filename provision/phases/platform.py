"""platform: applications in the cluster, as the site's own Git repository says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from provision import manifests
from provision.argocd.access import URL, holds_password
from provision.argocd.names import NAMESPACE
from provision.explain import DNS_LABEL
from provision.facts import Facts
from provision.merge import deep_merge
from provision.phase import Context, Decision, GateSpec, Manifest, Run, Skip, Unknown
from provision.phases.argocd import ArgocdSettings
from provision.phases.vault import VaultSettings
from provision.secretkeeping import SecretKeepingPhase
from provision.secretspec import Encoding, Random, SecretSpec
from provision.site import Model, Settings, Site

THIS_CLUSTER = "https://kubernetes.default.svc"
EVERYTHING = ({"group": "*", "kind": "*"},)
AUTHORITY = "site-ca"
"""The site's own authority, by which its Vault, its databases and its depots are known."""
STAND_IN = """\
-----BEGIN CERTIFICATE-----
bWFkZSBieSB0aGUgZmlyc3QgcHJvdmlzaW9uIHVw
-----END CERTIFICATE-----
"""
"""In the place of the authority's certificate before there is one; it only says so in Base64."""
VALUE_NAME = r"^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*$"
ENGINE = "secret"
"""The engine for secrets that the site's Vault has."""
PLAIN = r"^[a-z0-9][a-z0-9_-]*$"
"""Without a dot, which stands between path and field where the site keeps the secret."""
SecretPath = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*$")]
ApplicationName = Annotated[str, Field(pattern=DNS_LABEL)]


class Ignored(Model):
    """Fields of an object that its controller changes, which is no difference."""

    group: str = ""
    """Its API group; empty for Kubernetes' own core."""
    kind: Annotated[str, Field(min_length=1)]
    """Its kind."""
    namespace: str = ""
    """Its namespace; any without it."""
    name: str = ""
    """Its name; any without it."""
    json_pointers: tuple[Annotated[str, Field(pattern="^/")], ...] = ()
    """Fields as RFC 6901 writes them, such as ``/spec/replicas``."""
    jq_paths: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Fields as jq writes them."""
    managers: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Field managers, all of whose fields are meant."""


class MadeSecret(Model):
    """A secret that is made at random, once, and is in the care of Vault from then on."""

    fields: Annotated[tuple[Annotated[str, Field(pattern=PLAIN)], ...], Field(min_length=1)]
    """Its fields in Vault, each with a value of its own."""
    size: Annotated[int, Field(ge=8, le=1024)] = 32
    """Random bytes of each."""
    encoding: Encoding = "hex"
    """How the bytes are written: ``hex``, ``base64``, or ``base64url``, which has no ``+`` and
    no ``/``."""


class PlatformSettings(Settings):
    """The platform's repository, and how it is followed."""

    component = "platform"
    optional = True

    repository: Annotated[str, Field(pattern=URL)]
    """Git repository of the site; what it takes to read it stands in ``argocd.repositories``."""
    path: Annotated[str, Field(pattern=r"^[^/\s][^\s]*$")] = "platform"
    """Folder in it with the applications: manifests of Application objects, or a Helm chart or
    kustomization that makes them."""
    revision: Annotated[str, Field(min_length=1)] = "HEAD"
    """Branch, tag or commit."""
    name: ApplicationName = "platform"
    """Name of the application that is all the others, and of their project."""
    sources: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Further repositories that applications may come from; ``*`` stands for any text."""
    images: tuple[Annotated[str, Field(pattern=DNS_LABEL)], ...] = ()
    """Components whose images the applications take, of those that a bundle has only on request,
    such as ``keycloak``; ``provision bundle list`` names them."""
    secrets: dict[SecretPath, MadeSecret] = Field(default_factory=dict)
    """Secrets of the applications by their path in the site's Vault, such as
    ``secret/platform/web``, where they are before any application is."""
    values: dict[str, Any] = Field(default_factory=dict)
    """The site's values for the folder's Helm chart."""
    authority_value: Annotated[str, Field(pattern=VALUE_NAME)] | None = None
    """Name of the value that is to be the certificate of the site's own authority, in PEM form, by
    which its Vault and its databases are known; ``global.authority`` is one in a mapping."""
    value_files: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """Files of values in the repository, relative to the folder, such as ``values-SITE.yaml``."""
    automated: bool = True
    """Whether the repository's applications are brought in by themselves."""
    prune: bool = True
    """Whether applications go that the repository does not name any more."""
    self_heal: bool = True
    """Whether applications that were changed by hand are put right."""
    ignore_differences: tuple[Ignored, ...] = ()
    """Fields that do not count, of the Application objects or whatever else the folder holds."""
    exceptions: dict[ApplicationName, Annotated[str, Field(min_length=1)]] = Field(
        default_factory=dict
    )
    """Applications that need not be Synced and Healthy, each with the reason why."""
    deadline_seconds: Annotated[int, Field(ge=10, le=86400)] = 900
    """Seconds within which every application must be Synced and Healthy."""


class Platform(SecretKeepingPhase):
    """A project, and the application that is all applications."""

    name = "platform"
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
        "postgresql",
        "shared_storage",
        "vault",
        "vault_kubernetes",
    )
    settings = PlatformSettings
    namespace = NAMESPACE

    def on_request(self, site: Site) -> tuple[str, ...]:
        """What the site says that its applications take."""
        return site.settings(PlatformSettings).images

    def validate_site(self, site: Site) -> Iterator[str]:
        """Whatever is to be ignored must be named, and secrets need a Vault."""
        settings = site.settings(PlatformSettings)
        if holds_password(settings.repository):
            yield (
                "platform.repository has a password in it, which everyone sees who reads a plan;"
                " give it as argocd.repositories.NAME.password: {file: PATH} or {store: NAME}"
            )
        if settings.secrets and not site.has(VaultSettings):
            yield "platform.secrets are kept in the site's Vault, and this site has none (vault)"
        yield from _value_problems(settings)
        for path in settings.secrets:
            if not path.startswith(f"{ENGINE}/"):
                yield (
                    f"platform.secrets.{path} is in no engine of the site's Vault: write"
                    f" {ENGINE}/{path}"
                )
        for number, ignored in enumerate(settings.ignore_differences):
            if not (ignored.json_pointers or ignored.jq_paths or ignored.managers):
                yield (
                    f"platform.ignore_differences.{number} names no field: give json_pointers,"
                    " jq_paths or managers"
                )

    def secrets(self, site: Site) -> Sequence[SecretSpec]:
        """A random value for each field of the applications' secrets."""
        return [
            Random(_name_of(path, field), secret.size, encoding=secret.encoding)
            for path, secret in site.settings(PlatformSettings).secrets.items()
            for field in secret.fields
        ]

    def kept(self, site: Site) -> Mapping[str, Mapping[str, Any]]:
        """The applications' secrets; what people change in Vault stays as they say."""
        return {
            path: {"initial": {field: _name_of(path, field) for field in secret.fields}}
            for path, secret in site.settings(PlatformSettings).secrets.items()
        }

    def objects(self, context: Context) -> Sequence[Manifest]:
        """The project, then the application."""
        settings = context.site.settings(PlatformSettings)
        values = helm_values(settings, context.secrets.certificate(AUTHORITY))
        return [_project(settings), _application(settings, values)]

    def decide(self, context: Context, facts: Facts) -> Decision:
        """Run for objects that differ, where the site has Argo CD to follow the repository."""
        if not context.site.has(ArgocdSettings):
            return Skip(
                "there is no Argo CD", attention="write `argocd: {address: …}` into the site file"
            )
        decided = super().decide(context, facts)
        wanted = context.site.settings(PlatformSettings).authority_value
        if isinstance(decided, Run) and wanted and context.secrets.certificate(AUTHORITY) is None:
            # What stands in for it is for charts that are only looked at.
            return Unknown("machine", f"there is no certificate of {AUTHORITY} yet")
        told = facts.services.get(self.name)
        if isinstance(decided, Run) and told is not None and told["error"]:
            application = facts.cluster.objects.get(manifests.key(self.objects(context)[-1]))
            if application is None or not application.exists:
                # Applications that wait for their secrets would be waited for in vain.
                return Unknown("vault", told["error"])
        return decided

    def gates(self, context: Context, hosts: Sequence[str]) -> Sequence[GateSpec]:
        """Every application is there and runs."""
        if not context.site.has(ArgocdSettings):
            return ()
        settings = context.site.settings(PlatformSettings)
        return (
            GateSpec(
                "applications synced and healthy",
                settings.deadline_seconds,
                {"namespace": NAMESPACE, "exceptions": sorted(settings.exceptions)},
                fix="provision platform status",
            ),
        )


def _name_of(path: str, field: str) -> str:
    """The site's own secret that a field in Vault is begun with."""
    return f"platform/{path}.{field}"


def _project(settings: PlatformSettings) -> Manifest:
    return _object(
        "AppProject",
        settings.name,
        {
            "description": "Applications of the site's platform",
            "sourceRepos": [settings.repository, *settings.sources],
            "destinations": [{"server": THIS_CLUSTER, "namespace": "*"}],
            "clusterResourceWhitelist": list(EVERYTHING),
        },
    )


def helm_values(settings: PlatformSettings, authority: str | None) -> dict[str, Any]:
    """The site's values for the folder's chart.

    Parameters
    ----------
    authority
        The certificate of the site's authority, in PEM form; None while there is none.
    """
    given: Any = authority or STAND_IN
    for name in reversed(settings.authority_value.split(".") if settings.authority_value else ()):
        given = {name: given}
    return deep_merge(settings.values, given) if settings.authority_value else dict(settings.values)


def _value_problems(settings: PlatformSettings) -> Iterator[str]:
    """The authority's value must be nobody else's."""
    found: Any = settings.values
    path = "platform.values"
    for name in settings.authority_value.split(".") if settings.authority_value else ():
        if not isinstance(found, Mapping):
            yield f"{path} is no mapping, and platform.authority_value is to be in it"
            return
        if name not in found:
            return
        found, path = found[name], f"{path}.{name}"
    if settings.authority_value:
        yield f"{path} is given by platform.authority_value; leave one of them out"


def _application(settings: PlatformSettings, values: Mapping[str, Any]) -> Manifest:
    source: dict[str, Any] = {
        "repoURL": settings.repository,
        "path": settings.path,
        "targetRevision": settings.revision,
    }
    helm: dict[str, Any] = {}
    if settings.value_files:
        helm["valueFiles"] = list(settings.value_files)
    if values:
        helm["valuesObject"] = dict(values)
    if helm:
        source["helm"] = helm
    spec: dict[str, Any] = {
        "project": settings.name,
        "source": source,
        "destination": {"server": THIS_CLUSTER, "namespace": NAMESPACE},
    }
    if settings.automated:
        automated = {"prune": settings.prune, "selfHeal": settings.self_heal}
        spec["syncPolicy"] = {"automated": automated}
    if settings.ignore_differences:
        spec["ignoreDifferences"] = [_ignored(one) for one in settings.ignore_differences]
    return _object("Application", settings.name, spec)


def _ignored(one: Ignored) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "group": one.group,
        "kind": one.kind,
        "namespace": one.namespace,
        "name": one.name,
        "jsonPointers": list(one.json_pointers),
        "jqPathExpressions": list(one.jq_paths),
        "managedFieldsManagers": list(one.managers),
    }
    return {name: value for name, value in fields.items() if value}


def _object(kind: str, name: str, spec: Mapping[str, Any]) -> Manifest:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": dict(spec),
    }
