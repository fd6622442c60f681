"""``depot``: the bundle on the site's own machines, served by an OCI registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from provision.depot_content import FOLDER, content_differences, content_query
from provision.depot_tree import DepotTree
from provision.facts import Facts, Query
from provision.openings import Opening
from provision.phase import AnsiblePhase, Context, Decision, Run, Skip
from provision.secretspec import Certificate, SecretSpec
from provision.site import Settings, Site


class DepotSettings(Settings):
    """The depots: registries on the control-plane machines that serve the bundle."""

    component = "depot"

    port: Annotated[int, Field(ge=1024, le=65535)] = 5000
    """TCP port of the depots."""
    log_level: Literal["debug", "info", "warn", "error"] = "info"
    """From which level on the registries log."""


class DepotPhase(AnsiblePhase):
    """Every control-plane machine serves the whole bundle, and no one can write to it."""

    name = "depot"
    after = ("machine",)
    settings = DepotSettings

    def hosts(self, context: Context) -> tuple[str, ...]:
        """The control-plane machines, so that no single depot matters."""
        return context.site.control_plane

    def secrets(self, site: Site) -> Sequence[SecretSpec]:
        """A server certificate for each depot."""
        return [
            Certificate(
                f"depot/{name}",
                authority="site-ca",
                common_name=name,
                names=(name, str(site.hosts[name].address)),
            )
            for name in site.control_plane
        ]

    def openings(self, site: Site) -> Sequence[Opening]:
        """The depots' port, for the site's machines."""
        port = str(site.settings(DepotSettings).port)
        return (Opening(port, "depot", "machines", on="control_plane"),)

    def query(self, context: Context, host: str) -> Query:
        """The role's state and the depot's content."""
        return super().query(context, host) | content_query(_tree(context), FOLDER)

    def decide(self, context: Context, facts: Facts) -> Decision:
        """Run where the registry or its content is not as the bundle says."""
        reasons = self.state_reasons(context, facts)
        tree = _tree(context)
        for host in self.hosts(context):
            if host in facts.reachable:
                observed = facts.machines[host].observed
                found = content_differences(tree, FOLDER, observed).listed(tree, FOLDER)
                if found:
                    reasons[host] = [*reasons.get(host, []), *map(str, found)]
        return Run(reasons) if reasons else Skip("every depot has the whole bundle")

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """Variables of the role ``depot``."""
        return {
            "depot_listen": depot_address(context.site, host),
            "depot_path": FOLDER,
            "depot_log_level": context.site.settings(DepotSettings).log_level,
        }

    def common_variables(self, context: Context) -> Mapping[str, Any]:
        """Where every machine finds the depots."""
        return {"provision_depots": depot_urls(context.site)}


def depot_address(site: Site, host: str) -> str:
    """Address and port of the depot on ``host``, as in a URL."""
    address = site.hosts[host].address
    port = site.settings(DepotSettings).port
    return f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"


def depot_urls(site: Site) -> list[str]:
    """Addresses of all depots, in the order of the site file."""
    return [f"https://{depot_address(site, host)}" for host in site.control_plane]


def _tree(context: Context) -> DepotTree:
    return DepotTree.of(context.bundle)
