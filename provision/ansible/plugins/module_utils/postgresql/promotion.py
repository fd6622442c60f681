"""Makes a replica the primary, and a primary that steps back a replica."""

from __future__ import annotations

from pathlib import Path

from .client import data, psql
from .cluster import as_postgres
from .failure import WorkError
from .units import UNIT, active, systemctl

SECONDS = 600
"""A replica that is promoted first goes through all of the log that it has."""


def promote(folder: Path, port: int) -> list[str]:
    """Make the server here the primary.

    Raises
    ------
    WorkError
        There is none, or it does not answer.
    """
    told = data(folder)
    if told is None:
        raise WorkError(f"there are no databases in {folder}; bring a backup back instead")
    if not told["standby"]:
        return []
    if not active():
        systemctl("start", UNIT)
    try:
        # A little more than it takes itself, to hear what it says then.
        answer = psql(str(port), f"select pg_promote(true, {SECONDS})", seconds=SECONDS + 10)
    except OSError as error:
        raise WorkError(f"PostgreSQL refuses: {error}") from error
    if answer.strip() != "t":
        raise WorkError(
            f"the replica is not the primary after {SECONDS} s; it goes on with it; its log tells"
            f" why: journalctl --unit {UNIT}"
        )
    return ["replica promoted"]


def step_back(folder: Path) -> list[str]:
    """Stop the server here, once its replica has everything, so that it comes back as a replica."""
    told = data(folder)
    if told is None or told["standby"]:
        return []
    # A server that is shut down sends everything to its replica first.
    systemctl("stop", UNIT)
    as_postgres(["touch", str(folder / "standby.signal")])
    return ["primary stopped, a replica from now on"]
