"""A component in the cluster that has secrets of the site kept in the site's Vault."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from provision.clusterphase import ClusterPhase
from provision.facts import Facts, ServiceQuery
from provision.phase import Context, Decision, Run, Skip, Unknown
from provision.phases.vault import VaultSettings, member_urls
from provision.site import Site


class SecretKeepingPhase(ClusterPhase):
    """Objects in the cluster, and secrets in Vault that belong to them.

    The role gets the secrets as ``<name>_vault``, on one machine, and keeps them by the module
    ``vault_secrets``, from the controller.
    """

    @abstractmethod
    def kept(self, site: Site) -> Mapping[str, Mapping[str, Any]]:
        """Secrets by their path in Vault, as the module takes them, none of them with a value."""

    def vault_secrets(self, site: Site) -> Mapping[str, Any]:
        """What the module is given; nothing where there is nothing to keep, or no Vault."""
        if not site.has(VaultSettings):
            return {}
        kept = self.kept(site)
        return {"members": member_urls(site), "secrets": kept} if kept else {}

    def service(self, context: Context) -> ServiceQuery | None:
        """How the secrets stand in the site's Vault."""
        secrets = self.vault_secrets(context.site)
        return ServiceQuery("vault secrets", secrets) if secrets else None

    def decide(self, context: Context, facts: Facts) -> Decision:
        """Run for objects that differ, and for secrets that Vault does not keep."""
        decided = super().decide(context, facts)
        told = facts.services.get(self.name)
        if told is None or isinstance(decided, Unknown):
            return decided
        unkept = [
            f"secret {path} of Vault is {state}, wanted kept"
            for path, state in told["found"].items()
            if state != "kept"
        ]
        if isinstance(decided, Skip) and not unkept:
            waiting = f"its secrets cannot be kept in Vault: {told['error']}"
            return Skip(decided.reason, attention=waiting) if told["error"] else decided
        given = decided if isinstance(decided, Run) else Run({})
        if not unkept:
            return given
        leader = next(name for name in context.site.control_plane if name in facts.reachable)
        nothing: dict[str, Any] = {f"{self.name}_objects": []}
        if self.whole_kinds(context):
            nothing[f"{self.name}_leftovers"] = []
        return Run(
            {**given.reasons, leader: [*given.reasons.get(leader, ()), *unkept]},
            variables={
                **given.variables,
                leader: {
                    **given.variables.get(leader, nothing),
                    f"{self.name}_vault": self.vault_secrets(context.site),
                },
            },
            lead=leader,
        )

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """All objects and secrets for the first control-plane machine, none for the others."""
        first = host == context.site.control_plane[0]
        return {
            **super().variables(context, host),
            f"{self.name}_vault": self.vault_secrets(context.site) if first else {},
        }
