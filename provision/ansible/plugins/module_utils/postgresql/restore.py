"""Puts a backup back: beside what is there, and in its place once it is whole and serves."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from .client import PROGRAMS, data, psql
from .cluster import as_postgres, empty_beside, put_aside
from .failure import WorkError
from .units import UNIT, active, systemctl
from .waiting import within

RECOVERY_SECONDS = 24 * 3600
"""Going through the log takes as long as it takes."""
FOLLOWED_SECONDS = 30
FOLLOWERS = "select slot_name from pg_replication_slots where active"
SEGMENT = re.compile(r"[0-9A-F]{24}|[0-9A-F]{8}\.history")
CONFIGURATION = "/etc/provision/postgresql/postgresql.conf"


class Restoration:
    """A backup on its way into the place of a machine's databases.

    Parameters
    ----------
    given
        ``port``, ``directory``, ``backup_directory``, ``backup`` (its name, or empty for the
        newest one that serves), ``time`` (until when the log is gone through, ISO 8601 with an
        offset; empty for all of it), and whether to ``overwrite`` databases that are there.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        self.folder = Path(given["directory"], "data")
        self.until = _moment(given["time"])

    def run(self) -> list[str]:
        """Restore; what was done, a phrase each.

        Raises
        ------
        WorkError
            It cannot be done; what was there is there and serves as before.
        """
        if data(self.folder) is not None and not self.given["overwrite"]:
            raise WorkError(
                f"{self.folder} holds databases, and nothing was touched; to have the backup in"
                " their place, and them beside it: provision postgresql restore --overwrite"
            )
        backup = self._chosen()
        new = empty_beside(self.folder)
        _unpack(backup, new)
        running = active()
        followers = self._followers()
        systemctl("stop", UNIT)
        try:
            self._take_unarchived(new, backup)
            self._recover(new)
        except WorkError:
            if running:
                systemctl("start", UNIT)
                # As before means with its replicas, which look for it every five seconds.
                within(FOLLOWED_SECONDS, lambda: followers <= self._followers())
            raise
        done = [
            f"backup {backup.name} restored" + (f" to {self.given['time']}" if self.until else "")
        ]
        if self.folder.exists():
            done.append(f"what was there is kept as {put_aside(self.folder)}")
        new.rename(self.folder)
        systemctl("start", UNIT)
        return done

    def _followers(self) -> set[str]:
        """Slots of the replicas that follow the databases that are there."""
        try:
            return set(psql(str(self.given["port"]), FOLLOWERS).split())
        except OSError:
            return set()

    def _chosen(self) -> Path:
        """The folder of the backup to start from."""
        found = sorted(
            Path(self.given["backup_directory"]).glob("[0-9]*/base/[0-9]*"),
            key=lambda path: path.name,
        )
        if self.given["backup"]:
            fitting = [path for path in found if path.name == self.given["backup"]]
        else:
            fitting = [path for path in found if not self.until or _made(path) <= self.until]
        if not fitting:
            listed = ", ".join(path.name for path in found) or "none at all"
            raise WorkError(
                f"there is no such backup in {self.given['backup_directory']}; there are: {listed}"
            )
        return fitting[-1]

    def _take_unarchived(self, new: Path, backup: Path) -> None:
        """What the log of the databases that are there has and the archive has not yet."""
        if (told := data(self.folder)) is None or told["system"] != backup.parents[1].name:
            return
        archive = backup.parents[1] / "log"
        for segment in (self.folder / "pg_wal").iterdir():
            archived = (archive / f"{segment.name}.gz").exists()
            if SEGMENT.fullmatch(segment.name) and not archived:
                as_postgres(["cp", str(segment), str(new / "pg_wal" / segment.name)])

    def _recover(self, new: Path) -> None:
        """Go through the log in a server that nobody can reach, until it is one of its own."""
        as_postgres(["touch", str(new / "recovery.signal")])
        sockets = new / "recovery-sockets"
        as_postgres(["mkdir", "--mode=0700", str(sockets)])
        options = {
            "config_file": CONFIGURATION,
            "data_directory": str(new),
            "listen_addresses": "",
            "unix_socket_directories": str(sockets),
            "recovery_target_action": "promote",
            **({"recovery_target_time": self.until.isoformat(" ")} if self.until else {}),
        }
        text = " ".join(f"-c {name}='{value}'" for name, value in options.items())
        log = new / "recovery.log"
        control = [f"{PROGRAMS}/{(new / 'PG_VERSION').read_text('ascii').strip()}/bin/pg_ctl"]
        control += [f"--pgdata={new}"]
        try:
            as_postgres(
                [
                    *control,
                    "start",
                    "--wait",
                    f"--timeout={RECOVERY_SECONDS}",
                    f"--log={log}",
                    f"--options={text}",
                ]
            )
            port = str(self.given["port"])
            within(RECOVERY_SECONDS, lambda: _is_own(port, sockets, new))
        except WorkError as error:
            said = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
            raise WorkError(
                "the log could not be gone through, and what was there was left as it is:\n"
                + "\n".join(said[-8:] or [str(error)])
            ) from error
        as_postgres([*control, "stop", "--wait", "--mode=fast"])
        shutil.rmtree(sockets)
        log.unlink()


def _is_own(port: str, sockets: Path, new: Path) -> bool:
    """Whether the log was gone through; a server that gave up raises."""
    if not (new / "postmaster.pid").exists():
        raise WorkError("the server ended before it had reached that time")
    try:
        return psql(port, "select pg_is_in_recovery()", sockets=str(sockets)).strip() == "f"
    except OSError:
        return False


def _unpack(backup: Path, new: Path) -> None:
    others = [
        path.name
        for path in backup.glob("*.tar.gz")
        if path.name not in ("base.tar.gz", "pg_wal.tar.gz")
    ]
    if others:
        raise WorkError(
            f"{backup} has tablespaces of its own ({', '.join(others)}); unpack it by hand"
        )
    as_postgres(["mkdir", "--mode=0700", str(new)])
    for archive, folder in (("base.tar.gz", new), ("pg_wal.tar.gz", new / "pg_wal")):
        as_postgres(
            ["tar", "--extract", "--gzip", f"--file={backup / archive}", f"--directory={folder}"]
        )


def _moment(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _made(backup: Path) -> datetime:
    """When a backup was begun; its name says so."""
    return datetime.strptime(f"{backup.name}+0000", "%Y%m%dT%H%M%SZ%z")
