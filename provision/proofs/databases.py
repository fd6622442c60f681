"""Databases, as clients outside the cluster see them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from provision.phases.postgresql import PostgresqlSettings, postgresql_hosts
from provision.proof import OutsideProof

if TYPE_CHECKING:
    from provision.proof import Outside

THERE_SECONDS = 30
"""A replica is a moment behind; a busy one some seconds."""
LEFT_BEHIND_SECONDS = 3600

Ask = Callable[..., Sequence[Sequence[Any]]]


class DatabasesProof(OutsideProof):
    """What is written to the primary is read from the replica."""

    name = "databases"
    component = "postgresql"

    def prove(self, outside: Outside) -> str:
        """Write a row over verified TLS, read it everywhere, and take it away again."""
        port = outside.site.settings(PostgresqlSettings).port
        primary, *replicas = (
            str(outside.site.hosts[name].address) for name in postgresql_hosts(outside.site)
        )
        write = partial(outside.rows, primary, port)
        token = token_hex(8)
        table = f"proof_{int(time.time())}_{token_hex(4)}"
        _sweep(write)
        try:
            write(f"create table {table} (token text)")
            write(f"insert into {table} values (:token)", token=token)  # noqa: S608 - a name made here
            for address in (primary, *replicas):
                look = partial(_missing, partial(outside.rows, address, port), table, token)
                outside.until(f"the row at {address}", look, THERE_SECONDS)
        finally:
            write(f"drop table if exists {table}")
        return f"written at {primary}, read at {', '.join(replicas or [primary])}, port {port}"


def _sweep(write: Ask) -> None:
    """Drop what killed runs left behind, an hour and more ago."""
    for (name,) in write(r"select tablename from pg_tables where tablename ~ '^proof_\d+_'"):
        if int(name.split("_")[1]) < time.time() - LEFT_BEHIND_SECONDS:
            write(f"drop table if exists {name}")


def _missing(ask: Ask, table: str, token: str) -> str:
    found = ask(f"select token from {table}")  # noqa: S608 - a name made here
    return "" if found == [[token]] else f"{found} was read"
