"""``vault``: the site's secrets, kept by Vault outside the cluster, on one, three or five machines.

Its playbook brings the machines up; what Vault itself holds is asked of its
API and restored there, by the action plugin ``vault`` on the controller.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from provision.dns.offers import Name
from provision.facts import Facts, Query, ServiceQuery
from provision.openings import Opening
from provision.phase import (
    AnsiblePhase,
    Blocked,
    Context,
    Decision,
    GateSpec,
    Run,
    SecretFolder,
    Skip,
)
from provision.secretspec import Certificate, Random, SecretSpec
from provision.site import Address, Model, Settings, Site
from provision.vault.configuration import (
    ADMIN_TEXT,
    SNAPSHOT_TEXT,
    Configuration,
    configuration_differences,
    seconds,
)
from provision.vault.keys import KeySink, new_attempt
from provision.vault.names import (
    ADMIN_POLICY,
    ADMIN_USER,
    AUDIT_LOG,
    CONFIGURATION,
    KUBERNETES_PLUGIN,
    MARKER,
    OWN_USER,
    SNAPSHOT_CREDENTIAL,
    SNAPSHOT_POLICY,
    SNAPSHOT_USER,
    TRANSIT_CREDENTIAL,
    TRANSIT_DIGEST,
    UNSEAL_CREDENTIAL,
    password_of,
    secret_id_of,
)
from provision.vault.pgp import public_key
from provision.vault.roles import Duration, PolicyName, Role, RoleName
from provision.vault.transit import (
    TransitSettings,
    kept_file,
    key_differences,
    transit_arguments,
    transit_problems,
)
from provision.virtualaddress import address_problems, priority, router_id

SERVING_SECONDS = 180
ANSWER_SECONDS = 60
CREDENTIALS: Mapping[str, tuple[str, ...]] = {
    "manual": (),
    "systemd-creds": (UNSEAL_CREDENTIAL,),
    "transit": (TRANSIT_CREDENTIAL, TRANSIT_DIGEST),
}
"""What a machine has for itself to unseal Vault with."""


class SnapshotSettings(Model):
    """Snapshots that the machines take by themselves."""

    calendar: str = "*-*-* 02:30:00"
    """When, as systemd.time(7) writes it; each machine is asked, and the active one takes it."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 14
    """How many are kept on a machine."""
    copy_to: Annotated[str, Field(pattern=r"^/[^\s]*$")] | None = None
    """Folder, such as a mount of another machine's disk, that gets a copy of each."""


class AppRole(Role):
    """A way into Vault for a program: a role id, and secret ids that Vault makes on demand."""

    secret_id_ttl: Duration | None = None
    """How long a secret id is good for; without it, until it is destroyed."""


class VaultSettings(Settings):
    """Vault, outside the cluster."""

    component = "vault"
    optional = True

    hosts: tuple[str, ...] = ()
    """Machines that run it: one, three or five; without any, the control-plane machines."""
    port: Annotated[int, Field(ge=1024, le=65534)] = 8200
    """TCP port of its API; the next port is for the members among themselves."""
    names: tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$")], ...] = ()
    """DNS names of the whole, each with a record for every member, or for ``address``; the first
    is its address for clients."""
    address: Address | None = None
    """A free address of the machines' network that is held by a machine whose Vault serves; without
    ``names`` it is the address for clients."""
    interface: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,15}$")] | None = None
    """Network interface that carries the address; without it, that of the machine's address."""
    virtual_router_id: Annotated[int, Field(ge=1, le=255)] | None = None
    """VRRP's number for the address, unique in the network; without it, the address's last byte."""
    disable_mlock: bool = False
    """Whether Vault's memory is left unlocked, for machines that forbid to lock it. Swap is kept
    from its unit in any case."""
    unseal: Literal["manual", "systemd-creds", "transit"] = "systemd-creds"
    """How it is unsealed after a start: by people, by the machine itself with keys that only
    this machine can decrypt, or with a key that another Vault keeps. Whether another Vault does is
    settled when Vault is initialised."""
    transit: TransitSettings | None = None
    """The Vault that keeps the key; for ``unseal: transit``."""
    shares: Annotated[int, Field(ge=1, le=255)] = 5
    """Into how many shares the unsealing key is split, when Vault is initialised; with
    ``unseal: transit`` the recovery key."""
    threshold: Annotated[int, Field(ge=1, le=255)] = 3
    """How many shares unseal it; with ``unseal: transit``, how many recover it."""
    pgp_keys: tuple[Path, ...] = ()
    """Public PGP keys of the administrators, files relative to the site file, one a share; Vault
    encrypts each share with one. Without any, the shares are kept in the site's secrets."""
    max_lease_ttl: Duration = "87600h"
    """How long a token or lease may live at most; Phalanx wants ten years."""
    default_lease_ttl: Duration = "768h"
    """How long they live where nobody says otherwise."""
    log_level: Literal["trace", "debug", "info", "warn", "error"] = "info"
    """From which level on it logs."""
    raft_performance_multiplier: Annotated[int, Field(ge=1, le=10)] = 2
    """By how much Vault stretches the times after which its members take their leader for lost
    (Vault's `performance_multiplier`, whose own default is 5): the lower, the sooner another one
    leads; too low for a slow network or disk, it changes for nothing."""
    policies: dict[PolicyName, Path] = Field(default_factory=dict)
    """Policies by name: files in Vault's policy language, relative to the site file."""
    approles: dict[RoleName, AppRole] = Field(default_factory=dict)
    """Roles of the auth method ``approle`` by name."""
    snapshots: SnapshotSettings = SnapshotSettings()
    """Snapshots on the machines' own disks."""


class VaultPhase(AnsiblePhase):
    """A Vault with raft storage, initialised, unsealed and set up."""

    name = "vault"
    after = ("depot", "machine")
    settings = VaultSettings
    bundled = ("vault",)

    def hosts(self, context: Context) -> tuple[str, ...]:
        """The machines that the settings name."""
        return vault_hosts(context.site)

    def data(self, context: Context, host: str) -> Mapping[str, str]:
        """Vault's storage, and snapshots of it."""
        del context, host
        return {"/var/lib/private/vault/*": "all that is kept in Vault"}

    def validate_site(self, site: Site) -> Iterator[str]:
        """Machines, shares, keys, policies and the address must fit together."""
        settings = site.settings(VaultSettings)
        yield from _host_problems(site, settings)
        yield from _share_problems(settings)
        yield from _address_problems(site, settings)
        yield from _transit_problems(site, settings)
        for name, path in settings.policies.items():
            if not site.resolve(path).is_file():
                yield f"vault.policies.{name} {path} is no file that can be read"
        for place, path in enumerate(settings.pgp_keys):
            try:
                public_key(site.resolve(path))
            except ValueError as error:
                yield f"vault.pgp_keys.{place} {path} {error}"
        for name in settings.policies:
            if name in (ADMIN_POLICY, SNAPSHOT_POLICY, "root", "default"):
                yield f"vault.policies.{name} is the name of a policy that is not the site's"

    def secrets(self, site: Site) -> Sequence[SecretSpec]:
        """A certificate for each member, the users' passwords, and other components' secret ids."""
        settings = site.settings(VaultSettings)
        shared = [*settings.names, *map(str, (settings.address,) if settings.address else ())]
        certificates = [
            Certificate(
                f"vault/{name}",
                authority="site-ca",
                common_name=name,
                names=(name, str(site.hosts[name].address), *shared),
                usages=("server", "client"),
            )
            for name in vault_hosts(site)
        ]
        users = (OWN_USER, ADMIN_USER, SNAPSHOT_USER)
        roles = [role for wanted in _of_others(site) for role in wanted.get("secret_ids", {})]
        return [
            *certificates,
            *(Random(password_of(user)) for user in users),
            *(Random(secret_id_of(role)) for role in roles),
        ]

    def openings(self, site: Site) -> Sequence[Opening]:
        """The API for everyone, and the members among themselves."""
        settings = site.settings(VaultSettings)
        on: Literal["control_plane", "all"] = (
            "control_plane" if set(vault_hosts(site)) <= set(site.control_plane) else "all"
        )
        return (
            Opening(str(settings.port), "Vault", "any", on=on),
            Opening(str(settings.port + 1), "Vault's members", "machines", on=on),
            *(
                (Opening("", "Vault's address", "machines", on=on, protocol="vrrp"),)
                if settings.address
                else ()
            ),
        )

    def names(self, site: Site) -> Sequence[Name]:
        """``vault``, wherever clients reach it."""
        address = site.settings(VaultSettings).address
        members = [site.hosts[name].address for name in vault_hosts(site)]
        return (Name("vault", (address,) if address else members),)

    def taken_off(self, store: SecretFolder) -> str:
        """Put the keys aside, so that the next ``up`` makes a new Vault; they are never deleted."""
        sink = KeySink(store)
        kept = sink.read()
        if kept is None or not kept.told:
            return ""
        name = sink.put_aside(new_attempt())
        return f"the keys of the Vault that was taken off are kept as {name}, for its snapshots"

    def query(self, context: Context, host: str) -> Query:
        """The role's state, the marker of an attempt, and what is encrypted to the machine."""
        unseal = context.site.settings(VaultSettings).unseal
        files = {SNAPSHOT_CREDENTIAL, *CREDENTIALS[unseal]}
        return super().query(context, host) | Query(
            files=frozenset(files), texts=frozenset({MARKER, CONFIGURATION})
        )

    def service(self, context: Context) -> ServiceQuery:
        """Every member, and what Vault should hold."""
        return ServiceQuery(
            "vault",
            {
                "members": member_urls(context.site),
                "configuration": configuration(context.site),
                "transit": _transit_of(context.site),
            },
        )

    def decide(self, context: Context, facts: Facts) -> Decision:
        """Run where a machine or Vault itself differs; say so where only a person can help."""
        told = facts.services[self.name]
        found = list(_seal_findings(context.site, facts, told))
        if found:
            return Blocked(found)
        reasons = self.state_reasons(context, facts)
        for host, reason in self._token_reasons(context, facts).items():
            reasons[host] = [*reasons.get(host, []), reason]
        restarting = set(reasons)
        members: Mapping[str, Mapping[str, Any]] = told["members"]
        active = [name for name, member in members.items() if member["active"]]
        waiting = _waiting_for_people(context.site, facts, told)
        for host in self.hosts(context):
            if host in facts.reachable and not waiting:
                differing = list(self._service_reasons(context, facts, host))
                if differing:
                    reasons[host] = [*reasons.get(host, []), *differing]
        known = [name for name, member in members.items() if member["initialized"]]
        # Who lost its data joins one that did not.
        lead = next(iter((*active, *known)), self.hosts(context)[0])
        settings = list(self._setting_reasons(context, told)) if lead in facts.reachable else []
        if settings:
            reasons[lead] = [*reasons.get(lead, []), *settings]
        if not reasons:
            return Skip("Vault is as the site says", attention=waiting)
        lead_of = {host: {"vault_lead": lead} for host in reasons}
        if not active:
            return Run(reasons, variables=lead_of)
        # One at a time, the active one last: each restart costs a vote.
        ordered = sorted(reasons, key=lambda host: (host in active, host))
        one_by_one = [(host,) for host in ordered] if restarting else ()
        return Run(reasons, waves=one_by_one, variables=lead_of)

    def _token_reasons(self, context: Context, facts: Facts) -> dict[str, str]:
        """Machines that do not have the site's token for the Vault that keeps the key."""
        if context.site.settings(VaultSettings).unseal != "transit":
            return {}
        wanted = kept_file(facts.services[self.name]["transit"]["digest"])
        reasons = {}
        for host in self.hosts(context):
            if host in facts.reachable:
                files = facts.machines[host].observed["files"]
                proven, credential = files[TRANSIT_DIGEST], files[TRANSIT_CREDENTIAL]
                if proven is None or credential is None:
                    reasons[host] = f"credential {TRANSIT_CREDENTIAL} is missing, wanted present"
                elif proven["sha256"] != wanted:
                    reasons[host] = f"credential {TRANSIT_CREDENTIAL} is another, wanted the site's"
        return reasons

    def _service_reasons(self, context: Context, facts: Facts, host: str) -> Iterator[str]:
        settings = context.site.settings(VaultSettings)
        told = facts.services[self.name]
        member = told["members"][host]
        observed = facts.machines[host].observed
        if member["error"]:
            yield f"Vault does not answer: {member['error']}"
        elif not member["initialized"]:
            others = any(item["initialized"] for item in told["members"].values())
            yield "Vault is no member of the others yet" if others else "Vault is not initialised"
        elif member["sealed"]:
            yield "Vault is sealed, wanted unsealed"
        elif told["keys"] == "attempt":
            yield "Vault is initialised and its keys were not told, wanted begun anew"
        if settings.unseal == "systemd-creds" and observed["files"][UNSEAL_CREDENTIAL] is None:
            yield f"credential {UNSEAL_CREDENTIAL} is missing, wanted present"
        if observed["files"][SNAPSHOT_CREDENTIAL] is None:
            yield f"credential {SNAPSHOT_CREDENTIAL} is missing, wanted present"
        if told["keys"] not in ("none", "attempt") and observed["texts"][MARKER] is not None:
            yield f"file {MARKER} is present, wanted absent"

    def _setting_reasons(self, context: Context, told: Mapping[str, Any]) -> Iterator[str]:
        if told["root_token"] and any(item["active"] for item in told["members"].values()):
            yield "root token is still valid, wanted revoked"
        if told["found"] is not None:
            yield from configuration_differences(configuration(context.site), told["found"])

    def variables(self, context: Context, host: str) -> Mapping[str, Any]:
        """Variables of the role ``vault``."""
        site = context.site
        settings = site.settings(VaultSettings)
        address = site.hosts[host].address
        hosts = vault_hosts(site)
        return {
            "vault_site": site.name,
            "vault_lead": vault_hosts(site)[0],
            "vault_members": member_urls(site),
            "vault_own_address": f"[{address}]" if address.version == 6 else str(address),
            "vault_port": settings.port,
            "vault_address": "" if settings.address is None else str(settings.address),
            "vault_interface": settings.interface or "",
            "vault_virtual_router_id": _router_id(settings),
            "vault_priority": priority(hosts, host),
            "vault_address_source": str(address),
            "vault_address_peers": [
                str(site.hosts[name].address) for name in hosts if name != host
            ],
            "vault_disable_mlock": settings.disable_mlock,
            "vault_unseal": settings.unseal,
            "vault_transit": _transit_of(site),
            "vault_shares": settings.shares,
            "vault_threshold": settings.threshold,
            "vault_pgp_keys": [str(site.resolve(path)) for path in settings.pgp_keys],
            "vault_max_lease_ttl": settings.max_lease_ttl,
            "vault_default_lease_ttl": settings.default_lease_ttl,
            "vault_log_level": settings.log_level,
            "vault_raft_performance_multiplier": settings.raft_performance_multiplier,
            "vault_auth_plugin": KUBERNETES_PLUGIN in context.bundle.versions,
            "vault_configuration": configuration(site),
            "vault_snapshot_calendar": settings.snapshots.calendar,
            "vault_snapshot_keep": settings.snapshots.keep,
            "vault_snapshot_copy_to": settings.snapshots.copy_to or "",
        }

    def gates(self, context: Context, hosts: Sequence[str]) -> Sequence[GateSpec]:
        """Every member answers; and serves, where it unseals by itself."""
        members = {"members": member_urls(context.site)}
        if context.site.settings(VaultSettings).unseal == "manual":
            return (GateSpec("Vault answers", ANSWER_SECONDS, members),)
        return (GateSpec("Vault serves", SERVING_SECONDS, members),)


def vault_hosts(site: Site) -> tuple[str, ...]:
    """The machines that run Vault, in order."""
    return site.settings(VaultSettings).hosts or site.control_plane


def vault_url(site: Site) -> str:
    """The address for clients: by name, the virtual one, or the first member's."""
    settings = site.settings(VaultSettings)
    if settings.names:
        return f"https://{settings.names[0]}:{settings.port}"
    if settings.address:
        return _url(settings.address, settings.port)
    return member_urls(site)[vault_hosts(site)[0]]


def member_urls(site: Site) -> dict[str, str]:
    """Every member's own address, by machine."""
    port = site.settings(VaultSettings).port
    return {name: _url(site.hosts[name].address, port) for name in vault_hosts(site)}


def configuration(site: Site) -> dict[str, dict[str, Any]]:
    """What Vault should hold, as plain data."""
    parts: dict[str, dict[str, Any]] = {}
    for wanted in (_own_configuration(site), *_of_others(site)):
        for part, named in wanted.items():
            parts[part] = {**parts.get(part, {}), **named}
    return parts


def _of_others(site: Site) -> list[Configuration]:
    """What the site's other components want Vault to hold."""
    # Imported late: the list of phases imports this module.
    from provision.plan import phases_of

    return [phase.in_vault(site) for phase in phases_of(site)]


def _own_configuration(site: Site) -> Configuration:
    settings = site.settings(VaultSettings)
    admin = {"token_policies": [ADMIN_POLICY]}
    return {
        "audit": {"file": {"type": "file", "options": {"file_path": AUDIT_LOG}}},
        "secrets": {"secret": {"type": "kv", "options": {"version": "2"}}},
        "auth": {"approle": {"type": "approle"}, "userpass": {"type": "userpass"}},
        "policies": {
            ADMIN_POLICY: ADMIN_TEXT,
            SNAPSHOT_POLICY: SNAPSHOT_TEXT,
            **{
                name: site.resolve(path).read_text("utf-8")
                for name, path in settings.policies.items()
            },
        },
        "users": {
            # Batch tokens leave nothing behind in Vault's storage.
            OWN_USER: {**admin, "token_type": "batch", "token_ttl": 900},
            ADMIN_USER: {**admin, "token_type": "default", "token_ttl": 3600},
            SNAPSHOT_USER: {
                "token_policies": [SNAPSHOT_POLICY],
                "token_type": "batch",
                "token_ttl": 900,
            },
        },
        "paths": {
            f"auth/approle/role/{name}": {
                **role.options(),
                "bind_secret_id": True,
                "secret_id_ttl": seconds(role.secret_id_ttl) if role.secret_id_ttl else 0,
            }
            for name, role in settings.approles.items()
        },
    }


def _waiting_for_people(site: Site, facts: Facts, told: Mapping[str, Any]) -> str:
    """What only a person can do now, or nothing."""
    settings = site.settings(VaultSettings)
    members = told["members"]
    initialised = [name for name, member in members.items() if member["initialized"]]
    answering = [name for name, member in members.items() if not member["error"]]
    absent = [name for name in members if name not in facts.reachable]
    if not initialised:
        if told["keys"] not in ("none", "attempt") and len(answering) == len(members):
            return (
                "every member is empty, and the keys of a Vault that was are kept;"
                " bring it back: provision vault restore FILE;"
                " or begin anew: provision vault forget"
            )
        if absent and told["keys"] in ("none", "attempt"):
            return f"Vault is initialised when all its machines are there; {absent[0]} is not"
        return ""
    if told["error"]:
        return (
            f"Vault refuses this project's own user ({told['error']});"
            f" set its password in Vault to that of the secret {password_of(OWN_USER)}"
        )
    if settings.unseal == "transit":
        return ""
    sealed = [name for name in initialised if members[name]["sealed"]]
    unsealing = told["keys"] == "usable" and (settings.unseal != "manual" or told["root_token"])
    empty = [name for name in answering if name not in initialised]
    if empty and told["keys"] == "encrypted":
        return f"Vault waits for shares on {', '.join([*sealed, *empty])}: provision vault unseal"
    if sealed and not unsealing and told["keys"] != "attempt":
        return f"Vault is sealed on {', '.join(sealed)}; unseal it: provision vault unseal"
    return ""


def _transit_of(site: Site) -> dict[str, Any]:
    transit = site.settings(VaultSettings).transit
    return {} if transit is None else transit_arguments(site, transit)


def _seal_findings(site: Site, facts: Facts, told: Mapping[str, Any]) -> Iterator[str]:
    """Why a Vault that holds something would not be unsealed as the site says."""
    unseal = site.settings(VaultSettings).unseal
    if told["transit"].get("error"):
        yield f"the token that vault.transit.token names cannot be read: {told['transit']['error']}"
    has = _seal_of(told)
    wanted = "transit" if unseal == "transit" else "shamir"
    if has and has != wanted:
        yield (
            f"of the Vault that is there {_SEALS[has]}, and vault.unseal {unseal} wants that"
            f" {_SEALS[wanted]}: that is settled when Vault is initialised, and changing it a"
            " migration of its seal, which people do by hand; write vault.unseal as it was"
        )
    elif has == "transit":
        wanted_key = _transit_of(site)
        for host in (name for name in vault_hosts(site) if name in facts.reachable):
            text = facts.machines[host].observed["texts"][CONFIGURATION] or ""
            for difference in key_differences(text, wanted_key):
                yield (
                    f"Vault on {host} can only be unsealed with the key that it was initialised"
                    f" with, and of vault.transit {difference}; write it as it was"
                )


def _seal_of(told: Mapping[str, Any]) -> str:
    """How the Vault that is there keeps its key, or nothing where there is none."""
    if told["keys"] in ("recovery", "encrypted-recovery"):
        return "transit"
    if told["keys"] in ("usable", "encrypted"):
        return "shamir"
    if told["keys"] == "attempt":
        return ""
    members = told["members"].values()
    return next((item["seal"] for item in members if item["initialized"]), "")


_SEALS = {
    "transit": "another Vault keeps the key (transit)",
    "shamir": "the key is split into shares (manual, systemd-creds)",
}


def _transit_problems(site: Site, settings: VaultSettings) -> Iterator[str]:
    if settings.transit is not None:
        yield from transit_problems(site, settings.transit, member_urls(site).values())
    if settings.unseal == "transit" and settings.transit is None:
        yield "vault.unseal transit needs vault.transit, which says where the key is"
    if settings.unseal != "transit" and settings.transit is not None:
        yield (
            f"vault.transit says where the key is, and vault.unseal is {settings.unseal};"
            " write unseal: transit, or leave it out"
        )


def _host_problems(site: Site, settings: VaultSettings) -> Iterator[str]:
    for name in settings.hosts:
        if name not in site.hosts:
            yield f"vault.hosts names {name}, which is none of hosts"
    if len(set(settings.hosts)) != len(settings.hosts):
        yield "vault.hosts names a machine twice"
    if settings.hosts and len(settings.hosts) not in (1, 3, 5):
        yield (
            f"vault.hosts names {len(settings.hosts)} machines; raft needs an odd number to"
            " survive a loss: give 1, 3 or 5"
        )


def _share_problems(settings: VaultSettings) -> Iterator[str]:
    if settings.threshold > settings.shares:
        yield f"vault.threshold {settings.threshold} is above vault.shares {settings.shares}"
    if settings.shares > 1 and settings.threshold == 1:
        yield "vault.threshold 1 lets any one share unseal; give 2 or more, or one share"
    if settings.pgp_keys and len(settings.pgp_keys) != settings.shares:
        yield (
            f"vault.pgp_keys has {len(settings.pgp_keys)} keys for {settings.shares} shares;"
            " give one a share"
        )
    if settings.pgp_keys and settings.unseal == "systemd-creds":
        yield (
            "vault.pgp_keys let no machine read the shares, which vault.unseal: systemd-creds"
            " needs; write unseal: manual, or give no keys"
        )


def _address_problems(site: Site, settings: VaultSettings) -> Iterator[str]:
    if settings.address is None:
        return
    yield from address_problems(site, "vault.address", settings.address)
    endpoint = getattr(site, "api_endpoint", None)
    taken: Address | None = getattr(endpoint, "address", None)
    if settings.address == taken:
        yield f"vault.address {taken} is the API's (api_endpoint.address); give it another"
    elif taken is not None:
        number = getattr(endpoint, "virtual_router_id", None) or router_id(taken)
        if number == _router_id(settings):
            yield f"vault.virtual_router_id {number} is api_endpoint's; give another one"


def _router_id(settings: VaultSettings) -> int:
    """What nobody uses where there is no address."""
    number = settings.virtual_router_id
    return number or (router_id(settings.address) if settings.address else 1)


def _url(address: Address, port: int) -> str:
    return f"https://[{address}]:{port}" if address.version == 6 else f"https://{address}:{port}"
