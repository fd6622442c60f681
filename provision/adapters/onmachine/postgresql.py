"""Asks a machine's own PostgreSQL how it stands: standard library only, nothing is written.

As the system's user ``postgres``, over the Unix socket. No password and no verifier is told:
verifiers are compared here with those that are kept.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROGRAMS = Path("/usr/lib/postgresql")
SOCKETS = "/run/postgresql"
KEPT_VERIFIERS = Path("/etc/provision/postgresql/verifiers.json")
SECONDS = 10.0
"""For a question; what changes something gets more."""

_STATE = """
select json_build_object(
  'recovery', pg_is_in_recovery(),
  'loaded', extract(epoch from pg_conf_load_time()),
  'timeline', case when not pg_is_in_recovery()
     then ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end,
  'files', json_build_array(current_setting('config_file'), current_setting('hba_file'),
     current_setting('ident_file'), current_setting('ssl_cert_file'),
     current_setting('ssl_key_file'), current_setting('ssl_ca_file')),
  'altered', (select coalesce(json_agg(distinct name), '[]') from pg_file_settings
     where sourcefile like '%/postgresql.auto.conf'),
  'pending', (select coalesce(json_agg(name order by name), '[]') from pg_settings
     where pending_restart),
  'roles', (select coalesce(json_object_agg(rolname, json_build_object(
       'login', rolcanlogin, 'superuser', rolsuper, 'createdb', rolcreatedb,
       'createrole', rolcreaterole, 'replication', rolreplication, 'bypassrls', rolbypassrls,
       'connections', rolconnlimit,
       'expires', coalesce(rolvaliduntil <> 'infinity', false),
       'member_of', (select coalesce(json_agg(distinct pg_get_userbyid(roleid)), '[]')
          from pg_auth_members where member = pg_roles.oid))), '{}')
     from pg_roles where rolname !~ '^pg_'),
  'databases', (select coalesce(json_object_agg(datname, json_build_object(
       'owner', pg_get_userbyid(datdba), 'extensions', json_build_array(),
       'connect', (select coalesce(json_agg(distinct
            case grantee when 0 then 'public' else pg_get_userbyid(grantee) end), '[]')
          from aclexplode(coalesce(datacl, acldefault('d', datdba)))
          where privilege_type = 'CONNECT'))), '{}')
     from pg_database where not datistemplate and datname <> 'postgres'),
  'standbys', (select coalesce(json_object_agg(application_name, json_build_object(
       'state', state, 'behind', case when pg_is_in_recovery() then null
          else pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn) end)), '{}')
     from pg_stat_replication where application_name <> 'pg_basebackup'),
  'slots', (select coalesce(json_object_agg(slot_name, json_build_object(
       'active', active, 'lost', coalesce(wal_status = 'lost', false))), '{}')
     from pg_replication_slots where slot_type = 'physical' and not temporary),
  'receiver', (select status from pg_stat_wal_receiver),
  'receiver_pid', (select pid from pg_stat_wal_receiver),
  'archived', (select extract(epoch from last_archived_time) from pg_stat_archiver),
  'archive_fails', (select coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'),
     false) from pg_stat_archiver)
)
"""
_PASSWORDS = """
select coalesce(json_object_agg(rolname, rolpassword), '{}') from pg_authid where rolname !~ '^pg_'
"""
_EXTENSIONS = "select coalesce(json_agg(extname), '[]') from pg_extension"


def stands(questions: Sequence[str]) -> dict[str, Any]:
    """Answer every question, ``PORT DIRECTORY [DATABASE…]``.

    Extensions are told of the databases that are named. An answer has ``programs`` (major
    version that is installed), ``data`` (``system``, ``timeline``, ``major``, ``standby``,
    ``checksums``; None where there is none), ``error`` (why the server does not answer; empty
    where it does) and what the server tells.
    """
    return {question: _stands(*question.split(" ")) for question in questions}


def _stands(port: str, directory: str, *databases: str) -> dict[str, Any]:
    folder = Path(directory, "data")
    found: dict[str, Any] = {"programs": newest(), "data": data(folder), "error": ""}
    if found["data"] is None:
        return {**found, "error": "there is no cluster"}
    try:
        found.update(json.loads(psql(port, _STATE)))
        passwords = json.loads(psql(port, _PASSWORDS))
        for name in databases:
            if name in found["databases"]:
                told = json.loads(psql(port, _EXTENSIONS, database=name))
                found["databases"][name]["extensions"] = told
    except OSError as error:
        return {**found, "error": str(error)}
    kept = kept_verifiers()
    for name, role in found["roles"].items():
        role["password"] = _password(passwords.get(name), kept.get(name))
    found["stale"] = any(changed_after(path, found["loaded"]) for path in found.pop("files"))
    return found


def newest() -> int | None:
    """The newest major version of which the server's programs are installed."""
    found = [int(path.parts[-3]) for path in PROGRAMS.glob("[0-9]*/bin/postgres")]
    return max(found, default=None)


def data(folder: Path) -> dict[str, Any] | None:
    """What a cluster's folder tells of it, whether its server runs or not."""
    try:
        major = int(Path(folder, "PG_VERSION").read_text("ascii"))
    except (OSError, ValueError):
        return None
    command = [f"{PROGRAMS}/{major}/bin/pg_controldata", str(folder)]
    told = _run(command).stdout
    lines = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    return {
        "major": major,
        "system": lines.get("Database system identifier", "").strip(),
        "timeline": int(lines.get("Latest checkpoint's TimeLineID", "0")),
        "checksums": lines.get("Data page checksum version", "0").strip() != "0",
        "standby": Path(folder, "standby.signal").exists(),
    }


def kept_verifiers() -> dict[str, str]:
    """The roles' verifiers as they are kept here; none on a replica."""
    try:
        return dict(json.loads(KEPT_VERIFIERS.read_bytes()))
    except (OSError, ValueError):
        return {}


def psql(
    port: str,
    script: str,
    database: str = "postgres",
    sockets: str = SOCKETS,
    seconds: float = SECONDS,
) -> str:
    """What psql prints for a script, which goes to its standard input.

    Raises
    ------
    OSError
        It fails, or takes longer than ``seconds``; the text is what psql said.
    """
    done = _run(
        [
            "runuser",
            "--user",
            "postgres",
            "--",
            "psql",
            "--no-psqlrc",
            "--quiet",
            "--no-align",
            "--tuples-only",
            "--set=ON_ERROR_STOP=1",
            f"--host={sockets}",
            f"--port={port}",
            f"--dbname={database}",
            "--file=-",
        ],
        script,
        seconds,
    )
    if done.returncode != 0:
        raise OSError(_first_line(done.stderr))
    return done.stdout


def _password(found: str | None, kept: str | None) -> str:
    if found is None:
        return "none"
    return "kept" if found == kept else "another"


def changed_after(path: str, moment: float) -> bool:
    """Whether a file was written after a moment in seconds since 1970."""
    try:
        return Path(path).stat().st_ctime > moment
    except OSError:
        return False


def _first_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[0] if lines else "psql fails without a word"


def _run(
    command: list[str], script: str = "", seconds: float = SECONDS
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "PGCONNECT_TIMEOUT": "5"}
    try:
        return subprocess.run(
            command,
            input=script,
            capture_output=True,
            text=True,
            env=environment,
            cwd=os.sep,
            timeout=seconds,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))
