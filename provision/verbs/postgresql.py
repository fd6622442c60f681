"""``postgresql``: how the databases stand, backups, their restoration, and promotion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from provision.app import Application
from provision.effects import Effect
from provision.errors import FindingsError, PhaseFailedError, UsageError
from provision.events import Event
from provision.facts import MachineFacts, Query
from provision.locallock import local_lock
from provision.phases.postgresql import (
    STREAMING,
    PostgresqlSettings,
    postgresql_hosts,
    question,
    waiting_for_people,
)
from provision.verbs.record import holder

NAME = "postgresql"
UNREACHABLE = "does not answer"


@dataclass(frozen=True)
class ServerStatus:
    """How the server of one machine stands."""

    part: str
    """``primary`` or ``replica``, as the site file says."""
    healthy: bool
    detail: str


@dataclass(frozen=True)
class DatabasesStatus:
    """How all servers and the backups stand."""

    address: str
    servers: Mapping[str, ServerStatus]
    backups: Sequence[str]
    """Names of the base backups, the newest last; each is the time at which it began (UTC)."""
    archiving: str
    """Why the log is not archived; empty where it is."""
    aside: Sequence[str]
    """What was put aside and can be deleted: ``MACHINE:FOLDER``."""
    waiting: str
    """What a person has to decide."""

    @property
    def healthy(self) -> bool:
        """Whether all of it is as it should be."""
        servers = all(server.healthy for server in self.servers.values())
        return servers and bool(self.backups) and not (self.archiving or self.waiting)

    def as_dict(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {**asdict(self), "healthy": self.healthy}


def databases_status(app: Application) -> DatabasesStatus:
    """Ask every machine that has a server."""
    settings = _settings(app)
    hosts = postgresql_hosts(app.site)
    read, found = _read(app)
    backups = _backups(settings)
    at_primary = read[settings.primary]
    made = at_primary.observed["globs"][backups] if at_primary.reachable else []
    return DatabasesStatus(
        f"{app.site.hosts[settings.primary].address}:{settings.port}",
        {host: _server(settings, host, read[host], found) for host in hosts},
        sorted(PurePosixPath(path).name for path in made),
        _archiving(found.get(settings.primary, {})),
        [
            f"{host}:{path}"
            for host, facts in read.items()
            if facts.reachable
            for path in facts.observed["globs"][f"{settings.directory}/data-aside-*"]
        ],
        waiting_for_people(settings, found),
    )


def render(status: DatabasesStatus) -> Iterator[str]:
    """The status as lines of text, with what to run next."""
    yield f"address  {status.address}"
    for name, server in status.servers.items():
        yield f"  {'ok ' if server.healthy else 'BAD'}  {name}  {server.part}: {server.detail}"
    count = len(status.backups)
    newest = f"{count}, the newest of {status.backups[-1]}" if count else "none yet"
    yield f"backups  {newest}"
    yield f"log      {status.archiving or 'archived'}"
    yield from (f"aside    {place}, to be deleted when nobody needs it" for place in status.aside)
    if status.waiting:
        yield f"needs you: {status.waiting}"
    elif not all(server.healthy for server in status.servers.values()):
        yield "next: provision plan"
    elif not status.backups:
        yield "next: provision postgresql backup"


def make_backup(app: Application) -> str:
    """Make a base backup now; its name."""
    settings = _settings(app)
    _act(app, settings.primary, {"act": "backup"})
    return databases_status(app).backups[-1]


def restore_backup(app: Application, backup: str, until: str, *, overwrite: bool) -> None:
    """Put a backup back on the primary, and go through the log.

    Parameters
    ----------
    backup
        Its name; the newest that serves where empty.
    until
        Time until when the log is gone through, ISO 8601; UTC without an offset. All of it where
        empty.
    overwrite
        Whether databases that are there give way; they are kept beside.

    Raises
    ------
    UsageError
        ``until`` is no time.
    PhaseFailedError
        It cannot be restored; what was there serves as before.
    """
    settings = _settings(app)
    request = {"act": "restore", "backup": backup, "time": moment(until), "overwrite": overwrite}
    _act(app, settings.primary, request)


def promote_replica(app: Application) -> list[str]:
    """Make the machine that the site file calls the primary one; what was done.

    A primary that runs steps back first, when its replica has everything.

    Raises
    ------
    FindingsError
        There is nothing to promote, or something would be lost that need not be.
    """
    settings = _settings(app)
    found = _read(app)[1]
    why = why_not_promoted(settings, found)
    if why:
        raise FindingsError(
            f"{settings.primary} is not promoted, and nothing was touched",
            found=why,
            fix="provision postgresql status",
        )
    other = found.get(settings.replica or "")
    done = []
    if other and other["data"] and not other["data"]["standby"]:
        _act(app, str(settings.replica), {"act": "step_back"})
        done.append(f"{settings.replica} stepped back")
    elif settings.replica is not None and other is None:
        done.append(f"{settings.replica} does not answer; keep it off until `provision up` has run")
    _act(app, settings.primary, {"act": "promote"})
    return [*done, f"{settings.primary} is the primary"]


def why_not_promoted(settings: PostgresqlSettings, found: Mapping[str, Mapping[str, Any]]) -> str:
    """Why the machine that the site file calls the primary cannot be made one; empty if it can."""
    own = found.get(settings.primary)
    if own is None:
        return UNREACHABLE
    if own["data"] is None:
        return "it has no databases"
    if not own["data"]["standby"]:
        return (
            "it is no replica; the site file says that it is the primary: exchange `primary` and"
            " `replica` there first, to go on with the other machine"
        )
    if own["error"]:
        return f"its server does not answer: {own['error']}"
    other = found.get(settings.replica or "")
    running = other is not None and not other["error"] and not other["recovery"]
    if other is not None and running:
        state = other["standbys"].get(settings.primary, {"state": "absent"})["state"]
        if state not in STREAMING:
            return (
                f"{settings.replica} runs, and it does not follow that: what it lacks would be lost"
            )
    return ""


def _act(app: Application, host: str, request: Mapping[str, Any]) -> None:
    """Have the role do one thing on one machine, as the only one who works on the site."""
    who = holder(f"postgresql {request['act']}")
    with local_lock(app.state, str(who)), app.machines.lock(who):
        effect = Effect(
            NAME,
            "act.yml",
            app.inventory(app.context(), [host]),
            variables={"provision_role": NAME, "postgresql_act": dict(request)},
        )
        result = app.ansible().run(effect, _silent, lambda: False)
    for name, why in result.failed.items():
        raise PhaseFailedError(
            f"postgresql {request['act']} failed",
            where=name,
            found=why,
            fix="provision postgresql status",
        )


def _silent(event: Event) -> None:
    del event


def _backups(settings: PostgresqlSettings) -> str:
    return f"{settings.backups.directory}/[0-9]*/base/[0-9]*"


def _read(app: Application) -> tuple[Mapping[str, MachineFacts], dict[str, Mapping[str, Any]]]:
    """What the machines tell, and what those that answer tell of their servers."""
    settings = _settings(app)
    query = Query(
        postgresql=frozenset({question(app.site)}),
        globs=frozenset({_backups(settings), f"{settings.directory}/data-aside-*"}),
    )
    read = app.machines.read(dict.fromkeys(postgresql_hosts(app.site), query))
    found = {
        host: facts.observed["postgresql"][question(app.site)]
        for host, facts in read.items()
        if facts.reachable
    }
    return read, found


def _settings(app: Application) -> PostgresqlSettings:
    if not app.site.has(PostgresqlSettings):
        raise UsageError(
            "the site has no PostgreSQL of its own",
            why="it is optional, and its key does not stand in the site file",
            fix="write `postgresql: {primary: MACHINE}` into the site file",
        )
    return app.site.settings(PostgresqlSettings)


def _server(
    settings: PostgresqlSettings,
    host: str,
    facts: MachineFacts,
    found: Mapping[str, Mapping[str, Any]],
) -> ServerStatus:
    part = "primary" if host == settings.primary else "replica"
    if not facts.reachable:
        return ServerStatus(part, healthy=False, detail=UNREACHABLE)
    own = found[host]
    if own["error"]:
        return ServerStatus(part, healthy=False, detail=own["error"])
    version = f"PostgreSQL {own['data']['major']}"
    if part == "primary":
        detail = "is a replica" if own["recovery"] else f"takes writes, {version}"
        return ServerStatus(part, healthy=not own["recovery"], detail=detail)
    there = found.get(settings.primary, {}).get("standbys", {}).get(host)
    if there is None or there["state"] not in STREAMING:
        return ServerStatus(part, healthy=False, detail="does not follow the primary")
    return ServerStatus(
        part, healthy=True, detail=f"{int(there['behind'] or 0)} bytes behind, {version}"
    )


def _archiving(found: Mapping[str, Any]) -> str:
    if not found or found["error"]:
        return "nothing is known of it while the primary does not answer"
    if found["archive_fails"]:
        return "NOT archived; see on the primary: journalctl --unit provision-postgresql"
    return ""


def moment(text: str) -> str:
    """A time as the machine takes it, with an offset."""
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(
            "that is no time",
            found=text,
            wanted="a time such as 2026-05-04T13:30:00, in UTC, or with an offset such as +02:00",
        ) from error
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
