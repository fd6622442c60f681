"""The server's unit of systemd."""

from __future__ import annotations

import subprocess

from .failure import WorkError

UNIT = "provision-postgresql.service"
BACKUP_UNIT = "provision-postgresql-backup.service"


def active() -> bool:
    """Whether the server runs."""
    command = ["systemctl", "is-active", "--quiet", UNIT]
    return subprocess.run(command, check=False).returncode == 0


def systemctl(verb: str, unit: str) -> None:
    """Start, stop, restart or reload a unit.

    Raises
    ------
    WorkError
        It fails; the message has the end of its log.
    """
    done = _run(["systemctl", verb, unit])
    if done.returncode != 0:
        log = _run(["journalctl", "--unit", unit, "--lines=8", "--no-pager", "--output=cat"])
        raise WorkError(
            f"`systemctl {verb} {unit}` failed: {done.stderr.strip()}\n{log.stdout.strip()}"
        )


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
