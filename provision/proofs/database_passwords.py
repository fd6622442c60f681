"""Databases, as pods see them that have their password from Vault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from shlex import quote
from typing import TYPE_CHECKING

from provision.phases.postgresql import PostgresqlSettings, lets_in, vault_secrets
from provision.phases.vault import member_urls
from provision.probes import LOOK_UP, pod, start
from provision.proof import Login, NotProvenError, Proof

if TYPE_CHECKING:
    from provision.proof import Cluster, Ground
    from provision.site import Site

RELAY = "relay"
PORT = 5432
HAND_ON = "while :; do nc -l -p {port} -e sh -c {further}; done"
"""Each connection goes on to the server from the pod; what is in it, the pod cannot read."""
WHO = "select current_user::text, current_database()::text"
LOGIN_SECONDS = 60
"""A little more than cluster DNS remembers that there was no such name."""


class DatabasePasswordsProof(Proof):
    """Each role logs in to its databases from a pod, with the password that Vault keeps."""

    name = "database passwords"
    component = "postgresql"

    def cases(self, cluster: Cluster, site: Site) -> Sequence[str]:
        """Only where Vault keeps them, and the databases are for pods."""
        del cluster
        settings = site.settings(PostgresqlSettings)
        addresses = [host.address for host in site.hosts.values()]
        # One on the server's own machine comes in by its own address.
        addresses += [pods.network_address for pods in site.network.pods]
        meant = settings.databases and lets_in(site, addresses)
        return ("",) if meant and vault_secrets(site)["secrets"] else ()

    def prove(self, ground: Ground, case: str) -> str:
        """Read the passwords, and log in through a pod over TLS that is verified out here."""
        del case
        logins = dict(_logins(ground))
        host, port = next(iter(logins))[:2]
        address = host if _is_address(host) else f"$({LOOK_UP.format(name=host)})"
        further = quote(f"exec nc {address} {port}")
        start(ground, pod(ground, RELAY, HAND_ON.format(port=PORT, further=further)))
        for login in logins.values():

            def look(login: Login = login) -> str:
                found = ground.ask(RELAY, PORT, login, WHO)
                return "" if found == [[login.user, login.database]] else f"one is {found}"

            ground.until(f"{login.user} to log in to {login.database}", look, LOGIN_SECONDS)
        roles = dict.fromkeys(login.user for login in logins.values())
        return f"a pod is let in at {host} with the passwords in Vault of {', '.join(roles)}"


def _logins(ground: Ground) -> Iterator[tuple[tuple[str, str, str, str], Login]]:
    """Every role with every database of its own, as Vault says."""
    site = ground.site_context.site
    vault = ground.vault(member_urls(site).values())
    for path in vault_secrets(site)["secrets"]:
        mount, _, name = path.partition("/")
        found: Mapping[str, str] = (vault.read(f"{mount}/data/{name}") or {}).get("data") or {}
        if not found:
            raise NotProvenError(f"Vault has no secret {path}", fix="provision up")
        for database in filter(None, found["databases"].split(",")):
            host, port, user = found["host"], found["port"], found["username"]
            login = Login(host, database, user, found["password"])
            yield (host, port, database, user), login


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdigit()
