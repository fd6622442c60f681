"""``api_endpoint``: a virtual address for the Kubernetes API, held by one machine at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from provision.dns.offers import Name
from provision.facts import Facts
from provision.kubeadm.config import API_PORT
from provision.kubeadm.endpoint import api_endpoint, joined
from provision.openings import Opening
from provision.phase import AnsiblePhase, Context, Decision, Run, Skip
from provision.site import Address, Settings, Site
from provision.virtualaddress import address_problems, priority, router_id

NO_ROUTER = 51
"""Where there is no address, nobody uses the number."""


class ApiEndpointSettings(Settings):
    """The address by which machines and people reach the Kubernetes API."""

    component = "api_endpoint"

    address: Address | None = None
    """A free address of the machines' network. A site with a single control-plane machine may
    do without; the API is reached at that machine's own address then, on port 6443."""
    port: Annotated[int, Field(ge=1, le=65535)] = 7443
    """TCP port of the API on that address; the API servers themselves listen on 6443."""
    interface: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,15}$")] | None = None
    """Network interface that carries the address; without it, that of the machine's address."""
    virtual_router_id: Annotated[int, Field(ge=1, le=255)] | None = None
    """VRRP's number for the address, unique in the network; without it, the address's last byte."""

    def endpoint(self, site: Site) -> str:
        """``address:port`` of the Kubernetes API."""
        return joined(*api_endpoint(site))


class ApiEndpointPhase(AnsiblePhase):
    """keepalived and haproxy on the control-plane machines."""

    name = "api_endpoint"
    after = ("machine",)
    settings = ApiEndpointSettings

    def hosts(self, context: Context) -> tuple[str, ...]:
        """The control-plane machines; none where the site has no virtual address."""
        settings = context.site.settings(ApiEndpointSettings)
        return () if settings.address is None else context.site.control_plane

    def validate_site(self, site: Site) -> Iterator[str]:
        """The address must be one that the control-plane machines can hold."""
        settings = site.settings(ApiEndpointSettings)
        if settings.address is None:
            if len(site.control_plane) > 1:
                yield (
                    f"api_endpoint.address is missing: {len(site.control_plane)} control-plane"
                    " machines need a virtual address that any of them may hold"
                )
            return
        yield from address_problems(site, "api_endpoint.address", settings.address)
        yield from self._port_problems(site, settings.port)

    def _port_problems(self, site: Site, port: int) -> Iterator[str]:
        # Imported late: the list of phases imports this module.
        from provision.plan import phases_of

        for phase in phases_of(site):
            for opening in phase.openings(site) if phase.name != self.name else ():
                first, _, last = opening.ports.partition("-")
                if opening.protocol == "tcp" and int(first) <= port <= int(last or first):
                    yield (
                        f"api_endpoint.port {port} is taken on the same machines by"
                        f" {phase.name} ({opening.why}); choose another, such as 7443"
                    )

    def openings(self, site: Site) -> Sequence[Opening]:
        """The API for everyone, VRRP among the control-plane machines."""
        settings = site.settings(ApiEndpointSettings)
        if settings.address is None:
            return (Opening(str(API_PORT), "Kubernetes API", "any", on="control_plane"),)
        return (
            Opening(str(settings.port), "Kubernetes API", "any", on="control_plane"),
            Opening("", "VRRP", "control_plane", on="control_plane", protocol="vrrp"),
        )

    def names(self, site: Site) -> Sequence[Name]:
        """``api``, wherever the API is reached."""
        return (Name("api", (api_endpoint(site)[0],)),)

    def decide(self, context: Context, facts: Facts) -> Decision:
        """Run where a machine differs; one by one where the address may be in use already."""
        reasons = self.state_reasons(context, facts)
        if not reasons:
            return Skip("every machine is as the site says")
        in_use = any(
            facts.machines[host].observed["units"]["keepalived.service"]["active"]
            for host in self.hosts(context)
            if host in facts.reachable
        )
        return Run(reasons, waves=[(host,) for host in reasons] if in_use else ())

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """Variables of the role ``api_endpoint``."""
        site = context.site
        settings = site.settings(ApiEndpointSettings)
        addresses = {name: site.hosts[name].address for name in site.control_plane}
        virtual = settings.address
        return {
            "api_endpoint_address": "" if virtual is None else str(virtual),
            "api_endpoint_port": settings.port,
            "api_endpoint_interface": settings.interface or "",
            "api_endpoint_virtual_router_id": settings.virtual_router_id
            or (NO_ROUTER if virtual is None else router_id(virtual)),
            "api_endpoint_priority": priority(site.control_plane, host),
            "api_endpoint_own_address": str(addresses[host]),
            "api_endpoint_peers": [
                str(address) for name, address in addresses.items() if name != host
            ],
            "api_endpoint_servers": [
                {"name": name, "address": joined(address, API_PORT)}
                for name, address in addresses.items()
            ],
        }
