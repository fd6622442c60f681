"""How a server's roles and databases differ from those of the site file. Pure.

``wanted`` has ``roles`` (``connections``, ``replication``, ``member_of``, ``password``: whether it
has one) and ``databases`` (``owner``, ``users``, ``extensions``) by name; ``found`` is what
``provision/adapters/onmachine/postgresql.py`` tells. Only what ``wanted`` names is judged: what
others keep in the server is theirs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

PLAIN = {"superuser": False, "createdb": False, "createrole": False, "bypassrls": False}
"""Rights that no role of a site has."""
EVERYBODY = "public"


def content_differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """What has to be done, a phrase each; nothing where all is as wanted."""
    for name, role in wanted["roles"].items():
        yield from role_differences(name, role, found["roles"].get(name))
    for name, database in wanted["databases"].items():
        yield from database_differences(name, database, found["databases"].get(name))


def role_differences(
    name: str, wanted: Mapping[str, Any], found: Mapping[str, Any] | None
) -> Iterator[str]:
    """How one role differs."""
    if found is None:
        yield f"role {name} is missing, wanted present"
        return
    rights = {
        **PLAIN,
        "login": True,
        "expires": False,
        "replication": wanted["replication"],
        "connections": wanted["connections"],
    }
    for key, value in rights.items():
        if found[key] != value:
            yield f"role {name} has {key} {_word(found[key])}, wanted {_word(value)}"
    for group in sorted(set(found["member_of"]) - set(wanted["member_of"])):
        yield f"role {name} is a member of {group}, wanted not"
    for group in sorted(set(wanted["member_of"]) - set(found["member_of"])):
        yield f"role {name} is no member of {group}, wanted so"
    password = "kept" if wanted["password"] else "none"
    if found["password"] != password:
        yield f"role {name} has {_password(found['password'])}, wanted {_password(password)}"


def database_differences(
    name: str, wanted: Mapping[str, Any], found: Mapping[str, Any] | None
) -> Iterator[str]:
    """How one database differs."""
    if found is None:
        yield f"database {name} is missing, wanted present"
        return
    if found["owner"] != wanted["owner"]:
        yield f"database {name} has owner {found['owner']}, wanted {wanted['owner']}"
    users = {wanted["owner"], *wanted["users"]}
    for user in sorted(set(found["connect"]) - users):
        word = "everybody" if user == EVERYBODY else user
        yield f"database {name} lets {word} connect, wanted not"
    for user in sorted(users - set(found["connect"])):
        yield f"database {name} does not let {user} connect, wanted so"
    for extension in wanted["extensions"]:
        if extension not in found["extensions"]:
            yield f"extension {extension} of database {name} is missing, wanted present"


def server_differences(found: Mapping[str, Any]) -> Iterator[str]:
    """What keeps a server that answers from running with the settings of its files."""
    for name in found["altered"]:
        yield f"setting {name} was changed by ALTER SYSTEM, wanted as the site says"
    for name in found["pending"]:
        yield f"setting {name} waits for a restart, wanted in use"
    if found["stale"]:
        yield "the server runs with older files than there are, wanted read anew"


def _word(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _password(state: str) -> str:
    return {"kept": "the kept password", "none": "no password"}.get(state, "another password")
