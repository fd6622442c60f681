"""What a machine tells of its PostgreSQL server that is as the site says."""

from __future__ import annotations

from typing import Any

from provision.phases.postgresql import (
    PostgresqlSettings,
    content,
    postgresql_hosts,
)
from provision.postgresql.content import PLAIN
from provision.postgresql.names import slot_of
from provision.site import Site

SYSTEM = "7300000000000000001"
ABSENT = {"programs": None, "data": None, "error": "there is no cluster"}
"""A machine without a cluster of databases."""


def as_wanted(site: Site, host: str) -> dict[str, Any]:
    """The server of one machine."""
    settings = site.settings(PostgresqlSettings)
    primary = host == settings.primary
    others = [name for name in postgresql_hosts(site) if name != settings.primary]
    wanted = content(site)
    return {
        "programs": 15,
        "data": {
            "major": 15,
            "system": SYSTEM,
            "timeline": 1,
            "checksums": True,
            "standby": not primary,
        },
        "error": "",
        "recovery": not primary,
        "timeline": 1 if primary else None,
        "altered": [],
        "pending": [],
        "stale": False,
        "roles": {
            name: {
                **PLAIN,
                "login": True,
                "expires": False,
                "replication": role["replication"],
                "connections": role["connections"],
                "member_of": role["member_of"],
                "password": "kept" if role["password"] else "none",
            }
            for name, role in wanted["roles"].items()
        },
        "databases": {
            name: {
                "owner": database["owner"],
                "connect": [database["owner"], *database["users"]],
                "extensions": ["plpgsql", *database["extensions"]],
            }
            for name, database in wanted["databases"].items()
        },
        "standbys": {name: {"state": "streaming", "behind": 0} for name in others if primary},
        "slots": {slot_of(name): {"active": True, "lost": False} for name in others if primary},
        "receiver": None if primary else "streaming",
        "receiver_pid": None if primary else 77,
        "archive_fails": False,
    }
