"""SQL that makes roles and databases as they should be. Pure.

Names are such as stand for themselves in SQL. What stands in a script is sent over standard input,
and holds verifiers at most: PostgreSQL never sees a password.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SILENTLY = (
    "set log_statement = 'none'; set log_min_duration_statement = -1;"
    " set log_min_error_statement = 'panic';"
)
"""Nothing of what follows in the session goes to the log, failures included."""


def role(name: str, wanted: Mapping[str, Any], found: Any, verifier: str | None) -> Iterator[str]:
    """Make one role."""
    if found is None:
        yield f'create role "{name}";'
    replication = "replication" if wanted["replication"] else "noreplication"
    secret = "null" if verifier is None else f"'{verifier}'"
    yield (
        f'alter role "{name}" login nosuperuser nocreatedb nocreaterole nobypassrls {replication}'
        f" connection limit {wanted['connections']} valid until 'infinity' password {secret};"
    )


def memberships(name: str, wanted: Mapping[str, Any], found: Any) -> Iterator[str]:
    """Give one role the rights of others, all of which have been made, and take back more."""
    there = set() if found is None else set(found["member_of"])
    for group in sorted(there - set(wanted["member_of"])):
        yield f'revoke "{group}" from "{name}";'
    for group in sorted(set(wanted["member_of"]) - there):
        yield f'grant "{group}" to "{name}";'


def database(name: str, wanted: Mapping[str, Any], found: Any) -> Iterator[str]:
    """Make one database; who may connect, and nobody else."""
    owner, users = wanted["owner"], wanted["users"]
    if found is None:
        yield f'create database "{name}" owner "{owner}";'
    else:
        yield f'alter database "{name}" owner to "{owner}";'
        for user in sorted(set(found["connect"]) - {"public", owner, *users}):
            yield f'revoke all on database "{name}" from "{user}";'
    yield f'revoke all on database "{name}" from public;'
    yield f'grant all on database "{name}" to "{owner}";'
    for user in users:
        yield f'grant connect, temporary on database "{name}" to "{user}";'


def extensions(wanted: Mapping[str, Any]) -> Iterator[str]:
    """Make the extensions of a database."""
    for name in wanted["extensions"]:
        yield f'create extension if not exists "{name}";'


def slots(wanted: set[str], found: set[str]) -> Iterator[str]:
    """Make the slots of replicas, and drop those of machines that are none any more."""
    for name in sorted(wanted - found):
        yield f"select pg_create_physical_replication_slot('{name}', true);"
    for name in sorted(found - wanted):
        if name.startswith("replica_"):
            # One that is none any more may hold it still; pg_hba.conf does not let it in again.
            yield (
                "select pg_terminate_backend(active_pid, 5000)"  # noqa: S608 - a name made here
                f" from pg_replication_slots where slot_name = '{name}' and active;"
            )
            yield f"select pg_drop_replication_slot('{name}');"
