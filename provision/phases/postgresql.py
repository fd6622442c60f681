"""``postgresql``: databases outside the cluster, on a machine of the site with a replica of it.

Who is the primary stands in the site file, and nothing here changes it: a promotion is an act of
people (``provision postgresql promote``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Annotated, Any

from pydantic import Field

from provision.dns.offers import Name
from provision.facts import Facts, Query, ServiceQuery
from provision.openings import Opening
from provision.phase import AnsiblePhase, Context, Decision, Run, Skip
from provision.phases.dns import DnsSettings
from provision.phases.vault import VaultSettings, member_urls
from provision.postgresql.content import content_differences, server_differences
from provision.postgresql.names import (
    OWN_NAMES,
    REPLICATION_USER,
    VERIFIERS,
    VERIFY_CERTIFICATE,
    VERIFY_USER,
    password_of,
    slot_of,
    verifier_of,
)
from provision.secretspec import Certificate, Random, SecretSpec, Text, Verifier
from provision.site import Address, Model, Network, Settings, Site

Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
"""A name that stands for itself in SQL, without quotes."""
Folder = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$")]
Parameter = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.]*$")]
Size = Annotated[str, Field(pattern=r"^[1-9][0-9]*(MB|GB|TB)$")]
"""A size as PostgreSQL writes it: ``10GB``."""
NAME = "postgresql"
"""Of the primary in the site's zone."""
STREAMING = ("streaming", "catchup")

OWN_PARAMETERS = frozenset(
    {
        "archive_cleanup_command",
        "archive_command",
        "archive_library",
        "archive_mode",
        "archive_timeout",
        "cluster_name",
        "config_file",
        "data_directory",
        "external_pid_file",
        "hba_file",
        "hot_standby",
        "ident_file",
        "include",
        "include_dir",
        "include_if_exists",
        "listen_addresses",
        "log_destination",
        "logging_collector",
        "max_connections",
        "max_slot_wal_keep_size",
        "password_encryption",
        "port",
        "primary_conninfo",
        "primary_slot_name",
        "recovery_end_command",
        "recovery_target",
        "recovery_target_action",
        "recovery_target_inclusive",
        "recovery_target_lsn",
        "recovery_target_name",
        "recovery_target_time",
        "recovery_target_timeline",
        "recovery_target_xid",
        "restore_command",
        "ssl",
        "ssl_ca_file",
        "ssl_cert_file",
        "ssl_key_file",
        "unix_socket_directories",
        "wal_level",
    }
)
"""Parameters of the server that follow from other settings, or from what is restored."""

SYSTEM_FOLDERS = frozenset(
    f"/{name}"
    for name in (
        *("boot", "dev", "etc", "home", "media", "mnt", "opt", "proc", "root", "run", "srv", "sys"),
        *("tmp", "usr", "var", "var/backups", "var/lib", "var/lib/postgresql", "var/log"),
    )
)
"""Folders that are given away whole to nobody: what is kept is kept in one of its own."""


class RoleSettings(Model):
    """A role that logs in with a password of its own."""

    connections: Annotated[int, Field(ge=-1, le=100000)] = -1
    """How many connections it may have at a time; -1 for any number."""
    member_of: tuple[Identifier, ...] = ()
    """Roles of PostgreSQL's own whose rights it has besides, such as ``pg_monitor``, or others of
    ``roles``; a membership that is not listed is taken back."""
    vault: Annotated[str, Field(pattern=r"^[a-z0-9_-]+(/[A-Za-z0-9_.-]+)+$")] | None = None
    """Where its password is kept in the site's Vault, where the site has one:
    ``secret/postgresql/NAME`` unless said."""


class DatabaseSettings(Model):
    """A database."""

    owner: Identifier
    """The role that may do everything in it."""
    users: tuple[Identifier, ...] = ()
    """Further roles that may connect; what they may do there, the owner grants."""
    extensions: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")], ...] = ()
    """Extensions of Debian's own package, such as ``pg_trgm``; never dropped."""


class BackupSettings(Model):
    """Base backups, and the write-ahead log since the oldest of them."""

    directory: Folder = "/var/backups/postgresql"
    """Folder for both; a mount of another machine's disk, so that they outlive this one."""
    calendar: Annotated[str, Field(pattern=r"^[A-Za-z0-9*.,:/~ +-]+$")] = "*-*-* 01:30:00"
    """When a base backup is made, as systemd.time(7) writes it."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 7
    """How many base backups are kept, each with the log from its beginning on."""
    log_seconds: Annotated[int, Field(ge=10, le=86400)] = 300
    """After how many seconds the log is archived even if little was written: what is lost at
    most with the machine."""


class PostgresqlSettings(Settings):
    """PostgreSQL, outside the cluster."""

    component = "postgresql"
    optional = True

    primary: str
    """Machine whose server is written to."""
    replica: str | None = None
    """Machine that has a copy of it, always up to date; none without."""
    port: Annotated[int, Field(ge=1024, le=65535)] = 5432
    """TCP port of the servers."""
    names: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")], ...] = ()
    """Further DNS names by which clients know the servers; their certificates hold them. The
    first is what Vault tells clients; without any ``postgresql`` in the site's zone, which ``dns``
    keeps, or the primary's address."""
    networks: tuple[Network, ...] = ()
    """Networks whose clients may log in, with TLS and a password; the site's machines and pods
    without any. Pods come in by the address of their machine, and those on the server's own
    machine by theirs, so that both networks are needed for pods."""
    directory: Folder = "/var/lib/postgresql/provision"
    """Folder of the cluster of databases."""
    max_connections: Annotated[int, Field(ge=10, le=10000)] = 100
    """Connections at a time, of all clients."""
    max_slot_size: Size = "10GB"
    """How much of the log is kept for a replica that is away; when it is away for longer than
    that lasts, it is made anew."""
    parameters: dict[Parameter, str | int | float | bool] = Field(default_factory=dict)
    """Further parameters of the server, such as ``shared_buffers: 1GB``."""
    roles: dict[Identifier, RoleSettings] = Field(default_factory=dict)
    """Roles that log in, by name."""
    databases: dict[Identifier, DatabaseSettings] = Field(default_factory=dict)
    """Databases by name."""
    backups: BackupSettings = BackupSettings()
    """Backups, made by the primary."""


class PostgresqlPhase(AnsiblePhase):
    """A primary, its replica, and what they hold."""

    name = "postgresql"
    after = ("depot", "dns", "machine", "vault")
    settings = PostgresqlSettings

    def hosts(self, context: Context) -> tuple[str, ...]:
        """The primary, and its replica."""
        return postgresql_hosts(context.site)

    def data(self, context: Context, host: str) -> Mapping[str, str]:
        """The databases, and the backups of them."""
        settings = context.site.settings(PostgresqlSettings)
        return {
            f"{settings.directory}/data*/PG_VERSION": "all databases",
            f"{settings.backups.directory}/*/base/*": "backups of all databases",
        }

    def validate_site(self, site: Site) -> Iterator[str]:
        """Machines, roles, databases and parameters must fit together."""
        settings = site.settings(PostgresqlSettings)
        for key in ("primary", "replica"):
            host = getattr(settings, key)
            if host is not None and host not in site.hosts:
                yield f"postgresql.{key} names {host}, which is none of hosts"
        if settings.replica == settings.primary:
            yield f"postgresql.replica is {settings.replica}, which is the primary already"
        for kind, names in (("roles", settings.roles), ("databases", settings.databases)):
            yield from _name_problems(kind, names)
        for name, database in settings.databases.items():
            for place, role in enumerate((database.owner, *database.users)):
                if role not in settings.roles:
                    key = f"users.{place - 1}" if place else "owner"
                    yield (
                        f"postgresql.databases.{name}.{key} names {role}, which is none of"
                        " postgresql.roles"
                    )
        for name in sorted(OWN_PARAMETERS & set(settings.parameters)):
            yield f"postgresql.parameters.{name} follows from other settings of postgresql"
        paths = [role.vault or f"secret/postgresql/{name}" for name, role in settings.roles.items()]
        for path in sorted({path for path in paths if paths.count(path) > 1}):
            yield f"postgresql.roles has two roles whose password is kept at {path} in Vault"
        yield from _membership_problems(settings)
        yield from _folder_problems(settings)

    def secrets(self, site: Site) -> Sequence[SecretSpec]:
        """A certificate for each server, one for replication, and the roles' passwords."""
        settings = site.settings(PostgresqlSettings)
        servers = [
            Certificate(
                f"postgresql/{host}",
                authority="site-ca",
                common_name=host,
                names=(host, str(site.hosts[host].address), *_names(site)),
            )
            for host in postgresql_hosts(site)
        ]
        replication = Certificate(
            "postgresql/replication",
            authority="site-ca",
            common_name=REPLICATION_USER,
            usages=("client",),
        )
        roles = (*settings.roles, VERIFY_USER)
        kept = {role: f"{{secret:{verifier_of(role)}}}" for role in roles}
        return [
            *servers,
            replication,
            VERIFY_CERTIFICATE,
            *(Random(password_of(role), renewable=True) for role in roles),
            *(Verifier(verifier_of(role), password_of(role)) for role in roles),
            Text(VERIFIERS, json.dumps(kept, indent=1) + "\n"),
        ]

    def openings(self, site: Site) -> Sequence[Opening]:
        """The servers' port; who may log in, the servers judge themselves."""
        port = site.settings(PostgresqlSettings).port
        return (Opening(str(port), "PostgreSQL", "any", on=postgresql_hosts(site)),)

    def names(self, site: Site) -> Sequence[Name]:
        """``postgresql``, wherever it is written to."""
        primary = site.settings(PostgresqlSettings).primary
        return (Name(NAME, (site.hosts[primary].address,)),)

    def query(self, context: Context, host: str) -> Query:
        """The role's state, and how the machine's server stands."""
        return super().query(context, host) | Query(postgresql=frozenset({question(context.site)}))

    def service(self, context: Context) -> ServiceQuery | None:
        """How the passwords stand in the site's Vault."""
        secrets = vault_secrets(context.site)
        return ServiceQuery("vault secrets", secrets) if secrets["secrets"] else None

    def decide(self, context: Context, facts: Facts) -> Decision:
        """Run where a machine or its server differs; say so where only a person can help."""
        settings = context.site.settings(PostgresqlSettings)
        found = {
            host: facts.machines[host].observed["postgresql"][question(context.site)]
            for host in self.hosts(context)
            if host in facts.reachable
        }
        waiting = waiting_for_people(settings, found)
        if waiting:
            return Skip("nothing is changed before that", attention=waiting)
        reasons = self.state_reasons(context, facts)
        for host in found:
            own = list(server_reasons(context.site, host, found))
            if own:
                reasons[host] = [*reasons.get(host, []), *own]
        told = facts.services.get(self.name, {"error": "", "found": {}})
        unkept = [path for path, state in told["found"].items() if state != "kept"]
        if unkept:
            lost = [
                f"secret {path} of Vault is {told['found'][path]}, wanted kept" for path in unkept
            ]
            reasons[settings.primary] = [*reasons.get(settings.primary, []), *lost]
        if not reasons:
            waiting = (
                f"the passwords cannot be kept in Vault: {told['error']}" if told["error"] else ""
            )
            return Skip("every server is as the site says", attention=waiting)
        return Run(reasons, waves=[(host,) for host in self.hosts(context) if host in reasons])

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """Variables of the role ``postgresql``."""
        site = context.site
        settings = site.settings(PostgresqlSettings)
        others = [name for name in postgresql_hosts(site) if name != host]
        return {
            "postgresql_host": host,
            "postgresql_primary": host == settings.primary,
            "postgresql_address": str(site.hosts[host].address),
            "postgresql_port": settings.port,
            "postgresql_peers": [
                {"name": name, "address": str(site.hosts[name].address), "slot": slot_of(name)}
                for name in others
            ],
            "postgresql_slot": slot_of(host),
            "postgresql_directory": settings.directory,
            "postgresql_max_connections": settings.max_connections,
            "postgresql_max_slot_size": settings.max_slot_size,
            "postgresql_parameters": {
                name: _literal(value) for name, value in settings.parameters.items()
            },
            "postgresql_networks": list(map(str, _networks(site))),
            "postgresql_content": content(site),
            "postgresql_vault": vault_secrets(site) if host == settings.primary else {},
            "postgresql_backup_directory": settings.backups.directory,
            "postgresql_backup_calendar": settings.backups.calendar,
            "postgresql_backup_keep": settings.backups.keep,
            "postgresql_log_seconds": settings.backups.log_seconds,
        }


def postgresql_hosts(site: Site) -> tuple[str, ...]:
    """The machines with a server, the primary first."""
    settings = site.settings(PostgresqlSettings)
    return (settings.primary, *([] if settings.replica is None else [settings.replica]))


def question(site: Site) -> str:
    """What a machine is asked about its server."""
    settings = site.settings(PostgresqlSettings)
    extended = [name for name, database in settings.databases.items() if database.extensions]
    return " ".join([str(settings.port), settings.directory, *extended])


def content(site: Site) -> dict[str, dict[str, Any]]:
    """What the servers should hold, as plain data; with what is the project's own."""
    settings = site.settings(PostgresqlSettings)
    plain = {"replication": False, "password": True, "connections": -1, "member_of": []}
    roles: dict[str, Any] = {
        name: {**plain, "connections": role.connections, "member_of": list(role.member_of)}
        for name, role in settings.roles.items()
    }
    roles[VERIFY_USER] = plain
    roles[REPLICATION_USER] = {**plain, "replication": True, "password": False}
    databases: dict[str, Any] = {
        name: {
            "owner": database.owner,
            "users": list(database.users),
            "extensions": list(database.extensions),
        }
        for name, database in settings.databases.items()
    }
    databases[VERIFY_USER] = {"owner": VERIFY_USER, "users": [], "extensions": []}
    return {"roles": roles, "databases": databases}


def service_host(site: Site) -> str:
    """Name, or address, by which clients are told to reach the databases."""
    primary = site.settings(PostgresqlSettings).primary
    return next(iter(_names(site)), str(site.hosts[primary].address))


def vault_secrets(site: Site) -> dict[str, Any]:
    """The roles' passwords as the site's Vault keeps them; none where it has no Vault."""
    settings = site.settings(PostgresqlSettings)
    if not site.has(VaultSettings):
        return {"members": {}, "secrets": {}}
    host = service_host(site)
    return {
        "members": member_urls(site),
        "secrets": {
            role.vault or f"secret/postgresql/{name}": {
                "fields": {
                    "username": name,
                    "host": host,
                    "port": str(settings.port),
                    "databases": ",".join(_databases_of(settings, name)),
                },
                "secrets": {"password": password_of(name)},
            }
            for name, role in settings.roles.items()
        },
    }


def _databases_of(settings: PostgresqlSettings, role: str) -> list[str]:
    return [
        name
        for name, database in settings.databases.items()
        if role in (database.owner, *database.users)
    ]


def waiting_for_people(settings: PostgresqlSettings, found: Mapping[str, Mapping[str, Any]]) -> str:
    """What a person has to decide before anything may be done; empty where nothing."""
    primary, replica = settings.primary, settings.replica
    at_primary = found[primary]["data"] if primary in found else None
    at_replica = found[replica]["data"] if replica is not None and replica in found else None
    if primary not in found:
        return f"the primary {primary} does not answer; while it is away nothing can be written" + (
            f"; to go on with {replica}: write `primary: {replica}` and `replica: {primary}`,"
            " then: provision postgresql promote"
            if at_replica is not None
            else ""
        )
    if at_primary is None:
        if replica is not None and replica not in found:
            return f"the primary is made when its replica is there; {replica} does not answer"
        if at_replica is not None:
            return (
                f"{primary} has no databases, and {replica} has a copy of them; to go on with"
                f" {replica}: write `primary: {replica}` and `replica: {primary}`, then: provision"
                " postgresql promote; or take a backup: provision postgresql restore"
            )
        return ""
    if at_primary["standby"]:
        return (
            f"{primary} is to be the primary and is a replica; promote it: provision postgresql"
            " promote"
        )
    if at_replica is None:
        return ""
    if at_replica["system"] != at_primary["system"]:
        return (
            f"{replica} holds databases that are no copy of those of {primary}; if nobody needs"
            f" them, move {settings.directory}/data away there"
        )
    newer = timeline(found[str(replica)]) - timeline(found[primary])
    if at_replica["standby"] and newer <= 0:
        return ""
    if newer >= 0:
        return (
            f"{replica} was promoted after {primary}, and the site file says that {primary} is the"
            f" primary; write `primary: {replica}` and `replica: {primary}`"
        )
    return ""


def timeline(found: Mapping[str, Any]) -> int:
    """Which branch of the log a server is on; each promotion begins one."""
    return int(found.get("timeline") or found["data"]["timeline"])


def server_reasons(site: Site, host: str, found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """How the server of one machine differs; ``found`` is what all of them told."""
    settings = site.settings(PostgresqlSettings)
    own = found[host]
    if own["data"] is None:
        yield "cluster of databases is missing, wanted present"
        return
    if host != settings.primary and not own["data"]["standby"]:
        yield f"server is a former primary, wanted a replica of {settings.primary}"
        return
    if own["error"]:
        yield f"server does not answer: {own['error']}"
        return
    yield from server_differences(own)
    yield from _slot_reasons(site, host, own["slots"])
    if host == settings.primary:
        yield from content_differences(content(site), own)
        return
    there = found.get(settings.primary, {"error": "unreachable"})
    if there["error"]:
        return
    state = there["standbys"].get(host, {"state": "absent"})["state"]
    if there["slots"].get(slot_of(host), {"lost": False})["lost"]:
        yield "replica was away for too long, wanted made anew"
    elif state not in STREAMING:
        yield f"replica of {settings.primary} is {state}, wanted streaming"


def _slot_reasons(site: Site, host: str, found: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    primary, *replicas = postgresql_hosts(site)
    # A replica has no slots, or it would keep the log for nobody.
    slots = {slot_of(name) for name in replicas if host == primary}
    for slot in sorted(slots - set(found)):
        yield f"replication slot {slot} is missing, wanted present"
    for slot in sorted(set(found) - slots):
        if slot.startswith("replica_"):
            yield f"replication slot {slot} is present, wanted absent"
    for slot in sorted(slots & set(found)):
        if found[slot]["lost"]:
            yield f"replication slot {slot} has lost its place in the log, wanted made anew"


def _name_problems(kind: str, names: Mapping[str, Any]) -> Iterator[str]:
    taken = (
        "postgres",
        "public",
        "none",
        "template0",
        "template1",
        "all",
        "replication",
        *OWN_NAMES,
    )
    for name in names:
        if name in taken or name.startswith("pg_"):
            yield f"postgresql.{kind}.{name} is a name that PostgreSQL or provision itself uses"


def _membership_problems(settings: PostgresqlSettings) -> Iterator[str]:
    for name, role in settings.roles.items():
        for place, group in enumerate(role.member_of):
            key = f"postgresql.roles.{name}.member_of.{place}"
            if group == name:
                yield f"{key} names {group}, which is the role itself"
            elif group not in settings.roles and not group.startswith("pg_"):
                yield (
                    f"{key} names {group}, which is none of postgresql.roles and no role of"
                    " PostgreSQL's own"
                )


def _folder_problems(settings: PostgresqlSettings) -> Iterator[str]:
    """Each folder is given to the server whole, and the one goes when the databases go."""
    own, backups = settings.directory, settings.backups.directory
    for key, folder in (("directory", own), ("backups.directory", backups)):
        if folder in SYSTEM_FOLDERS:
            yield f"postgresql.{key} {folder} is a folder of the system; name one in it"
    if f"{backups}/".startswith(f"{own}/") or own.startswith(f"{backups}/"):
        yield (
            f"postgresql.backups.directory {backups} and postgresql.directory {own} are in each"
            " other; they must be apart"
        )


def _names(site: Site) -> Iterator[str]:
    """DNS names by which clients know the primary, the best one first."""
    yield from site.settings(PostgresqlSettings).names
    if site.has(DnsSettings):
        yield f"{NAME}.{site.settings(DnsSettings).zone}"


def lets_in(site: Site, addresses: Iterable[Address]) -> bool:
    """Whether clients from all of these addresses may log in."""
    return all(any(address in network for network in _networks(site)) for address in addresses)


def _networks(site: Site) -> Sequence[Network]:
    """Networks whose clients may log in."""
    settings = site.settings(PostgresqlSettings)
    machines = (ip_network(host.address) for host in site.hosts.values())
    return settings.networks or (*machines, *site.network.pods)


def _literal(value: str | float | bool) -> str:
    """A parameter's value as the server's configuration writes it."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)
