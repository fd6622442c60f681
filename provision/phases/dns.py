"""``dns``: names of the site, served by machines of its own or looked for at others'."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from provision.dns import records
from provision.dns.offers import Forward, UpdateAccess
from provision.dns.records import Record
from provision.dns.zones import (
    DNS_NAME,
    OWNER,
    RecordType,
    Values,
    addresses,
    record_problems,
    records_of,
)
from provision.facts import Facts, Query
from provision.kubeadm.endpoint import api_endpoint, joined
from provision.openings import Opening
from provision.phase import AnsiblePhase, Blocked, Context, Decision, Run, Skip
from provision.secretspec import Random, SecretSpec, Text
from provision.site import Address, Model, Settings, Site
from provision.state import DesiredState

KEPT = "/var/lib/provision/dns/kept.json"
"""On each server: names and types of the records that ``provision`` keeps."""
SERVICE = "knot.service"
OWN_KEYS = ("provision", "transfer")
"""Keys for the records that are kept, and for copies from one server to the other."""
ALGORITHM = "hmac-sha256"

ZoneName = Annotated[str, Field(pattern=DNS_NAME, max_length=253)]
Owner = Annotated[str, Field(pattern=OWNER, max_length=253)]
Records = dict[Owner, dict[RecordType, Values]]
KeyName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")]


class UpdateKey(Model):
    """What the holder of a key may change (RFC 2136, signed with TSIG)."""

    types: tuple[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9]*$")], ...] = ("TXT",)
    """Types of records; all without any."""
    names: tuple[Owner, ...] = ()
    """Names relative to the zone, each with all names below it; all without any."""


class DnsSettings(Settings):
    """Names of the site."""

    component = "dns"
    optional = True

    mode: Literal["serve", "forward", "check"] = "serve"
    """``serve``: machines of the site are the zones' servers. ``forward``: others are, and
    cluster DNS asks them. ``check``: others are, and machines find them by themselves. In the
    last two, names are only checked."""
    zone: ZoneName
    """Zone of the site, such as ``site.example.org``; components' names stand in it."""
    records: Records = Field(default_factory=dict)
    """Records by name relative to the zone (``@`` for the zone itself) and type, such as
    ``data: {A: 192.0.2.200}``; besides those that components give."""
    zones: dict[ZoneName, Records] = Field(default_factory=dict)
    """Further zones with their records."""
    ttl: Annotated[int, Field(ge=1, le=86400)] = 300
    """Seconds for which others may remember a record that is kept here."""
    hosts: tuple[str, ...] = ()
    """Machines that serve; the first takes changes, the others copy from it. Without any, the
    first two control-plane machines."""
    listen: dict[str, Annotated[tuple[Address, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    """Addresses that a machine serves on, the first of which others are told; its own unless
    said."""
    servers: tuple[Address, ...] = ()
    """Servers of the zones, where they are not machines of the site."""
    port: Annotated[int, Field(ge=1, le=65535)] = 53
    """UDP and TCP port of the servers."""
    update_keys: dict[KeyName, UpdateKey] = Field(default_factory=lambda: {"acme": UpdateKey()})
    """Keys with which others may change records, by name."""

    def all_zones(self) -> dict[str, Records]:
        """Every zone with the site file's records."""
        return {self.zone: self.records, **self.zones}


class DnsPhase(AnsiblePhase):
    """Authoritative servers on machines of the site; or nothing but checks."""

    name = "dns"
    after = ("machine",)
    settings = DnsSettings

    def hosts(self, context: Context) -> tuple[str, ...]:
        """The servers; where others serve, every machine, to look for the names."""
        settings = context.site.settings(DnsSettings)
        return servers(context.site) if settings.mode == "serve" else tuple(context.site.hosts)

    def validate_site(self, site: Site) -> Iterator[str]:
        """Zones need servers, and records must fit together."""
        settings = site.settings(DnsSettings)
        yield from _server_problems(site, settings)
        for name in settings.update_keys:
            if name in OWN_KEYS:
                yield f"dns.update_keys.{name} is the name of a key that provision itself uses"
        for zone in settings.all_zones():
            if f".{zone}".endswith(".cluster.local"):
                yield f"dns.zone {zone} is cluster.local or in it, which Kubernetes itself serves"
        if settings.zone in settings.zones:
            yield f"dns.zones.{settings.zone} is dns.zone already; its records stand in dns.records"
        yield from record_problems("dns.records", settings.zone, settings.records)
        for zone, listed in settings.zones.items():
            yield from record_problems(f"dns.zones.{zone}", zone, listed)

    def secrets(self, site: Site) -> Sequence[SecretSpec]:
        """A key for each who may change records, and for copies among the servers."""
        settings = site.settings(DnsSettings)
        if settings.mode != "serve":
            return ()
        names = (*OWN_KEYS, *settings.update_keys)
        return (
            *(Random(key_secret(name)) for name in names),
            Text("dns/keys.conf", "key:\n" + "".join(map(_key_stanza, names))),
            *(
                Text(f"dns/{name}.key", f"{ALGORITHM}:{name}:{{secret:{key_secret(name)}}}\n")
                for name in OWN_KEYS
            ),
        )

    def openings(self, site: Site) -> Sequence[Opening]:
        """The servers' port for everyone."""
        settings = site.settings(DnsSettings)
        if settings.mode != "serve":
            return ()
        on = servers(site)
        return (
            Opening(str(settings.port), "DNS", "any", on=on, protocol="udp"),
            Opening(str(settings.port), "DNS", "any", on=on),
        )

    def forwards(self, site: Site) -> Sequence[Forward]:
        """Cluster DNS asks the servers directly."""
        settings = site.settings(DnsSettings)
        if settings.mode == "check":
            return ()
        return [Forward(zone, tuple(sockets(site))) for zone in settings.all_zones()]

    def api_names(self, site: Site) -> Sequence[str]:
        """Every name that stands for the API's address."""
        address = str(api_endpoint(site)[0])
        listed = (record for zone in self.records(site).values() for record in zone)
        return [record.name.rstrip(".") for record in listed if address in record.values]

    def query(self, context: Context, host: str) -> Query:
        """The role's state, and how the records stand."""
        wanted = [item for listed in self.records(context.site).values() for item in listed]
        asked = Query(
            names=frozenset(
                records.question(server, record)
                for server in _asked_by(context.site, host)
                for record in wanted
            )
        )
        return super().query(context, host) | asked | Query(texts=frozenset({KEPT}))

    def desired(self, context: Context, host: str) -> DesiredState:
        """The role's state; nothing where others serve."""
        if context.site.settings(DnsSettings).mode != "serve":
            return DesiredState()
        return super().desired(context, host)

    def records(self, site: Site) -> dict[str, list[Record]]:
        """Everything that is kept, by zone; with the servers themselves where the site has them."""
        # Imported late: the list of phases imports this module.
        from provision.plan import phases_of

        settings = site.settings(DnsSettings)
        names = [name for phase in phases_of(site) for name in phase.names(site)]
        found = {
            zone: records_of(zone, listed, names if zone == settings.zone else (), settings.ttl)
            for zone, listed in settings.all_zones().items()
        }
        if settings.mode == "serve":
            for zone, listed in found.items():
                listed.append(Record(f"{zone}.", "NS", tuple(_server_names(site)), settings.ttl))
            for host, name in zip(servers(site), _server_names(site), strict=True):
                own = addresses(name, _listen(site, host)[:1], settings.ttl)
                found[settings.zone].extend(own)
        return found

    def decide(self, context: Context, facts: Facts) -> Decision:
        """Run where a server or a record differs, one server after the other."""
        if context.site.settings(DnsSettings).mode != "serve":
            return self._decide_names(context, facts)
        reasons = self.state_reasons(context, facts)
        first, *others = servers(context.site)
        asked = [first, *others] if first in facts.reachable else []
        for host in asked:
            if host in facts.reachable:
                found = list(self._record_reasons(context, host, facts.machines[host].observed))
                if found:
                    reasons[host] = [*reasons.get(host, []), *found]
        if not reasons:
            return Skip("every server and every record is as the site says")
        return Run(reasons, waves=[(host,) for host in (first, *others) if host in reasons])

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """Variables of the role ``dns``."""
        site = context.site
        settings = site.settings(DnsSettings)
        if settings.mode != "serve":
            return {}
        first, *others = servers(site)
        peers = others if host == first else [first]
        return {
            "dns_primary": host == first,
            "dns_listen": list(map(str, _listen(site, host))),
            "dns_port": settings.port,
            "dns_peers": [{"name": peer, "address": str(_listen(site, peer)[0])} for peer in peers],
            "dns_zones": [
                {"name": f"{zone}.", "records": [record.as_dict() for record in listed]}
                for zone, listed in self.records(site).items()
            ],
            "dns_nameservers": list(_server_names(site)),
            "dns_ttl": settings.ttl,
            "dns_update_keys": [
                {"name": name, "types": list(key.types), "names": list(key.names)}
                for name, key in settings.update_keys.items()
            ],
        }

    def _record_reasons(
        self, context: Context, host: str, observed: Mapping[str, Any]
    ) -> Iterator[str]:
        """How records stand at a server that runs; one that does not has said so already."""
        if not observed["units"][SERVICE]["active"]:
            return
        by_zone = self.records(context.site)
        listed = [record for zone in by_zone.values() for record in zone]
        (server,) = _asked_by(context.site, host)
        for record in listed:
            found = records.difference(record, observed["names"][records.question(server, record)])
            if found:
                yield f"record {record.key} is {found[0]}, wanted {found[1]}"
        kept = observed["texts"][KEPT]
        gone = records.surplus(kept, listed, [f"{zone}." for zone in by_zone])
        yield from (f"record {key} is still kept, wanted gone" for key in gone)
        if kept != records.kept_list(listed) and not gone:
            yield f"file {KEPT} is not the list of kept records, wanted that list"

    def _decide_names(self, context: Context, facts: Facts) -> Decision:
        """Others serve: nothing can be done here but to say what is wrong."""
        findings: dict[str, list[str]] = {}
        for host in facts.reachable:
            for server in _asked_by(context.site, host):
                for record in (r for listed in self.records(context.site).values() for r in listed):
                    answer = facts.machines[host].observed["names"][
                        records.question(server, record)
                    ]
                    same_age = {**answer, "ttl": record.ttl, "alias": ""}
                    found = records.difference(record, same_age)
                    if found:
                        place = "its own resolver" if server == records.RESOLVER else server
                        told = f"{record.key} is {found[0]} at {place}, wanted {found[1]}"
                        findings.setdefault(told, []).append(host)
        if findings:
            return Blocked(
                [
                    f"as {', '.join(hosts)} {'see' if len(hosts) > 1 else 'sees'} it, {told};"
                    " whoever keeps the zone has to put that right"
                    for told, hosts in findings.items()
                ]
            )
        return Skip("every name is as the site says")


def key_secret(name: str) -> str:
    """Name of the secret with the TSIG key ``name``, in base64."""
    return f"dns/key/{name}"


def update_access(site: Site, key: str) -> UpdateAccess:
    """How the holder of one of ``dns.update_keys`` changes records of a site that serves them."""
    primary = _listen(site, servers(site)[0])[0]
    server = joined(primary, site.settings(DnsSettings).port)
    return UpdateAccess(server, key, ALGORITHM, key_secret(key))


def update_key_problem(site: Site, key: str, kind: str) -> str:
    """Why ``key`` cannot change records of a type, to be put after its place; or nothing."""
    if not site.has(DnsSettings) or site.settings(DnsSettings).mode != "serve":
        return f"{key} is for zones that this site serves itself (dns.mode: serve), and it has none"
    given = site.settings(DnsSettings).update_keys.get(key)
    if given is None:
        return f"{key} is none of dns.update_keys"
    if given.types and kind not in given.types:
        return f"{key} may not change {kind} records; add {kind} to dns.update_keys.{key}.types"
    return ""


def servers(site: Site) -> tuple[str, ...]:
    """Machines that serve the zones; the first takes changes."""
    return site.settings(DnsSettings).hosts or site.control_plane[:2]


def _server_problems(site: Site, settings: DnsSettings) -> Iterator[str]:
    for name in (*settings.hosts, *settings.listen):
        if name not in site.hosts:
            where = "hosts" if name in settings.hosts else f"listen.{name}"
            yield f"dns.{where} names {name}, which is no machine of the site"
    if len(set(settings.hosts)) != len(settings.hosts):
        yield "dns.hosts names a machine twice"
    if settings.mode == "forward" and not settings.servers:
        yield (
            f"dns.servers is missing: dns.mode is forward, and the zone {settings.zone} has no"
            " servers to forward to"
        )
    if settings.mode != "forward" and settings.servers:
        yield f"dns.servers means nothing where dns.mode is {settings.mode}; dns.mode: forward?"
    if settings.mode != "serve" and (settings.hosts or settings.listen):
        key = "hosts" if settings.hosts else "listen"
        yield f"dns.{key} means nothing where dns.mode is {settings.mode}: no machine here serves"


def _listen(site: Site, host: str) -> tuple[Address, ...]:
    return site.settings(DnsSettings).listen.get(host) or (site.hosts[host].address,)


def _server_names(site: Site) -> Iterator[str]:
    zone = site.settings(DnsSettings).zone
    return (f"ns{number}.{zone}." for number in range(1, len(servers(site)) + 1))


def sockets(site: Site) -> Iterator[str]:
    """``address:port`` of every server of the zones that the site names or runs."""
    settings = site.settings(DnsSettings)
    if settings.mode == "serve":
        listed = [_listen(site, host)[0] for host in servers(site)]
    else:
        listed = list(settings.servers)
    return (joined(address, settings.port) for address in listed)


def _asked_by(site: Site, host: str) -> list[str]:
    """Whom a machine asks: a server itself, others the zone's servers or their own resolver."""
    settings = site.settings(DnsSettings)
    match settings.mode:
        case "serve":
            return [joined(_listen(site, host)[0], settings.port)]
        case "forward":
            return list(sockets(site))
        case "check":
            return [records.RESOLVER]


def _key_stanza(name: str) -> str:
    return (
        f"  - id: {name}\n    algorithm: {ALGORITHM}\n    secret: {{secret:{key_secret(name)}}}\n"
    )
