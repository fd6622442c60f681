"""vault_kubernetes: pods log in to the site's Vault as their service accounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Annotated, Any

from pydantic import Field

from provision.clusterphase import ClusterPhase
from provision.explain import DNS_LABEL
from provision.facts import Facts, ServiceQuery
from provision.kubeadm.endpoint import api_endpoint, joined
from provision.kubeadm.reviews import reviewable
from provision.phase import Context, Decision, GateSpec, Manifest, Run, Skip, Unknown
from provision.phases.vault import VaultSettings, member_urls, vault_hosts
from provision.site import Settings, Site
from provision.vault.configuration import Configuration, configuration_differences
from provision.vault.names import KUBERNETES_PLUGIN
from provision.vault.roles import Role, RoleName

MOUNT = "kubernetes"
BINDING = "provision:vault-clients"
ObjectName = Annotated[str, Field(pattern=DNS_LABEL)]
"""Name of a namespace or a service account; none of them stands for all."""


class KubernetesRole(Role):
    """A way into Vault for pods of certain service accounts."""

    service_accounts: Annotated[tuple[ObjectName, ...], Field(min_length=1)]
    """Names of the service accounts."""
    namespaces: Annotated[tuple[ObjectName, ...], Field(min_length=1)]
    """Namespaces in which they are."""


class VaultKubernetesSettings(Settings):
    """Vault's auth method for the site's own cluster."""

    component = "vault_kubernetes"
    optional = True

    audience: str = "https://kubernetes.default.svc.cluster.local"
    """Audience that service accounts' tokens must be for: the API server's own, since it is asked
    about each with that very token."""
    roles: dict[RoleName, KubernetesRole] = Field(default_factory=dict)
    """Roles by name."""


class VaultKubernetes(ClusterPhase):
    """The auth method in Vault, and the right of its clients to have their tokens reviewed."""

    name = "vault_kubernetes"
    after = ("depot", "kubernetes", "machine", "vault")
    settings = VaultKubernetesSettings
    bundled = ("vault-plugin-auth-kubernetes",)
    namespace = "kube-system"

    def objects(self, context: Context) -> Sequence[Manifest]:
        """One binding, of every service account that a role names."""
        roles = context.site.settings(VaultKubernetesSettings).roles.values()
        accounts = {
            (namespace, name)
            for role in roles
            for namespace, name in product(role.namespaces, role.service_accounts)
        }
        return [reviewable(BINDING, sorted(accounts))] if accounts else []

    def service(self, context: Context) -> ServiceQuery:
        """Every member of Vault, and what it should hold of this."""
        return ServiceQuery(
            "vault",
            {"members": _members(context.site), "configuration": configuration(context)},
        )

    def decide(self, context: Context, facts: Facts) -> Decision:
        """Run for objects and for what Vault holds, from one control-plane machine."""
        if not context.site.has(VaultSettings):
            return Skip("there is no Vault", attention="write `vault: {}` into the site file")
        decided = super().decide(context, facts)
        if isinstance(decided, Unknown):
            return decided
        told = facts.services[self.name]
        if told["keys"] in ("none", "attempt"):
            return Unknown("vault")
        if told["found"] is None:
            waiting = "Vault serves nobody: provision vault status"
            return decided if isinstance(decided, Run) else Skip("Vault serves nobody", waiting)
        differences = list(configuration_differences(configuration(context), told["found"]))
        if not differences:
            return decided
        leader = next(name for name in context.site.control_plane if name in facts.reachable)
        given = decided if isinstance(decided, Run) else Run({})
        nothing: dict[str, Any] = {f"{self.name}_objects": []}
        return Run(
            {**given.reasons, leader: [*given.reasons.get(leader, ()), *differences]},
            variables={
                **given.variables,
                leader: {
                    **given.variables.get(leader, nothing),
                    f"{self.name}_configuration": configuration(context),
                },
            },
            lead=leader,
        )

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """Variables of the role ``vault_kubernetes``."""
        first = host == context.site.control_plane[0]
        return {
            **super().variables(context, host),
            f"{self.name}_members": _members(context.site),
            f"{self.name}_configuration": configuration(context) if first else {},
        }

    def gates(self, context: Context, hosts: Sequence[str]) -> Sequence[GateSpec]:
        """None: both the cluster and Vault answer when it is so."""
        return ()


def configuration(context: Context) -> Configuration:
    """What Vault should hold, as plain data."""
    site = context.site
    settings = site.settings(VaultKubernetesSettings)
    return {
        "plugins": _plugins(context),
        "auth": {MOUNT: {"type": "kubernetes"}},
        "paths": {
            f"auth/{MOUNT}/config": {
                "kubernetes_host": f"https://{joined(*api_endpoint(site))}",
                "kubernetes_ca_cert": {"store": "kubernetes/ca.crt"},
                # Vault runs in no pod, whose token it would use otherwise.
                "disable_local_ca_jwt": True,
                # It keeps no token to review others with: each is reviewed by itself.
                "token_reviewer_jwt_set": False,
            },
            **{
                f"auth/{MOUNT}/role/{name}": {
                    "bound_service_account_names": list(role.service_accounts),
                    "bound_service_account_namespaces": list(role.namespaces),
                    "audience": settings.audience,
                    **role.options(),
                }
                for name, role in settings.roles.items()
            },
        },
    }


def _plugins(context: Context) -> Mapping[str, Any]:
    """The bundle's plugin; all members are of the first one's architecture."""
    site = context.site
    if KUBERNETES_PLUGIN not in context.bundle.versions or not site.has(VaultSettings):
        return {}
    architecture = site.hosts[vault_hosts(site)[0]].architecture.value
    return {
        f"auth/{MOUNT}": {
            "command": KUBERNETES_PLUGIN,
            "sha256": context.bundle.sha256(KUBERNETES_PLUGIN, architecture),
        }
    }


def _members(site: Site) -> Mapping[str, str]:
    return member_urls(site) if site.has(VaultSettings) else {}
