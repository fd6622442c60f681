"""Brings systemd units into the wanted state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .commands import run
from .failure import WorkError
from .marks import Marks


def reload_definitions() -> None:
    """Let systemd read unit files anew."""
    run(["systemctl", "daemon-reload"])


def bring(unit: Mapping[str, Any], marks: Marks) -> bool:
    """Enable, disable, start, stop or restart one unit.

    Parameters
    ----------
    unit
        ``name``, and ``enabled``, ``active`` as wanted, or None where they are so already.
    marks
        Says whether the unit still runs with old files.

    Returns
    -------
    Whether the unit was restarted, so that it runs with its new files.
    """
    name = unit["name"]
    if unit["enabled"] is not None:
        run(["systemctl", "enable" if unit["enabled"] else "disable", name])
    if unit["active"] is False:
        run(["systemctl", "stop", name])
        marks.clear(name)
        return False
    pending = marks.is_marked(name)
    if unit["active"]:
        _start(name, "restart" if pending else "start")
    elif pending:
        restart_if_running(name)
    marks.clear(name)
    return pending


def restart_if_running(name: str) -> None:
    """Restart a unit that is active, and leave any other alone."""
    _start(name, "try-restart")


def retire(name: str) -> None:
    """Stop and disable a unit; one that systemd does not know is fine."""
    state = run(["systemctl", "show", "--property=LoadState", "--value", name]).strip()
    if state == "not-found":
        return
    run(["systemctl", "disable", "--now", name])


def forget_failure(name: str) -> None:
    """Take a unit off systemd's list of failed ones."""
    failed = run(["systemctl", "list-units", "--state=failed", "--plain", "--no-legend", name])
    if failed.strip():
        run(["systemctl", "reset-failed", name])


def _start(name: str, verb: str) -> None:
    forget_failure(name)
    try:
        run(["systemctl", verb, name])
    except WorkError as error:
        log = run(["journalctl", "--unit", name, "--lines=10", "--no-pager", "--output=cat"])
        raise WorkError(f"{error}\nlast lines of its journal:\n{log.strip()}") from error
