"""The folder of a cluster of databases: made, copied from a primary, put aside; never deleted.

A cluster is made beside its place and moved there when it is whole, so that a run which dies
leaves nothing that looks like one.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .client import PROGRAMS, newest
from .failure import WorkError

CONFIGURATION = "/etc/provision/postgresql"
REPLICATION_USER = "provision_replication"
LAST_LINES = 8


def make(folder: Path) -> None:
    """A new, empty cluster with checksums."""
    new = empty_beside(folder)
    as_postgres(
        [
            f"{_programs()}/initdb",
            f"--pgdata={new}",
            "--username=postgres",
            "--data-checksums",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--auth-local=peer",
            "--auth-host=scram-sha-256",
            "--no-instructions",
        ]
    )
    new.rename(folder)


def copy(folder: Path, peer: dict[str, Any], port: int, slot: str) -> None:
    """A replica of the server at ``peer``, over TLS and with the replication certificate.

    Raises
    ------
    WorkError
        The server does not let us, or is of another major version.
    """
    new = empty_beside(folder)
    connection = (
        f"host={peer['address']} port={port} user={REPLICATION_USER} sslmode=verify-full"
        f" sslrootcert=/etc/provision/ca.crt sslcert={CONFIGURATION}/replication.crt"
        f" sslkey={CONFIGURATION}/replication.key"
    )
    as_postgres(
        [
            f"{_programs()}/pg_basebackup",
            f"--dbname={connection}",
            f"--slot={slot}",
            f"--pgdata={new}",
            "--wal-method=stream",
            "--checkpoint=fast",
            "--no-password",
        ]
    )
    theirs = (new / "PG_VERSION").read_text("ascii").strip()
    if theirs != str(newest()):
        raise WorkError(
            f"{peer['name']} runs PostgreSQL {theirs}, and PostgreSQL {newest()} is installed here;"
            " a replica needs the same, so both machines need the same release of Debian"
        )
    as_postgres(["touch", str(new / "standby.signal")])
    new.rename(folder)


def put_aside(folder: Path) -> Path:
    """Move a cluster out of the way; where it is then."""
    aside = folder.with_name(time.strftime("data-aside-%Y%m%dT%H%M%SZ", time.gmtime()))
    folder.rename(aside)
    return aside


def empty_beside(folder: Path) -> Path:
    """Where a cluster is made that will be ``folder``; what a dead run left there goes."""
    new = folder.with_name("data.new")
    shutil.rmtree(new, ignore_errors=True)
    return new


def _programs() -> str:
    major = newest()
    if major is None:
        raise WorkError(f"there is no server in {PROGRAMS}; is Debian's postgresql installed?")
    return f"{PROGRAMS}/{major}/bin"


def as_postgres(command: Sequence[str]) -> None:
    """Run a command as the system's user postgres.

    Raises
    ------
    WorkError
        It fails; the message has the end of what it said.
    """
    try:
        done = subprocess.run(
            ["runuser", "--user", "postgres", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            cwd="/",
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise WorkError(f"{command[0]} cannot be run: {error.strerror}") from error
    if done.returncode != 0:
        said = "\n".join(done.stdout.strip().splitlines()[-LAST_LINES:])
        raise WorkError(f"`{Path(command[0]).name}` ended with code {done.returncode}:\n{said}")
